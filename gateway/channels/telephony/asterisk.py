"""Asterisk's WebSocket channel driver (``chan_websocket``), from Asterisk 20.18, 22.8 or 23.2 on.

Audio travels in binary frames, as the codec of the dial string has it; text frames hold events and
commands, as JSON objects with ``f(json)``, else as words (``MEDIA_START channel_id:… format:…``).
Commands are written as the events come. Asterisk keeps the clock: it cuts what it is sent into
frames, plays them in real time, and reports each mark once all audio before it was played. It
queues 20 s and asks for a pause at 18 s, which ``lead_ms`` stays far below.

Codecs in packets (Opus, Speex) are passed through without marks and are not spoken here.
https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/
"""

from typing import Any

import msgspec

from .carrier import (
    BadAudio,
    Heard,
    MarkingCarrier,
    Message,
    Started,
    StreamEvent,
    StreamFormat,
    UnsupportedFormat,
    WireFault,
)
from .media_stream import MAX_PARAMETERS, decoded, id_of, number_of, pressed_key, returned_mark

_FORMATS = {
    "ulaw": StreamFormat("pcmu", 8_000),
    "alaw": StreamFormat("pcma", 8_000),
    "g722": StreamFormat("g722", 16_000),
    "slin": StreamFormat("l16", 8_000),
    "slin16": StreamFormat("l16", 16_000),
    "slin24": StreamFormat("l16", 24_000),
    "slin48": StreamFormat("l16", 48_000),
}
_FRAMES_MS = (10, 20, 30, 40, 60)
_DRIVER_VARIABLES = "MEDIA_WEBSOCKET_"
_IGNORED = frozenset(
    ("MEDIA_XOFF", "MEDIA_XON", "STATUS", "MEDIA_BUFFERING_COMPLETED", "QUEUE_DRAINED")
)


class Asterisk(MarkingCarrier):
    """Asterisk: µ-law, A-law, G.722 and linear audio. Channel variables are the parameters."""

    name = "asterisk"
    subprotocol = "media"

    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._json = True
        """Whether commands are written as JSON; decided by the first event."""

    def parse(self, message: Message) -> list[StreamEvent]:
        """Audio, or one event; raises WireFault."""
        if isinstance(message, bytes):
            return self._media(message)
        event = decoded(message) if message.lstrip().startswith("{") else _words(message)
        kind = event.get("event")
        if kind == "MEDIA_START":
            self._json = "plain" not in event
            return [self._start(event)]
        if not self._started:
            raise WireFault("before_start")
        match kind:
            case "DTMF_END":
                return [pressed_key(event.get("digit"))]
            case "MEDIA_MARK_PROCESSED":
                return [returned_mark(event.get("correlation_id"))]
            case str() if kind in _IGNORED:
                return []
        raise WireFault("unknown_event")

    def _media(self, payload: bytes) -> list[StreamEvent]:
        if not self._started:
            raise WireFault("before_start")
        try:
            pcm = self._decoder.decode(payload)
        except BadAudio as error:
            raise WireFault(error.code) from error
        return [Heard(pcm)] if pcm else []

    def _start(self, event: dict[str, Any]) -> Started:
        if self._started:
            raise WireFault("out_of_order")
        stream_id = id_of(event, "connection_id") or id_of(event, "channel_id")
        if not stream_id:
            raise WireFault("invalid_stream_id")
        name = event.get("format")
        form = _FORMATS.get(name) if isinstance(name, str) else None
        frame_ms = number_of(event.get("ptime", self.frame_ms))
        if form is None or frame_ms not in _FRAMES_MS:
            raise UnsupportedFormat("unsupported_media_format")
        self._started = True
        self.frame_ms = frame_ms
        self._agree(form, form)
        variables = event.get("channel_variables")
        return Started(stream_id, id_of(event, "channel_id"), "", form, _parameters(variables))

    # ------------------------------------------------------------------ out

    def media(self, pcm: bytes) -> bytes:
        """A binary frame: as much as Asterisk plays in ``ptime``."""
        return self._encoder.encode(pcm)

    def mark(self, name: str) -> str:
        """``MARK_MEDIA``."""
        return self._command("MARK_MEDIA", name)

    def clear(self) -> str:
        """``FLUSH_MEDIA``. Marks in what is flushed do not return."""
        return self._command("FLUSH_MEDIA")

    def hang_up(self, reason: str) -> str:  # noqa: ARG002
        """``HANGUP``: the dial plan goes on."""
        return self._command("HANGUP")

    def _command(self, command: str, correlation_id: str = "") -> str:
        if not self._json:
            return f"{command} {correlation_id}".rstrip()
        members = {"command": command}
        if correlation_id:
            members["correlation_id"] = correlation_id
        return msgspec.json.encode(members).decode()


def _words(message: str) -> dict[str, Any]:
    """An event in words: its name, then ``name:value``; a word alone is the correlation id."""
    kind, *words = message.split()[:64] or [""]
    event: dict[str, Any] = {"plain": True}
    for word in words:
        name, colon, value = word.partition(":")
        event[name if colon else "correlation_id"] = value if colon else word
    return {**event, "event": kind}


def _parameters(variables: Any) -> dict[str, str]:
    """Channel variables that are texts, without the driver's own."""
    if not isinstance(variables, dict):
        return {}
    texts = [(n, v) for n, v in variables.items() if isinstance(v, str)]
    return dict([(n, v) for n, v in texts if not n.startswith(_DRIVER_VARIABLES)][:MAX_PARAMETERS])
