"""Mixing speech over a recording, which is lowered during the speech.

The recording's level follows straight lines in decibels, so that no step is audible. Works block by
block: memory does not depend on the length.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from media.formats import SAMPLE_BYTES, samples_of

UNDER_DB = -18.0
"""Level of the recording under the speech."""
RAMP_MS = 150
"""Duration of the fade down, and of the fade up."""
_HOLD_MS = 500
"""Between two passages of speech closer than this the recording stays low."""

Span = tuple[int, int]
"""First sample, and the one after the last."""


class Ducking:
    """The recording's gain over time; ``spans``, in order, are where it is lowered."""

    def __init__(self, spans: Sequence[Span], rate: int, under_db: float = UNDER_DB) -> None:
        ramp, hold = samples_of(RAMP_MS, rate), samples_of(_HOLD_MS, rate)
        places: list[int] = []
        levels: list[float] = []
        for begin, end in _joined(spans, max(hold, 2 * ramp + 1)):
            places += (begin - ramp, begin, end, end + ramp)
            levels += (0.0, under_db, under_db, 0.0)
        self._places = np.array(places or [0], np.float64)
        self._levels = np.array(levels or [0.0], np.float64)

    def gains(self, begin: int, samples: int) -> npt.NDArray[np.float32]:
        """Factors for ``samples`` samples from sample ``begin`` on."""
        at = np.arange(begin, begin + samples, dtype=np.float64)
        decibels = np.interp(at, self._places, self._levels)
        return np.power(10.0, decibels / 20).astype(np.float32)


def mixed(recording: Iterable[bytes], speech: Path, ducking: Ducking, rate: int) -> Iterator[bytes]:
    """``recording`` (PCM16 mono at ``rate`` Hz) with the file ``speech`` (the same) on top, as
    long as the longer of them. Blocking; raises OSError and what ``recording`` raises."""
    place = 0
    with speech.open("rb") as file:
        for piece in recording:
            low = np.frombuffer(piece, "<i2") * ducking.gains(place, len(piece) // SAMPLE_BYTES)
            place += len(low)
            words = np.frombuffer(file.read(len(piece)), "<i2")
            low[: len(words)] += words
            np.clip(np.rint(low, low), -32768, 32767, low)
            yield low.astype("<i2").tobytes()
        while rest := file.read(rate * SAMPLE_BYTES):
            yield rest


def mix_files(
    recording: Iterable[bytes], speech: Path, ducking: Ducking, rate: int, target: Path
) -> Generator[int, None, None]:
    """Write ``mixed`` to the file ``target``; yields the samples written, about every second."""
    written = 0
    with target.open("wb") as file:
        for piece in mixed(recording, speech, ducking, rate):
            file.write(piece)
            written += len(piece) // SAMPLE_BYTES
            yield written


def _joined(spans: Sequence[Span], least: int) -> Iterator[Span]:
    """The spans in order, those that overlap or are closer than ``least`` made one."""
    held: Span | None = None
    for begin, end in sorted(spans):
        if held is None:
            held = (begin, end)
        elif begin - held[1] < least:
            held = (held[0], max(held[1], end))
        else:
            yield held
            held = (begin, end)
    if held is not None:
        yield held
