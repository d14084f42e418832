"""Server events of a reply: from response.created to response.done, in OpenAI's order.

A reply is one output item (index 0) with one content part (index 0): speech with its transcript,
or text; the calls it ends in follow as items of their own, or stand alone. Audio deltas come from
the channel, between the events written here.
"""

import math
from typing import Any

from sessions.core.config import SessionConfig
from sessions.core.items import ReplyStatus
from sessions.core.notices import ReplyCreated, ReplyDone, ReplyItemAdded, ReplyText

from .items import message, reply_content
from .session_object import render_format
from .tool_events import reply_call
from .tool_items import render_tool_item

_HEARD_A_SECOND, _SPOKEN_A_SECOND = 10, 20
"""Audio tokens, by OpenAI's documentation of realtime costs."""
_REASONS = ("turn_detected", "client_cancelled", "max_output_tokens", "content_filter")

Body = dict[str, Any]
"""A server event without its event_id."""


def reply_created(
    notice: ReplyCreated, config: SessionConfig, conversation_id: str, rate_limits: list[Body]
) -> list[Body]:
    """response.created, rate_limits.updated."""
    response = _response(notice, config, conversation_id)
    begun: Body = {"status": "in_progress", "status_details": None, "output": [], "usage": None}
    return [
        {"type": "response.created", "response": response | begun},
        {"type": "rate_limits.updated", "rate_limits": rate_limits},
    ]


def reply_item_added(notice: ReplyItemAdded) -> list[Body]:
    """response.output_item.added, conversation.item.added, response.content_part.added."""
    item = message(notice.item_id, "assistant", [], "in_progress")
    return [
        *item_told("added", item, notice, notice.reply_id),
        _part_event("added", notice.reply_id, notice.item_id, "", notice.output_audio),
    ]


def item_told(
    what: str, item: Body, where: ReplyItemAdded, response_id: str, index: int = 0
) -> list[Body]:
    """An output item ``added`` or ``done``, in the response and, where it is one, as an item."""
    events: list[Body] = [
        {
            "type": f"response.output_item.{what}",
            "response_id": response_id,
            "output_index": index,
            "item": item,
        }
    ]
    if where.in_conversation:
        previous = where.previous_item_id
        kind = f"conversation.item.{what}"
        events.append({"type": kind, "previous_item_id": previous, "item": item})
    return events


def reply_text(notice: ReplyText) -> list[Body]:
    """A delta of the transcript, or of the text."""
    kind = "output_audio_transcript" if notice.output_audio else "output_text"
    address = _address(notice.reply_id, notice.item_id)
    return [{"type": f"response.{kind}.delta", "delta": notice.delta} | address]


def reply_done(
    notice: ReplyDone,
    created: ReplyCreated,
    added: ReplyItemAdded | None,
    config: SessionConfig,
    conversation_id: str,
    heard_seconds: float = 0.0,
) -> list[Body]:
    """The done events from the inside out, then response.done with status and usage.

    ``added``: how its message was told of; None where it says nothing. ``heard_seconds``: of the
    caller's speech since the reply before."""
    status = "completed" if notice.status is ReplyStatus.COMPLETED else "incomplete"
    content = reply_content(notice.text, spoken=notice.output_audio)
    item = message(notice.item_id, "assistant", content, status)
    calls = [render_tool_item(use.item) for use in notice.tool_uses]
    ended = {
        "status": notice.status.value,
        "status_details": _status_details(notice),
        "output": [*([item] if added else []), *calls],
        "usage": _usage(notice, heard_seconds),
    }
    return [
        *(_message_done(notice, item, added) if added else []),
        *(event for use in notice.tool_uses for event in reply_call(use, notice.reply_id)),
        {
            "type": "response.done",
            "response": _response(created, config, conversation_id) | ended,
        },
    ]


def _message_done(notice: ReplyDone, item: Body, added: ReplyItemAdded) -> list[Body]:
    address = _address(notice.reply_id, notice.item_id)
    if notice.output_audio:
        events: list[Body] = [
            {"type": "response.output_audio.done"} | address,
            {"type": "response.output_audio_transcript.done", "transcript": notice.text} | address,
        ]
    else:
        events = [{"type": "response.output_text.done", "text": notice.text} | address]
    return [
        *events,
        _part_event("done", notice.reply_id, notice.item_id, notice.text, notice.output_audio),
        *item_told("done", item, added, notice.reply_id),
    ]


def _response(created: ReplyCreated, config: SessionConfig, conversation_id: str) -> Body:
    response: Body = {
        "id": created.reply_id,
        "object": "realtime.response",
        "conversation_id": conversation_id if created.in_conversation else None,
        "output_modalities": ["audio" if created.output_audio else "text"],
        "max_output_tokens": created.max_output_tokens or config.max_output_tokens,
        "metadata": dict(created.metadata) or None,
    }
    if created.output_audio:
        voice = created.voice or config.voice
        output = {"format": render_format(config.output_format), "voice": voice}
        response["audio"] = {"output": output}
    return response


def _status_details(notice: ReplyDone) -> Body | None:
    if notice.status is ReplyStatus.COMPLETED:
        return None
    details: Body = {"type": notice.status.value}
    if notice.reason in _REASONS:
        details["reason"] = notice.reason
    if notice.status is ReplyStatus.FAILED:
        details["error"] = {
            "type": "server_error",
            "code": notice.code,
            "message": notice.message,
        }
    return details


def _usage(notice: ReplyDone, heard_seconds: float) -> Body:
    """Tokens of the chat model, and of audio as OpenAI counts it: one for 100 ms of the caller's
    speech since the reply before, one for 50 ms of the reply's."""
    prompt, completion = notice.prompt_tokens, notice.completion_tokens
    heard = math.ceil(heard_seconds * _HEARD_A_SECOND)
    spoken = math.ceil(notice.audio_seconds * _SPOKEN_A_SECOND)
    return {
        "total_tokens": prompt + heard + completion + spoken,
        "input_tokens": prompt + heard,
        "output_tokens": completion + spoken,
        "input_token_details": {
            "text_tokens": prompt,
            "audio_tokens": heard,
            "image_tokens": 0,
            "cached_tokens": 0,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": completion, "audio_tokens": spoken},
    }


def _part_event(what: str, response_id: str, item_id: str, text: str, spoken: bool) -> Body:
    part = {"type": "audio", "transcript": text} if spoken else {"type": "text", "text": text}
    address = _address(response_id, item_id)
    return {"type": f"response.content_part.{what}", "part": part} | address


def _address(response_id: str, item_id: str) -> Body:
    return {
        "response_id": response_id,
        "item_id": item_id,
        "output_index": 0,
        "content_index": 0,
    }
