"""Conversation items: ``message`` objects read from clients and written for them."""

from typing import Any, cast

from sessions.core.events import AddItem
from sessions.core.items import Item, Role

from .fields import Fields

ROLES = ("user", "assistant", "system")
_TEXT_PARTS = ("input_text", "output_text", "text")
_SPOKEN_PARTS = ("input_audio", "output_audio", "audio")
MAX_PARTS = 64


def parse_item(event: Fields, event_id: str | None) -> AddItem:
    """conversation.item.create: a message of text, or of speech that comes with its words."""
    item = event.need_child("item")
    item.only(("id", "type", "object", "status", "role", "content"))
    item.need("type")
    if item.text("type", max_chars=64) != "message":
        raise item.fault(
            "unsupported_item", "Only items of type 'message' can be created here.", "type"
        )
    item.need("role")
    role = cast(Role, item.choice("role", ROLES))
    item.need("content")
    parts = item.children("content", max_items=MAX_PARTS) or []
    text = "\n".join(filter(None, map(_part_text, parts)))
    if not text:
        raise item.fault(
            "invalid_value",
            f"'{item.where('content')}' holds no text.",
            "content",
        )
    return AddItem(
        role=role,
        text=text,
        item_id=item.text("id", max_chars=64) or None,
        after=event.text("previous_item_id", max_chars=64) or None,
        event_id=event_id,
    )


def _part_text(part: Fields) -> str:
    part.need("type")
    kind = part.text("type", max_chars=64)
    if kind in _TEXT_PARTS:
        part.only(("type", "text"))
        return part.need_text("text")
    if kind in _SPOKEN_PARTS:
        part.only(("type", "transcript", "audio"))
        if transcript := part.text("transcript"):
            return transcript
        raise part.fault(
            "unsupported_content",
            "Speech in an item needs its 'transcript'; live speech goes through "
            "input_audio_buffer.append.",
            "transcript",
        )
    accepted = ", ".join(f"'{name}'" for name in (*_TEXT_PARTS, *_SPOKEN_PARTS))
    raise part.fault("unsupported_content", f"'type' must be one of {accepted}.", "type")


def render_item(item: Item) -> dict[str, Any]:
    """The item as the history holds it: of a cut reply, what the caller heard."""
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
