"""What one carrier's media stream calls things, and which audio it may carry: all as data."""

from collections.abc import Mapping
from dataclasses import dataclass

from .codecs import StreamFormat


@dataclass(frozen=True, slots=True)
class Dialect:
    """A carrier's names and formats. Audio is mono."""

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
    encodings: Mapping[str, str]
    """What the format's ``encoding`` may be, in lower case, and the codec's name for it."""
    rates: Mapping[str, tuple[int, ...]]
    """Hz that each codec may be sent at; the first is taken where ``start`` names none."""
    default: str = "pcmu"
    """The codec of a stream that names none."""
    answers: Mapping[str, str] | None = None
    """Codecs that are not answered in kind, and the one they are answered in."""
    frame_ms: int = 20
    """Length of one outgoing ``media`` message."""
    addressed: bool = True
    """Outgoing messages carry the stream's id."""
    ordered: bool = True
    """Media comes in the order in which it was spoken."""

    @property
    def usual(self) -> StreamFormat:
        """The format of a stream that names none."""
        return StreamFormat(self.default, self.rates[self.default][0])

    def format(self, encoding: str | None, rate: int | None) -> StreamFormat | None:
        """The stream's format, as ``start`` names it; None where it is not spoken here."""
        name = self.default if encoding is None else self.encodings.get(encoding.lower())
        if name is None:
            return None
        rates = self.rates[name]
        if rate is None:
            return StreamFormat(name, rates[0])
        return StreamFormat(name, rate) if rate in rates else None

    def answer(self, heard: StreamFormat) -> StreamFormat:
        """The format of audio for the caller on a stream that brings ``heard``."""
        name = (self.answers or {}).get(heard.name)
        return heard if name is None else StreamFormat(name, self.rates[name][0])
