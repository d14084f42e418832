"""Conversation items, read from clients and written for them: messages, and those of tools.

A tool use that the server carries out is written as an ``mcp_call``, an HTTP tool's too (its server
is then ``blab.http``): clients take a ``function_call`` for their own.
"""

from typing import Annotated, Any, assert_never, cast, get_args

import msgspec
from msgspec import Meta

from media.formats import SAMPLE_BYTES
from sessions.channel import ClientFault, Partly, SpokenItem
from sessions.core.config import SessionConfig
from sessions.core.events import AddItem, AddToolOutput, AddToolUse, AnswerApproval
from sessions.core.items import Item, Role, ToolUse, ToolUseState

from .fields import Fields, decode_slice, read, to_pcm

ROLES = ("user", "assistant", "system")
_TEXT_PARTS = ("input_text", "output_text", "text")
_SPOKEN_PARTS = ("input_audio", "output_audio", "audio")
_IMAGE = "input_image"
MAX_PARTS = 64
MAX_AUDIO_CHARS = 2_000_000
"""Base64 of the speech in an item: half a minute at 24 kHz, decoded below 5 ms."""

ToolItemEvent = AddToolUse | AddToolOutput | AnswerApproval

_Id = Annotated[str, Meta(max_length=64)]
_ToolUseId = Annotated[str, Meta(max_length=128)]
_Output = Annotated[str, Meta(max_length=262_144)]


class _Item(msgspec.Struct, tag_field="type", kw_only=True):
    id: _Id | None = None
    object: Any = None
    status: Any = None


class _FunctionCall(_Item, tag="function_call"):
    call_id: _ToolUseId
    name: _Id
    arguments: _Output


class _FunctionCallOutput(_Item, tag="function_call_output"):
    call_id: _ToolUseId
    output: _Output


class _ApprovalResponse(_Item, tag="mcp_approval_response"):
    approval_request_id: _Id
    approve: bool
    reason: Annotated[str, Meta(max_length=1_024)] = ""


_ToolItem = _FunctionCall | _FunctionCallOutput | _ApprovalResponse
TOOL_ITEMS: dict[str, type[_ToolItem]] = {
    str(declaration.__struct_config__.tag): declaration for declaration in get_args(_ToolItem)
}
"""Declarations of the items that clients may create, by their type."""


def parse_item(
    item: Fields, after: str | None, event_id: str | None, config: SessionConfig
) -> AddItem | SpokenItem | ToolItemEvent | Partly:
    """The item of conversation.item.create: text, or speech with or without its transcript. Images
    beside text are left out and reported. ``after``: as in AddItem."""
    item.need("type")
    kind = item.text("type", max_chars=64)
    if kind in TOOL_ITEMS:
        return parse_tool_item(item, after, event_id)
    item.only(("id", "type", "object", "status", "role", "content"))
    if kind != "message":
        known = ", ".join(("message", *TOOL_ITEMS))
        raise item.fault("unsupported_item", f"'item.type' must be one of {known}.", "type")
    item_id = item.text("id", max_chars=64) or None
    if (pcm := item_audio(item, config)) is not None:
        rate = config.input_format.rate
        seconds = len(pcm) / SAMPLE_BYTES / rate
        event = AddItem("user", "", item_id, after, event_id, seconds=seconds)
        return SpokenItem(event, pcm, rate)
    role, text = message_text(item)
    made = AddItem(role, text, item_id, after, event_id)
    fault = image_fault(item)
    return made if fault is None else Partly(made, fault)


def image_fault(item: Fields) -> ClientFault | None:
    """The fault that reports the first image in a message, if there is one."""
    for index, part in enumerate(item.children("content", max_items=MAX_PARTS) or []):
        if part.raw("type") == _IMAGE:
            return item.fault(
                "unsupported_content",
                "Images are not looked at here: the image is left out, the message's text is kept.",
                f"content[{index}].type",
            )
    return None


def message_text(item: Fields) -> tuple[Role, str]:
    """Role and text of a message, without its images; raises ClientFault where there is no text."""
    item.need("role")
    role = cast(Role, item.choice("role", ROLES))
    item.need("content")
    parts = item.children("content", max_items=MAX_PARTS) or []
    text = "\n".join(filter(None, map(_part_text, parts)))
    if not text and (fault := image_fault(item)) is not None:
        fault.message = "Images are not looked at here: send text or speech."
        raise fault
    if not text:
        raise item.fault(
            "invalid_value",
            f"'{item.where('content')}' holds no text.",
            "content",
        )
    return role, text


def _part_text(part: Fields) -> str:
    part.need("type")
    kind = part.text("type", max_chars=64)
    if kind in _TEXT_PARTS:
        part.only(("type", "text"))
        return part.need_text("text")
    if kind == _IMAGE:
        return ""
    if kind in _SPOKEN_PARTS:
        part.only(("type", "transcript", "audio"))
        if transcript := part.text("transcript"):
            return transcript
        raise part.fault(
            "unsupported_content",
            "Speech of this role needs its 'transcript': only the caller's is transcribed here.",
            "transcript",
        )
    accepted = ", ".join(f"'{name}'" for name in (*_TEXT_PARTS, *_SPOKEN_PARTS))
    raise part.fault("unsupported_content", f"'type' must be one of {accepted}.", "type")


