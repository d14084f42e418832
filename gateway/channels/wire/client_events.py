"""Client events: each declared once, read by its declaration, and made an event of the core.

A declaration gives an event's type, fields and bounds; the reader, the accepted fields, the table
in docs/realtime.md and the strategies of the property tests follow from it. Whatever JSON value
comes in, the outcome is a core event or a ClientFault.

Rules of ``response.create``
- What is absent keeps the session's value. ``conversation: "none"`` makes a reply that becomes no
  part of the conversation; ``input`` stands in for the conversation, by items of its own or by
  references to items that exist.
- A reply's format is the session's: the channel has one.
- What OpenAI knows and Blab does not do (reasoning) is accepted and dropped; a stored prompt is
  refused.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, assert_never, get_args

import msgspec
from msgspec import Meta

from sessions.channel import ClientFault, Parsed, Partly
from sessions.core.config import SessionConfig, SessionKind, Tool
from sessions.core.events import (
    AddItem,
    ClearInput,
    ClearOutput,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    KeyPressed,
    RequestCancel,
    RequestReply,
    RetrieveItem,
    TruncateItem,
)
from sessions.core.items import PromptLine

from .checks import UNCHECKED, SessionChecks
from .fields import Fields, read
from .items import image_fault, message_text, parse_item
from .session_object import (
    merge_max_tokens,
    merge_modalities,
    merge_session,
    read_format,
    read_voice,
    refuse_prompt,
)
from .tools import read_choice, read_labels, read_reply_tools

MAX_ID_CHARS = 512
MAX_SAID = 4_000
RESPONSE_FIELDS = (
    "audio",
    "conversation",
    "input",
    "instructions",
    "max_output_tokens",
    "metadata",
    "output_modalities",
    "parallel_tool_calls",
    "prompt",
    "reasoning",
    "tool_choice",
    "tools",
    "modalities",
    "max_response_output_tokens",
    "voice",
    "output_audio_format",
    "temperature",
)
"""What ``response.create`` may hold, the beta's names included."""
_MAX_LINES = 128
_MAX_PAIRS = 16
_MAX_KEY_CHARS = 64
_MAX_VALUE_CHARS = 512

_LATEST_MS = 86_400_000

_Id = Annotated[str, Meta(max_length=64)]
_Key = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "D"]
_Milliseconds = Annotated[float, Meta(ge=-1e300, le=1e300)]


class _ClientEvent(msgspec.Struct, tag_field="type", kw_only=True):
    event_id: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None


class SessionUpdate(_ClientEvent, tag="session.update"):
    """merges the given fields; `turn_detection: null` is push to talk; the beta's flat names are
    accepted"""

    session: Fields


class TranscriptionSessionUpdate(_ClientEvent, tag="transcription_session.update"):
    """the beta's `session.update` for a session of type `transcription`"""

    session: Fields


class InputAppend(_ClientEvent, tag="input_audio_buffer.append"):
    """adds audio, without an acknowledgement; an odd byte count or bad base64 is an error"""

    audio: str


class InputCommit(_ClientEvent, tag="input_audio_buffer.commit"):
    """ends the turn by hand; an empty commit is an error"""


class InputClear(_ClientEvent, tag="input_audio_buffer.clear"):
    """drops the turn"""


class OutputClear(_ClientEvent, tag="output_audio_buffer.clear"):
    """stops the audio being played"""


class ItemCreate(_ClientEvent, tag="conversation.item.create"):
    """adds a message (`input_text`, `output_text`, `input_audio`), a `function_call_output`, a
    `function_call` or an `mcp_approval_response`; images are left out and reported
    (`unsupported_content`), the text with them is kept"""

    item: Fields
    previous_item_id: _Id | None = None


class ItemDelete(_ClientEvent, tag="conversation.item.delete"):
    """removes the item"""

    item_id: _Id


class ItemRetrieve(_ClientEvent, tag="conversation.item.retrieve"):
    """answers with the server's version of the item"""

    item_id: _Id


class ItemTruncate(_ClientEvent, tag="conversation.item.truncate", kw_only=True):
    """cuts the item, clamped to its length; the heard prefix stays"""

    content_index: Annotated[int, Meta(ge=0, le=0)] = 0
    audio_end_ms: _Milliseconds
    item_id: _Id


class ResponseCreate(_ClientEvent, tag="response.create"):
    """requests a reply: one at a time, and written side replies"""

    response: Fields | None = None


