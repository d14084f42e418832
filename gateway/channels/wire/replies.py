"""Server events of a reply and of its tools: from response.created on, in OpenAI's order.

A reply is one output item (index 0) with one content part (index 0): speech with its transcript,
or text; the calls it ends in follow as items of their own, or stand alone. Audio deltas come from
the channel, between the events written here.
"""

import json
import math
from typing import Any

from sessions.core.config import SessionConfig
from sessions.core.items import ReplyStatus
from sessions.core.notices import (
    ReplyCreated,
    ReplyDone,
    ReplyItemAdded,
    ReplyText,
    ReplyToolUse,
    ToolBegun,
    ToolEnded,
    ToolListing,
)

from .items import begun, message, render_tool_item, reply_content
from .session_object import render_format

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
        *_output_item("added", item, notice, notice.reply_id),
        _part_event("added", notice.reply_id, notice.item_id, "", notice.output_audio),
    ]


def _output_item(
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

    ``added``: the notice of its message; None where it says nothing. ``heard_seconds``: of the
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
        *(event for use in notice.tool_uses for event in reply_tool_use(use, notice.reply_id)),
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
        *_output_item("done", item, added, notice.reply_id),
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
    cached = min(notice.cached_tokens, prompt)
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
            "cached_tokens": cached,
            "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0, "image_tokens": 0},
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


def reply_tool_use(use: ReplyToolUse, response_id: str) -> list[Body]:
    """A tool use among a reply's items: added, its arguments, done; ours only until it begins."""
    item = use.item
    whole, first = render_tool_item(item), begun(item)
    place = {"response_id": response_id, "output_index": use.index}
    added: list[Body] = [
        {"type": "response.output_item.added", "item": first} | place,
        _item("added", first, use.previous_item_id),
    ]
    done: list[Body] = [{"type": "response.output_item.done", "item": whole} | place]
    kind = whole["type"]
    if kind == "mcp_approval_request" or item.tool_use is None:
        return [*added, *done, _item("done", whole, use.previous_item_id)]
    address = place | {"item_id": item.item_id}
    if kind == "mcp_call":
        arguments = "response.mcp_call_arguments"
        ending: list[Body] = []
    else:
        arguments = "response.function_call_arguments"
        address |= {"call_id": item.tool_use.tool_use_id}
        ending = [_item("done", whole, use.previous_item_id)]
    name = {"name": item.tool_use.name} if kind == "function_call" else {}
    return [
        *added,
        {"type": f"{arguments}.delta", "delta": item.tool_use.arguments} | address,
        {"type": f"{arguments}.done", "arguments": item.tool_use.arguments} | name | address,
        *done,
        *ending,
    ]


def tool_begun(notice: ToolBegun) -> list[Body]:
    """A tool use of ours is being carried out."""
    return [_progress("in_progress", notice.item_id, notice.index)]


def tool_ended(notice: ToolEnded) -> list[Body]:
    """A tool use of ours is over; its item, with the output, is done."""
    what = "failed" if notice.failed else "completed"
    item = render_tool_item(notice.item)
    return [
        _progress(what, notice.item.item_id, notice.index),
        _item("done", item, notice.previous_item_id),
    ]


def tool_listing(notice: ToolListing) -> list[Body]:
    """``mcp_list_tools.*``, and the item that holds the list."""
    progress: Body = {"type": f"mcp_list_tools.{notice.state}", "item_id": notice.item_id}
    item: Body = {
        "id": notice.item_id,
        "type": "mcp_list_tools",
        "server_label": notice.label,
        "tools": [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": json.loads(tool.parameters),
                "annotations": None,
            }
            for tool in notice.tools
        ],
    }
    match notice.state:
        case "in_progress":
            return [_item("added", item, None), progress]
        case "completed":
            return [progress, _item("done", item, None)]
    return [progress]


def _progress(what: str, item_id: str, index: int) -> Body:
    return {"type": f"response.mcp_call.{what}", "item_id": item_id, "output_index": index}


def _item(what: str, item: Body, previous: str | None) -> Body:
    return {
        "type": f"conversation.item.{what}",
        "previous_item_id": previous,
        "item": item,
    }
