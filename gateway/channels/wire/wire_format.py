"""The WireFormat of one call (sessions.channel): OpenAI Realtime GA, or the beta's names.

Clients of the beta (header ``OpenAI-Beta: realtime=v1``) get the same events renamed:
``response.output_text|output_audio|output_audio_transcript.*`` lose ``output_``,
``conversation.item.added`` is ``conversation.item.created``, and its ``.done`` is not sent. The
session, the response and the content of items take the beta's flat shape. What the beta has no
name for stays as it is.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sessions.channel import Parsed, ServerEvent
from sessions.core.config import SessionConfig
from sessions.core.notices import Notice

from .checks import UNCHECKED, SessionChecks
from .client_events import parse_event
from .render import Renderer
from .replies import Body


class EventIds:
    """Unique ``event_…`` ids of one call: a random prefix and a count."""

    def __init__(self) -> None:
        self._prefix = f"event_{secrets.token_hex(6)}"
        self._count = 0

    def next(self) -> str:
        """The next id."""
        self._count += 1
        return f"{self._prefix}{self._count:05d}"


class RealtimeWireFormat:
    """Client events to core events, notices to numbered server events; one per call.

    ``session_id``: the call's id. ``playout_events``: send ``output_audio_buffer.*``, which
    OpenAI's clients expect over WebRTC only. ``event_ids``: shared with the channel where it
    writes events of its own. ``rate_limits``: the call's at the moment, none by default.
    ``beta``: the client knows events by the beta's names. ``checks``: what is checked beyond the
    form of what the client sends."""

    def __init__(
        self,
        session_id: str,
        *,
        playout_events: bool = False,
        event_ids: EventIds | None = None,
        rate_limits: Callable[[], list[Body]] = list,
        beta: bool = False,
        checks: SessionChecks = UNCHECKED,
    ) -> None:
        self._checks = checks
        self._renderer = Renderer(
            session_id, playout_events=playout_events, rate_limits=rate_limits
        )
        self._beta = beta
        self._event_ids = event_ids or EventIds()

    def parse(
        self, message: Mapping[str, Any], config: SessionConfig, *, by_caller: bool = True
    ) -> Parsed:
        """The core event that ``message`` means; raises ClientFault. A locked session is locked to
        its caller only."""
        checks = self._checks if by_caller else replace(self._checks, locked=False)
        return parse_event(message, config, checks)

    def render(self, notice: Notice) -> Sequence[ServerEvent]:
        """The server events of ``notice``, in protocol order."""
        bodies = self._renderer.render(notice)
        if self._beta:
            bodies = [known for body in bodies if (known := beta_event(body)) is not None]
        return [{"event_id": self._event_ids.next(), **body} for body in bodies]


AUDIO_DELTA = "response.audio.delta"
"""What ``response.output_audio.delta`` is called."""

_PREFIX = "response.output_"
_RENAMED = ("text", "audio", "audio_transcript")
_FORMATS = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
_TOKENS = ("text_tokens", "audio_tokens", "cached_tokens")
_CONTENT = {"output_text": "text", "output_audio": "audio"}


def beta_event(event: Body) -> Body | None:
    """The event by its beta name and in its beta shape; None where the beta has none."""
    kind = event["type"]
    if kind == "conversation.item.done":
        return None
    renamed = dict(event)
    if kind == "conversation.item.added":
        renamed["type"] = "conversation.item.created"
    elif kind.startswith(_PREFIX) and kind[len(_PREFIX) :].rpartition(".")[0] in _RENAMED:
        renamed["type"] = "response." + kind[len(_PREFIX) :]
    if "session" in renamed:
        renamed["session"] = beta_session(renamed["session"])
    if "response" in renamed:
        renamed["response"] = _response(renamed["response"])
    if "item" in renamed:
        renamed["item"] = _item(renamed["item"])
    return renamed


def beta_session(session: Body) -> Body:
    """The session object in the beta's flat shape."""
    heard = session["audio"]["input"]
    flat: Body = {
        "id": session["id"],
        "input_audio_format": _format(heard["format"]),
        "input_audio_transcription": heard["transcription"],
        "input_audio_noise_reduction": heard["noise_reduction"],
        "turn_detection": heard["turn_detection"],
    }
    if "output" in session["audio"]:
        spoken = session["audio"]["output"]
        flat |= {
            "model": session["model"],
            "modalities": _modalities(session["output_modalities"]),
            "instructions": session["instructions"],
            "voice": spoken["voice"],
            "speed": spoken["speed"],
            "output_audio_format": _format(spoken["format"]),
            "tools": session["tools"],
            "tool_choice": session["tool_choice"],
            "max_response_output_tokens": session["max_output_tokens"],
        }
    return flat | ({"blab": session["blab"]} if "blab" in session else {})


def _response(response: Body) -> Body:
    flat = {
        name: value
        for name, value in response.items()
        if name not in ("audio", "output_modalities")
    }
    flat["modalities"] = _modalities(response["output_modalities"])
    if (usage := response["usage"]) is not None:
        details = usage["input_token_details"]
        known = {name: details[name] for name in _TOKENS}
        flat["usage"] = usage | {"input_token_details": known}
    flat["output"] = [_item(item) for item in response["output"]]
    if "audio" in response:
        spoken = response["audio"]["output"]
        flat |= {"voice": spoken["voice"], "output_audio_format": _format(spoken["format"])}
    return flat


def _item(item: Body) -> Body:
    if "content" not in item:
        return item
    content = [
        part | {"type": _CONTENT.get(part["type"], part["type"])} for part in item["content"]
    ]
    return item | {"content": content}


def _modalities(modalities: list[str]) -> list[str]:
    """The beta counts the transcript of speech as text."""
    return ["text", "audio"] if "audio" in modalities else ["text"]


def _format(form: dict[str, Any]) -> str:
    return _FORMATS[form["type"]]