class ResponseCancel(_ClientEvent, tag="response.cancel"):
    """ends the reply in progress, or the named one"""

    response_id: _Id | None = None


class Say(_ClientEvent, tag="blab.say"):
    """speaks `text` as the agent, when nobody speaks; `interrupt` cuts the reply in progress off
    first; what is heard of it joins the conversation"""

    text: Annotated[str, Meta(max_length=MAX_SAID)]
    interrupt: bool = False


class Inject(_ClientEvent, tag="blab.inject"):
    """as `conversation.item.create` with a message; with `reply`, the agent replies when nobody
    speaks"""

    item: Fields
    reply: bool = False


class Dtmf(_ClientEvent, tag="blab.dtmf"):
    """the caller presses a key (`0` to `9`, `*`, `#`, `A` to `D`): an
    `input_audio_buffer.dtmf_event_received`, as from a telephone; no reply by itself"""

    digit: _Key


class CallTransfer(_ClientEvent, tag="blab.call.transfer"):
    """another agent of the workspace goes on with the call; for a [sideband](#sideband) only"""

    agent_id: _Id


class CallHangUp(_ClientEvent, tag="blab.call.hang_up"):
    """ends the call; for a [sideband](#sideband) only"""


class Ping(_ClientEvent, tag="blab.ping"):
    """answers at once, to the sender alone, with `blab.pong` and the `event_id` as `ping_id`"""


ClientEvent = (
    SessionUpdate
    | TranscriptionSessionUpdate
    | InputCommit
    | InputClear
    | OutputClear
    | ItemCreate
    | ItemDelete
    | ItemRetrieve
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
    | Say
    | Inject
    | Dtmf
)
"""Those that mean an event of the core."""
DECLARATIONS: tuple[type[_ClientEvent], ...] = (
    *get_args(ClientEvent),
    InputAppend,
    Ping,
    CallTransfer,
    CallHangUp,
)
"""All that a client may send: audio is the channel's business, a ping the session's, transferring
and hanging up the sideband's."""

_BY_TYPE: dict[str, type[ClientEvent]] = {
    str(declaration.__struct_config__.tag): declaration for declaration in get_args(ClientEvent)
}


