"""Client events to core events: one function per event type, found by table.

``input_audio_buffer.append`` is not here: audio is the channel's own business. Whatever JSON
value comes in, the outcome is a core event or a ClientFault.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from sessions.channel import ClientFault, Parsed, Partly
from sessions.core.config import SessionConfig, SessionKind
from sessions.core.events import (
    AddItem,
    ClearInput,
    ClearOutput,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    Event,
    RequestCancel,
    RequestReply,
    RetrieveItem,
    TruncateItem,
)

from .checks import UNCHECKED, SessionChecks
from .fields import Fields
from .items import parse_item
from .response_request import parse_response
from .session_object import merge_session

MAX_ID_CHARS = 512
_LATEST_MS = 86_400_000
_ENVELOPE = ("type", "event_id")

_Parser = Callable[[Fields, str | None, SessionConfig], Parsed]


def read_message(data: str | bytes) -> dict[str, Any]:
    """The JSON object that a message holds; raises ClientFault, also for text that is not UTF-8 and
    for unpaired surrogates, which neither JSON out nor the stores could take."""
    try:
        message = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ClientFault(
            "invalid_json",
            "The message is not JSON in valid UTF-8: send one event a message, without unpaired "
            "surrogates.",
        ) from error
    if not isinstance(message, dict):
        raise ClientFault("invalid_event", "A client event must be a JSON object.")
    return message


def parse_event(message: Any, config: SessionConfig, checks: SessionChecks = UNCHECKED) -> Parsed:
    """The core event a client event means, once it has been checked; raises ClientFault."""
    if not isinstance(message, Mapping):
        raise ClientFault("invalid_event", "A client event must be a JSON object.")
    event_id = event_id_of(message)
    fields = Fields(message, "", event_id)
    if message.get("event_id") is not None:
        fields.text("event_id", max_chars=MAX_ID_CHARS)
    kind = fields.need_text("type", max_chars=256)
    parser = _PARSERS.get(kind)
    if parser is None:
        known = ", ".join(sorted(_PARSERS))
        raise fields.fault(
            "unknown_event", f"Unknown event type '{kind[:64]}'. Known: {known}.", "type"
        )
    parsed = parser(fields, event_id, config)
    _check(fields, config, parsed, checks)
    return parsed


def _check(fields: Fields, config: SessionConfig, parsed: Parsed, checks: SessionChecks) -> None:
    match parsed.event if isinstance(parsed, Partly) else parsed:
        case ConfigureSession(config=after):
            checks.session(fields.need_child("session"), config, after)
        case RequestReply() as asked if (given := fields.child("response")) is not None:
            checks.response(given, config, asked)
        case AddItem() as item:
            checks.item(fields.need_child("item"), item)


def event_id_of(message: Mapping[str, Any]) -> str | None:
    """The client's own event id, where it is one that can be told back."""
    event_id = message.get("event_id")
    if isinstance(event_id, str) and len(event_id) <= MAX_ID_CHARS and event_id.isprintable():
        return event_id
    return None


def _session_update(fields: Fields, event_id: str | None, config: SessionConfig) -> Event:
    fields.only((*_ENVELOPE, "session"))
    return ConfigureSession(merge_session(fields.need_child("session"), config), event_id)


def _captions_update(fields: Fields, event_id: str | None, config: SessionConfig) -> Event:
    """The beta's own name for the update of a transcription session."""
    fields.only((*_ENVELOPE, "session"))
    captions = replace(config, kind=SessionKind.TRANSCRIPTION)
    return ConfigureSession(merge_session(fields.need_child("session"), captions), event_id)


def _commit(fields: Fields, event_id: str | None, _config: SessionConfig) -> Event:
    fields.only(_ENVELOPE)
    return CommitInput(event_id)


def _clear_input(fields: Fields, event_id: str | None, _config: SessionConfig) -> Event:
    fields.only(_ENVELOPE)
    return ClearInput(event_id)


def _clear_output(fields: Fields, event_id: str | None, _config: SessionConfig) -> Event:
    fields.only(_ENVELOPE)
    return ClearOutput(event_id)


def _item_create(fields: Fields, event_id: str | None, config: SessionConfig) -> Parsed:
    fields.only((*_ENVELOPE, "item", "previous_item_id"))
    return parse_item(fields, event_id, config)


def _item_delete(fields: Fields, event_id: str | None, _config: SessionConfig) -> Event:
    fields.only((*_ENVELOPE, "item_id"))
    return DeleteItem(fields.need_text("item_id", max_chars=64), event_id)


def _item_retrieve(fields: Fields, event_id: str | None, _config: SessionConfig) -> Event:
    fields.only((*_ENVELOPE, "item_id"))
    return RetrieveItem(fields.need_text("item_id", max_chars=64), event_id)


def _item_truncate(fields: Fields, event_id: str | None, _config: SessionConfig) -> Event:
    """Clamped rather than refused: a client's clock may run a little before or after ours."""
    fields.only((*_ENVELOPE, "item_id", "content_index", "audio_end_ms"))
    fields.integer("content_index", 0, 0)
    fields.need("audio_end_ms")
    end = fields.number("audio_end_ms", float("-1e300"), float("1e300")) or 0.0
    clamped = int(min(max(end, 0.0), _LATEST_MS))
    return TruncateItem(fields.need_text("item_id", max_chars=64), clamped, event_id)


def _response_create(fields: Fields, event_id: str | None, config: SessionConfig) -> Parsed:
    fields.only((*_ENVELOPE, "response"))
    return parse_response(fields.child("response"), event_id, config)


def _response_cancel(fields: Fields, event_id: str | None, _config: SessionConfig) -> Event:
    fields.only((*_ENVELOPE, "response_id"))
    return RequestCancel(fields.text("response_id", max_chars=64) or None, event_id)


_PARSERS: dict[str, _Parser] = {
    "session.update": _session_update,
    "transcription_session.update": _captions_update,
    "input_audio_buffer.commit": _commit,
    "input_audio_buffer.clear": _clear_input,
    "output_audio_buffer.clear": _clear_output,
    "conversation.item.create": _item_create,
    "conversation.item.delete": _item_delete,
    "conversation.item.retrieve": _item_retrieve,
    "conversation.item.truncate": _item_truncate,
    "response.create": _response_create,
    "response.cancel": _response_cancel,
}
