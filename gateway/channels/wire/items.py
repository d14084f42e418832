"""Conversation items: ``message`` objects read from clients and written for them."""

from typing import Any, cast

from media.formats import SAMPLE_BYTES
from sessions.channel import ClientFault, Partly, SpokenItem
from sessions.core.config import SessionConfig
from sessions.core.events import AddItem
from sessions.core.items import Item, Role

from .audio import decode_slice, to_pcm
from .fields import Fields
from .tool_items import TOOL_ITEMS, ToolItemEvent, parse_tool_item, render_tool_item

ROLES = ("user", "assistant", "system")
_TEXT_PARTS = ("input_text", "output_text", "text")
_SPOKEN_PARTS = ("input_audio", "output_audio", "audio")
_IMAGE = "input_image"
MAX_PARTS = 64
MAX_AUDIO_CHARS = 2_000_000
"""Base64 of the speech in an item: half a minute at 24 kHz, decoded below 5 ms."""


def parse_item(
    item: Fields, after: str | None, event_id: str | None, config: SessionConfig
) -> AddItem | SpokenItem | ToolItemEvent | Partly:
    """conversation.item.create: a message of text, or of speech with its words or without. Images
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
        told = AddItem("user", "", item_id, after, event_id, seconds=seconds)
        return SpokenItem(told, pcm, rate)
    role, text = message_text(item)
    made = AddItem(role, text, item_id, after, event_id)
    fault = image_fault(item)
    return made if fault is None else Partly(made, fault)


def image_fault(item: Fields) -> ClientFault | None:
    """What is to be said of the first image in a message, if there is one."""
    for index, part in enumerate(item.children("content", max_items=MAX_PARTS) or []):
        if part.raw("type") == _IMAGE:
            return item.fault(
                "unsupported_content",
                "Images are not looked at here: the image is left out, the message's text is kept.",
                f"content[{index}].type",
            )
    return None


def message_text(item: Fields) -> tuple[Role, str]:
    """Role and words of a message, its images left out; raises ClientFault where there are none."""
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
    """The speech of a caller's message that comes without its words, PCM16; None: it has words."""
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
    """The item as the history holds it: of a cut reply, what the caller heard."""
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
    """A committed turn of the caller, whose words are not known yet."""
    return message(item_id, "user", [{"type": "input_audio", "transcript": None}], "completed")


def _content(role: str, text: str, spoken: bool) -> list[dict[str, Any]]:
    if role == "assistant":
        if spoken:
            return [{"type": "output_audio", "transcript": text}]
        return [{"type": "output_text", "text": text}]
    if spoken and role == "user":
        return [{"type": "input_audio", "transcript": text}]
    return [{"type": "input_text", "text": text}]
