"""What a carrier sends over its stream, sans I/O: JSON messages to events.

Rules
- Whatever comes in, the outcome is events or a ``WireFault``; a message at fault changes nothing.
- Numbers are taken as numbers and as strings of digits.
- Order: ``connected`` (may be missing), ``start`` once, then everything else, ``stop`` last.
- What another stream is named in, or the outgoing track, is not for us.
"""

import binascii
import re
from collections.abc import Callable
from typing import Any

import msgspec

from media.formats import SAMPLE_BYTES

from .codecs import BadAudio, Codec, StreamFormat
from .dialect import Dialect
from .events import Heard, MarkReturned, Pressed, Started, Stopped, StreamEvent
from .reorder import Reorder
from .timeline import Timeline

MAX_ID_CHARS = 128
MAX_MARK_CHARS = 64
MAX_PARAMETERS = 64
_DIGITS = frozenset("0123456789*#ABCD")
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


class WireFault(Exception):
    """A message that cannot be taken; ``code`` is a constant without any of its content."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class UnsupportedFormat(WireFault):
    """The stream's audio is in a format that is not spoken here: the call cannot go on."""


class StreamParser:
    """Reads one stream."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._reorder: Reorder[tuple[int | None, bytes]] | None = (
            None if dialect.ordered else Reorder()
        )
        self._codec: Codec = dialect.usual.open()
        self._timeline = Timeline(self.rate)
        self._stopped = False
        self.stream_id: str | None = None
        """None before ``start``."""
        self._readers: dict[str, Callable[[dict[str, Any]], list[StreamEvent]]] = {
            "media": self._media,
            "mark": self._mark,
            "dtmf": self._dtmf,
            "stop": self._stop,
            "error": lambda _: [],  # Telnyx complains of what we sent
        }

    @property
    def rate(self) -> int:
        """Hz of the samples that are heard; final with ``start``."""
        return self._codec.input_rate

    def receive(self, data: bytes | str) -> list[StreamEvent]:
        """The events of one message; raises WireFault."""
        message = _decoded(data)
        kind = message.get("event")
        if self._stopped:
            raise WireFault("after_stop")
        if kind == "connected":
            return self._connected()
        if kind == "start":
            return self._start(message)
        reader = self._readers.get(kind) if isinstance(kind, str) else None
        if reader is None:
            raise WireFault("unknown_event")
        if self.stream_id is None:
            raise WireFault("before_start")
        if message.get(self._dialect.stream_id, self.stream_id) != self.stream_id:
            raise WireFault("foreign_stream")
        return reader(message)

    # ------------------------------------------------------------------ one reader an event

    def _connected(self) -> list[StreamEvent]:
        if self.stream_id is not None:
            raise WireFault("out_of_order")
        return []

    def _start(self, message: dict[str, Any]) -> list[StreamEvent]:
        dialect = self._dialect
        if self.stream_id is not None:
            raise WireFault("out_of_order")
        start = _child(message, "start")
        stream_id = message.get(dialect.stream_id) or start.get(dialect.stream_id)
        if not isinstance(stream_id, str) or not _is_id(stream_id):
            raise WireFault("invalid_stream_id")
        form = self._format(start.get(dialect.media_format))
        parameters = _parameters(start.get(dialect.parameters))
        self.stream_id = stream_id
        self._codec = form.open()
        self._timeline = Timeline(self.rate)
        call_id, account_id = (_id(start, name) for name in (dialect.call_id, dialect.account_id))
        return [Started(stream_id, call_id, account_id, form, parameters)]

    def _format(self, described: Any) -> StreamFormat:
        """How the caller's audio is written; what is not said is as the dialect has it."""
        if described is None:
            described = {}
        if not isinstance(described, dict):
            raise WireFault("invalid_media_format")
        named = described.get("encoding")
        stated = next((described[n] for n in ("sampleRate", "sample_rate") if n in described), None)
        rate = None if stated is None else _number(stated)
        if (named is not None and not isinstance(named, str)) or (stated and rate is None):
            raise UnsupportedFormat("unsupported_media_format")
        form = self._dialect.format(named, rate)
        if form is None:
            raise UnsupportedFormat("unsupported_media_format")
        return form

    def _media(self, message: dict[str, Any]) -> list[StreamEvent]:
        media = _child(message, "media")
        if media.get("track") == "outbound":
            return []
        pcm = self._pcm(media.get("payload"))
        timestamp, chunk = _optional(media, "timestamp"), _optional(media, "chunk")
        frames = [(timestamp, pcm)]
        if self._reorder is not None and chunk is not None:
            frames = self._reorder.push(chunk, (timestamp, pcm))
        heard = b"".join(self._in_time(stamp, frame) for stamp, frame in frames)
        return [Heard(heard)] if heard else []

    def _pcm(self, payload: Any) -> bytes:
        if not isinstance(payload, str):
            raise WireFault("missing_payload")
        try:
            audio = binascii.a2b_base64(payload, strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise WireFault("invalid_base64") from error
        try:
            return self._codec.decode(audio)
        except BadAudio as error:
            raise WireFault(error.code) from error

    def _in_time(self, timestamp: int | None, pcm: bytes) -> bytes:
        gap = self._timeline.gap(timestamp, len(pcm) // SAMPLE_BYTES)
        return bytes(gap * SAMPLE_BYTES) + pcm if gap else pcm

    def _mark(self, message: dict[str, Any]) -> list[StreamEvent]:
        name = _child(message, "mark").get("name")
        if not isinstance(name, str) or len(name) > MAX_MARK_CHARS:
            raise WireFault("invalid_mark")
        return [MarkReturned(name)]

    def _dtmf(self, message: dict[str, Any]) -> list[StreamEvent]:
        digit = _child(message, "dtmf").get("digit")
        if not isinstance(digit, str) or digit.upper() not in _DIGITS:
            raise WireFault("invalid_digit")
        return [Pressed(digit.upper())]

    def _stop(self, _message: dict[str, Any]) -> list[StreamEvent]:
        self._stopped = True
        return [Stopped()]


def _decoded(data: bytes | str) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WireFault("invalid_json") from error
    if not isinstance(message, dict):
        raise WireFault("no_object")
    return message


def _child(message: dict[str, Any], name: str) -> dict[str, Any]:
    child = message.get(name)
    if not isinstance(child, dict):
        raise WireFault(f"missing_{name}")
    return child


def _number(value: Any) -> int | None:
    """A number, as itself or as digits; None where it is neither."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15
    return value if fits else None


def _optional(members: dict[str, Any], name: str) -> int | None:
    if members.get(name) is None:
        return None
    number = _number(members[name])
    if number is None:
        raise WireFault(f"invalid_{name}")
    return number


def _id(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) and _is_id(value) else ""


def _is_id(text: str) -> bool:
    return 0 < len(text) <= MAX_ID_CHARS and text.isprintable()


def _parameters(given: Any) -> dict[str, str]:
    """The texts among the parameters: an object, or (Telnyx) a list of names and values."""
    if isinstance(given, list):
        pairs = [(one.get("name"), one.get("value")) for one in given if isinstance(one, dict)]
    elif isinstance(given, dict):
        pairs = list(given.items())
    else:
        return {}
    texts = [(n, v) for n, v in pairs if isinstance(n, str) and isinstance(v, str)]
    return dict(texts[:MAX_PARAMETERS])