def item_audio(item: Fields, config: SessionConfig) -> bytes | None:
    """The speech, PCM16, of a user message without a transcript; None where it has text."""
    if item.raw("role") != "user":
        return None
    parts = item.children("content", max_items=MAX_PARTS) or []
    spoken = [part for part in parts if part.raw("type") in _SPOKEN_PARTS]
    if not any(part.raw("audio") is not None and not part.raw("transcript") for part in spoken):
        return None
    if len(parts) > 1:
        raise item.fault(
            "unsupported_content",
            f"'{item.where('content')}' holds more than the one piece of speech that is to be "
            "transcribed: make an item of each.",
            "content",
        )
    return _part_audio(spoken[0], config)


def _part_audio(part: Fields, config: SessionConfig) -> bytes:
    part.only(("type", "audio", "transcript"))
    encoded = part.need_text("audio", max_chars=MAX_AUDIO_CHARS)
    try:
        pcm = to_pcm(decode_slice(encoded, last=True), config.input_format)
    except ClientFault as fault:
        raise part.fault(fault.code, fault.message, "audio") from fault
    if not pcm:
        raise part.fault("invalid_value", f"'{part.where('audio')}' is empty.", "audio")
    return pcm


def render_item(item: Item) -> dict[str, Any]:
    """The item as the history holds it; of an interrupted reply, the heard text."""
    if not item.says:
        return render_tool_item(item)
    text = item.text if item.heard is None else item.heard
    return message(item.item_id, item.role, _content(item.role, text, item.spoken), item.status)


def message(item_id: str, role: str, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """A ``message`` item."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


def reply_content(text: str, *, spoken: bool) -> list[dict[str, Any]]:
    """The content of an assistant message."""
    return _content("assistant", text, spoken)


def heard_message(item_id: str) -> dict[str, Any]:
    """A committed turn of the caller, before its transcript is known."""
    return message(item_id, "user", [{"type": "input_audio", "transcript": None}], "completed")


def _content(role: str, text: str, spoken: bool) -> list[dict[str, Any]]:
    if role == "assistant":
        if spoken:
            return [{"type": "output_audio", "transcript": text}]
        return [{"type": "output_text", "text": text}]
    if spoken and role == "user":
        return [{"type": "input_audio", "transcript": text}]
    return [{"type": "input_text", "text": text}]


def parse_tool_item(item: Fields, after: str | None, event_id: str | None) -> ToolItemEvent:
    """conversation.item.create of one of TOOL_ITEMS; raises ClientFault."""
    declared = read(TOOL_ITEMS[item.raw("type")], item)
    item_id = declared.id or None
    match declared:
        case _FunctionCallOutput():
            return AddToolOutput(declared.call_id, declared.output, item_id, after, event_id)
        case _FunctionCall(call_id=call_id, name=name, arguments=arguments):
            return AddToolUse(call_id, name, arguments, item_id, after, event_id)
        case _ApprovalResponse(approval_request_id=request_id, approve=approve):
            return AnswerApproval(request_id, approve, declared.reason, event_id)
        case _:
            assert_never(declared)


def render_tool_item(item: Item) -> dict[str, Any]:
    """A tool use, its output, or an approval."""
    if item.tool_use is not None:
        return _call(item, item.tool_use)
    if item.approval is not None:
        request_id, approve = item.approval
        return {
            "id": item.item_id,
            "type": "mcp_approval_response",
            "approval_request_id": request_id,
            "approve": approve,
        }
    call_id, output = item.output or ("", "")
    return {
        "id": item.item_id,
        "object": "realtime.item",
        "type": "function_call_output",
        "status": "completed",
        "call_id": call_id,
        "output": output,
    }


def is_open(item: Item) -> bool:
    """Whether it is a tool use of ours that has no output yet."""
    ours = item.tool_use is not None and bool(item.tool_use.label)
    return ours and item.state is ToolUseState.MADE


def begun(item: Item) -> dict[str, Any]:
    """A tool use before its arguments have been sent."""
    whole = render_tool_item(item)
    if whole["type"] == "function_call":
        return whole | {"status": "in_progress", "arguments": ""}
    return whole | {"arguments": ""} if whole["type"] == "mcp_call" else whole


def _call(item: Item, use: ToolUse) -> dict[str, Any]:
    if not use.label:
        return {
            "id": item.item_id,
            "object": "realtime.item",
            "type": "function_call",
            "status": "completed",
            "call_id": use.tool_use_id,
            "name": use.name,
            "arguments": use.arguments,
        }
    ours = {
        "id": item.item_id,
        "name": use.name,
        "arguments": use.arguments,
        "server_label": use.label,
    }
    if item.state is ToolUseState.ASKED:
        return ours | {"type": "mcp_approval_request"}
    output = item.output[1] if item.output else None
    failed = item.state is ToolUseState.FAILED
    return ours | {
        "type": "mcp_call",
        "approval_request_id": use.approval,
        "output": None if failed else output,
        "error": {"type": "tool_execution_error", "message": output} if failed else None,
    }
