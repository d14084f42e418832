"""What one carrier's media stream calls things, and how its audio is written: all as data."""

from collections.abc import Mapping
from dataclasses import dataclass

from media.formats import AudioFormat, Encoding
from media.g711 import ALAW_SILENCE, RATE, ULAW_SILENCE

_SILENCE = {Encoding.PCMU: ULAW_SILENCE, Encoding.PCMA: ALAW_SILENCE, Encoding.PCM: 0}


@dataclass(frozen=True, slots=True)
class Dialect:
    """A carrier's names. Audio is always 8 kHz mono."""

    name: str
    """Of the channel, in addresses, logs and metrics."""
    stream_id: str
    """Member that holds the stream's id, in every message and in ``start``."""
    call_id: str
    """Member of ``start`` that holds the carrier's id of the call."""
    account_id: str
    """Member of ``start`` that holds the account."""
    media_format: str
    """Member of ``start`` that holds the format of the caller's audio."""
    parameters: str
    """Member of ``start`` that holds what the customer sends along."""
    encodings: Mapping[str, Encoding]
    """What the format's ``encoding`` may be, in lower case; the caller's audio is read so."""
    output: Encoding
    """How audio for the caller is written."""
    frame_ms: int = 20
    """Length of one outgoing ``media`` message."""
    addressed: bool = True
    """Outgoing messages carry the stream's id."""
    ordered: bool = True
    """Media comes in the order in which it was spoken."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of audio in one outgoing ``media`` message."""
        return self.frame_ms * RATE // 1000 * self.output_format.sample_bytes

    @property
    def output_format(self) -> AudioFormat:
        """How audio for the caller is written, with its rate."""
        return AudioFormat(self.output, RATE)

    @property
    def silence(self) -> bytes:
        """One byte of outgoing silence."""
        return bytes([_SILENCE[self.output]])
