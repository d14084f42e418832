"""Server events of a reply: from response.created to response.done, in OpenAI's order.

A reply is one output item (index 0) with one content part (index 0): speech with its transcript,
or text. Audio deltas come from the channel, between the events written here.
"""

from typing import Any

from sessions.core.config import SessionConfig
from sessions.core.items import ReplyStatus
from sessions.core.notices import ReplyCreated, ReplyDone, ReplyText

from .items import message, reply_content
from .session_object import render_format

_REASONS = ("turn_detected", "client_cancelled", "max_output_tokens", "content_filter")

Body = dict[str, Any]
"""A server event without its event_id."""


def reply_created(notice: ReplyCreated, config: SessionConfig) -> list[Body]:
    """response.created, response.output_item.added, conversation.item.added, content_part.added."""
    item = message(notice.item_id, "assistant", [], "in_progress")
    return [
        {
            "type": "response.created",
            "response": _response(notice.response_id, notice.output_audio, config)
            | {"status": "in_progress", "status_details": None, "output": [], "usage": None},
        },
        {
            "type": "response.output_item.added",
            "response_id": notice.response_id,
            "output_index": 0,
            "item": item,
        },
        {
            "type": "conversation.item.added",
            "previous_item_id": notice.previous_item_id,
            "item": item,
        },
        _part_event("added", notice.response_id, notice.item_id, "", notice.output_audio),
    ]


def reply_text(notice: ReplyText) -> list[Body]:
    """A delta of the transcript, or of the text."""
    kind = "output_audio_transcript" if notice.output_audio else "output_text"
    address = _address(notice.response_id, notice.item_id)
    return [{"type": f"response.{kind}.delta", "delta": notice.delta} | address]


def reply_done(
    notice: ReplyDone, config: SessionConfig, previous_item_id: str | None
) -> list[Body]:
    """The done events from the inside out, then response.done with status and usage."""
    address = _address(notice.response_id, notice.item_id)
    status = "completed" if notice.status is ReplyStatus.COMPLETED else "incomplete"
    content = reply_content(notice.text, spoken=notice.output_audio)
    item = message(notice.item_id, "assistant", content, status)
    if notice.output_audio:
        events: list[Body] = [
            {"type": "response.output_audio.done"} | address,
            {"type": "response.output_audio_transcript.done", "transcript": notice.text} | address,
        ]
    else:
        events = [{"type": "response.output_text.done", "text": notice.text} | address]
    response = _response(notice.response_id, notice.output_audio, config)
    return [
        *events,
        _part_event("done", notice.response_id, notice.item_id, notice.text, notice.output_audio),
        {
            "type": "response.output_item.done",
            "response_id": notice.response_id,
            "output_index": 0,
            "item": item,
        },
        {"type": "conversation.item.done", "previous_item_id": previous_item_id, "item": item},
        {
            "type": "response.done",
            "response": response
            | {
                "status": notice.status.value,
                "status_details": _status_details(notice),
                "output": [item],
                "usage": _usage(notice),
            },
        },
    ]


def _response(response_id: str, output_audio: bool, config: SessionConfig) -> Body:
    response: Body = {
        "id": response_id,
        "object": "realtime.response",
        "output_modalities": ["audio" if output_audio else "text"],
        "max_output_tokens": config.max_output_tokens,
        "metadata": None,
    }
    if output_audio:
        output = {"format": render_format(config.output_format), "voice": config.voice}
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


def _usage(notice: ReplyDone) -> Body:
    """Tokens of the chat model; audio is not counted in tokens here."""
    prompt, completion = notice.prompt_tokens, notice.completion_tokens
    return {
        "total_tokens": prompt + completion,
        "input_tokens": prompt,
        "output_tokens": completion,
        "input_token_details": {"text_tokens": prompt, "audio_tokens": 0, "cached_tokens": 0},
        "output_token_details": {"text_tokens": completion, "audio_tokens": 0},
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
