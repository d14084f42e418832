"""Audio formats, shared by every floor above.

Audio inside Blab is signed 16-bit little-endian mono PCM. A position in a stream is the number of
samples since its beginning, at that stream's rate. The conversation core and the engines always
hear ``HEARING_RATE``. A ``Framer`` cuts a stream into frames of one size for those who need them
(codecs, telephony).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

HEARING_RATE = 16_000
"""Hz of the stream that VAD, turn detector and STT hear; the core counts its samples."""

SAMPLE_BYTES = 2
"""Bytes of one PCM16 mono sample."""


class Encoding(StrEnum):
    """Encodings on the wire, named as the OpenAI Realtime API names them."""

    PCM = "audio/pcm"
    PCMU = "audio/pcmu"
    PCMA = "audio/pcma"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How samples are written on a channel; always mono."""

    encoding: Encoding = Encoding.PCM
    rate: int = 24_000


PCM_RATES = (8_000, 16_000, 24_000, 48_000)
"""Rates (Hz) accepted for ``audio/pcm``; G.711 is always 8000."""


def samples_of(milliseconds: float, rate: int) -> int:
    """Samples in ``milliseconds`` at ``rate`` Hz, rounded down."""
    return int(milliseconds * rate // 1000)


def milliseconds_of(samples: int, rate: int) -> int:
    """Whole milliseconds in ``samples`` at ``rate`` Hz, rounded down."""
    return samples * 1000 // rate


class Framer:
    """Frames of ``frame_bytes`` from pushes of any size, in order, none lost."""

    def __init__(self, frame_bytes: int) -> None:
        if frame_bytes <= 0:
            raise ValueError(f"a frame of {frame_bytes} bytes: a positive size is needed")
        self.frame_bytes = frame_bytes
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes waiting for the rest of their frame."""
        return len(self._rest)

    def push(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Take bytes; yields every frame that is now complete."""
        stream = self._rest + bytes(data)
        whole = len(stream) - len(stream) % self.frame_bytes
        self._rest = stream[whole:]
        return (stream[i : i + self.frame_bytes] for i in range(0, whole, self.frame_bytes))

    def flush(self, padding: bytes = b"\0") -> bytes:
        """The last, incomplete frame filled up with ``padding`` (one byte), or nothing."""
        rest, self._rest = self._rest, b""
        return rest + padding * (self.frame_bytes - len(rest)) if rest else b""

    def clear(self) -> None:
        """Forget the incomplete frame."""
        self._rest = b""