def read_message(data: str | bytes) -> dict[str, Any]:
    """The JSON object that a message holds; raises ClientFault, also for text that is not UTF-8 and
    for unpaired surrogates, which neither JSON out nor the stores could take."""
    try:
        message = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ClientFault(
            "invalid_json",
            "The message is not JSON in valid UTF-8: send one event per message, without unpaired "
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
    declaration = _BY_TYPE.get(kind)
    if declaration is None:
        known = ", ".join(sorted(_BY_TYPE))
        raise fields.fault(
            "unknown_event", f"Unknown event type '{kind[:64]}'. Known: {known}.", "type"
        )
    return _core_event(read(declaration, fields), event_id, config, checks)


def event_id_of(message: Mapping[str, Any]) -> str | None:
    """The client's own event id, where it can be sent back."""
    event_id = message.get("event_id")
    if isinstance(event_id, str) and len(event_id) <= MAX_ID_CHARS and event_id.isprintable():
        return event_id
    return None


def _core_event(
    event: ClientEvent, event_id: str | None, config: SessionConfig, checks: SessionChecks
) -> Parsed:
    match event:
        case SessionUpdate():
            after = merge_session(event.session, config)
            checks.session(event.session, config, after)
            return ConfigureSession(after, event_id)
        case TranscriptionSessionUpdate():
            captions = replace(config, kind=SessionKind.TRANSCRIPTION)
            after = merge_session(event.session, captions)
            checks.session(event.session, config, after)
            return ConfigureSession(after, event_id)
        case InputCommit():
            return CommitInput(event_id)
        case InputClear():
            return ClearInput(event_id)
        case OutputClear():
            return ClearOutput(event_id)
        case ItemCreate():
            parsed = parse_item(event.item, event.previous_item_id or None, event_id, config)
            item = parsed.event if isinstance(parsed, Partly) else parsed
            if isinstance(item, AddItem):
                checks.item(event.item, item)
            return parsed
        case ItemDelete():
            return DeleteItem(event.item_id, event_id)
        case ItemRetrieve():
            return RetrieveItem(event.item_id, event_id)
        case ItemTruncate():
            # Clamped rather than refused: a client's clock may run a little before or after ours.
            end = int(min(max(event.audio_end_ms, 0.0), _LATEST_MS))
            return TruncateItem(event.item_id, end, event_id)
        case ResponseCreate():
            return _response_request(event.response, event_id, config, checks)
        case ResponseCancel():
            return RequestCancel(event.response_id or None, event_id)
        case Say():
            checks.say(event_id)
            return RequestReply(
                script=event.text, interrupts=event.interrupt, waits=True, event_id=event_id
            )
        case Inject():
            return _injected(event, event_id, config, checks)
        case Dtmf():
            return KeyPressed(event.digit, 0)  # the session knows when
        case _:
            assert_never(event)


def _injected(
    event: Inject, event_id: str | None, config: SessionConfig, checks: SessionChecks
) -> Parsed:
    item = parse_item(event.item, None, event_id, config)
    if not isinstance(item, AddItem):
        raise event.item.fault("unsupported_item", "Only a message of text is injected.", "type")
    checks.item(event.item, item)
    return replace(item, reply=event.reply)


# ---------------------------------------------------------------------------- response.create


def _response_request(
    response: Fields | None, event_id: str | None, config: SessionConfig, checks: SessionChecks
) -> RequestReply | Partly:
    """The reply that ``response`` asks for; raises ClientFault. Images in its input are left out
    and reported."""
    if response is None:
        return RequestReply(event_id=event_id)
    response.only(RESPONSE_FIELDS)
    refuse_prompt(response)
    asked = RequestReply(
        instructions=response.text("instructions"),
        output_audio=merge_modalities(response),
        max_output_tokens=merge_max_tokens(response),
        event_id=event_id,
        voice=_voice(response, config),
        prompt=_prompt(response),
        metadata=_metadata(response),
        out_of_band=response.choice("conversation", ("auto", "none")) == "none",
        tools=_tools(response, config),
        servers=read_labels(response) if response.raw("tools") is not None else None,
        tool_choice=read_choice(response),
    )
    checks.response(response, config, asked)
    images = map(image_fault, response.children("input", max_items=_MAX_LINES) or [])
    fault = next(filter(None, images), None)
    return asked if fault is None else Partly(asked, fault)


def _tools(response: Fields, config: SessionConfig) -> tuple[Tool, ...] | None:
    """The agent's own, and the request's in place of the session's; None: the session's."""
    if response.raw("tools") is None:
        return None
    mine = tuple(tool for tool in config.tools if tool.fixed)
    return mine + read_reply_tools(response)


def _voice(response: Fields, config: SessionConfig) -> str | None:
    _check_format(response, "output_audio_format", config)
    voice = read_voice(response)
    if (audio := response.child("audio")) is None:
        return voice
    audio.only(("output",))
    if (output := audio.child("output")) is None:
        return voice
    output.only(("format", "voice"))
    _check_format(output, "format", config)
    return read_voice(output) or voice


def _check_format(fields: Fields, name: str, config: SessionConfig) -> None:
    if read_format(fields, name, config.output_format) != config.output_format:
        raise fields.fault(
            "unsupported_value",
            f"'{fields.where(name)}' must be the session's: change that with session.update.",
            name,
        )


def _prompt(response: Fields) -> tuple[PromptLine, ...] | None:
    items = response.children("input", max_items=_MAX_LINES)
    return None if items is None else tuple(map(_line, items))


def _line(item: Fields) -> PromptLine:
    item.need("type")
    match item.text("type", max_chars=64):
        case "item_reference":
            item.only(("type", "id"))
            return PromptLine(item_id=item.need_text("id", max_chars=64))
        case "message":
            item.only(("id", "type", "object", "status", "role", "content"))
            return PromptLine(*message_text(item))
    raise item.fault(
        "unsupported_item",
        f"'{item.where('type')}' must be 'message' or 'item_reference' here.",
        "type",
    )


def _metadata(response: Fields) -> tuple[tuple[str, str], ...]:
    metadata = response.child("metadata")
    if metadata is None:
        return ()
    names = metadata.names()
    if len(names) > _MAX_PAIRS or any(len(name) > _MAX_KEY_CHARS for name in names):
        raise response.fault(
            "invalid_value",
            f"'{response.where('metadata')}' takes {_MAX_PAIRS} pairs, with names of at most "
            f"{_MAX_KEY_CHARS} characters.",
            "metadata",
        )
    return tuple(
        (name, metadata.need_text(name, max_chars=_MAX_VALUE_CHARS)) for name in sorted(names)
    )
