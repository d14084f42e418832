"""``response.create``: what a client wants of one reply, read into a RequestReply.

Rules
- What is absent keeps the session's value. ``conversation: "none"`` makes a reply that becomes no
  part of the conversation; ``input`` stands in for the conversation, by items of its own or by
  references to items that exist.
- A reply's format is the session's: the channel has one.
- What OpenAI knows and Blab does not do (reasoning) is taken and not kept; a stored prompt is
  refused.
"""

from sessions.channel import Partly
from sessions.core.config import SessionConfig
from sessions.core.events import RequestReply
from sessions.core.items import PromptLine
from sessions.core.tools.tools import Tool

from .fields import Fields
from .items import image_fault, message_text
from .session_object import (
    merge_max_tokens,
    merge_modalities,
    read_format,
    read_voice,
    refuse_prompt,
)
from .tools import read_choice, read_labels, read_reply_tools

_KNOWN = (
    "audio", "conversation", "input", "instructions", "max_output_tokens", "metadata",
    "output_modalities", "parallel_tool_calls", "prompt", "reasoning", "tool_choice", "tools",
    "modalities", "max_response_output_tokens", "voice", "output_audio_format", "temperature",
)  # fmt: skip
_MAX_LINES = 128
_MAX_PAIRS = 16
_MAX_KEY_CHARS = 64
_MAX_VALUE_CHARS = 512


def parse_response(
    response: Fields | None, event_id: str | None, config: SessionConfig
) -> RequestReply | Partly:
    """The reply that ``response`` asks for; raises ClientFault. Images in its input are left out
    and reported."""
    if response is None:
        return RequestReply(event_id=event_id)
    response.only(_KNOWN)
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
