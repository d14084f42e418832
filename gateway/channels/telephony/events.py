"""What a carrier tells over its stream, whatever its dialect."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .codecs import StreamFormat


@dataclass(frozen=True, slots=True)
class Started:
    """The stream has begun."""

    stream_id: str
    call_id: str
    """The carrier's own; empty where it told none."""
    account_id: str
    form: StreamFormat
    """How the caller's audio is written."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the customer sends along, as it came."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The caller's next samples: PCM16 mono at the codec's input rate, gaps filled."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key of the caller's telephone: 0-9, ``*``, ``#``, A-D."""

    digit: str


@dataclass(frozen=True, slots=True)
class MarkReturned:
    """A mark of ours came back: what stands before it was played, or cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The stream has ended."""


StreamEvent = Started | Heard | Pressed | MarkReturned | Stopped
