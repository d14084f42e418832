"""Loudness by EBU R128: measuring it, and normalising speech as broadcasters do.

The chain: rumble filter, de-esser, gentle 2:1 compression, the gain that reaches ``TARGET_LUFS``,
and a limiter at 192 kHz, where peaks between the samples show. The limiter and the compressor
change the loudness, so the gain is corrected until the output measures right.

Works on files of PCM16 mono a second at a time, whatever their length. The functions are
generators, so that a job can stop them after any second.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .filters import FilterGraph, Step, pcm_of
from .formats import SAMPLE_BYTES

TARGET_LUFS = -16.0
PEAK_DBTP = -1.0
"""Upper limit of true peaks."""
TOLERANCE_LU = 0.1
_LIMIT_DB = -1.5
"""Given to the limiter: resampling back from its rate may add a little."""
_MAX_PASSES = 8
_GAIN_DB = (-40.0, 40.0)
_SILENCE_LUFS = -69.0
"""The meter returns -70 if nothing passes its gate."""
_LIMITER_RATE = 192_000
_METER: Step = ("ebur128", "metadata=1:peak=true")
_DYNAMICS: tuple[Step, ...] = (
    ("highpass", "f=60"),
    ("deesser", "i=0.3:m=0.5:f=0.5"),
    ("acompressor", "threshold=0.1:ratio=2:attack=15:release=200:knee=4:makeup=1"),
)


@dataclass(frozen=True, slots=True)
class Loudness:
    """``lufs``: integrated; None if nothing was loud or long enough to measure (0.4 s).
    ``peak_dbtp``: the highest true peak; minus infinity for silence."""

    lufs: float | None
    peak_dbtp: float


class LoudnessMeter:
    """Measures a stream of PCM16 mono, or what ``steps`` make of it."""

    def __init__(self, rate: int, steps: Sequence[Step] = ()) -> None:
        self._graph = FilterGraph(rate, (*steps, _METER))
        self._integrated = _SILENCE_LUFS
        self._peak = 0.0

    def push(self, pcm: bytes) -> None:
        """Take samples."""
        for frame in self._graph.push(pcm):
            self._read(frame.metadata)

    def result(self) -> Loudness:
        """End the stream: what it measures."""
        for frame in self._graph.flush():
            self._read(frame.metadata)
        measured = self._integrated if self._integrated > _SILENCE_LUFS else None
        return Loudness(measured, 20 * math.log10(self._peak) if self._peak else -math.inf)

    def _read(self, metadata: dict[str, str]) -> None:
        if "lavfi.r128.I" in metadata:
            self._integrated = float(metadata["lavfi.r128.I"])
            self._peak = float(metadata["lavfi.r128.true_peak"])


def measure(
    pieces: Iterable[bytes], spans: Iterable[tuple[int, int]], rate: int
) -> Generator[None, None, Loudness]:
    """How loud PCM16 mono is within ``spans`` (samples), as if there were silence around them;
    pauses after each piece. Blocking; raises what ``pieces`` raises."""
    meter = LoudnessMeter(rate)
    places = sorted(spans)
    start = 0
    for piece in pieces:
        heard = bytearray(len(piece))
        end = start + len(piece) // SAMPLE_BYTES
        for first, last in places:
            if first < end and last > start:
                begin, over = max(first, start) - start, min(last, end) - start
                here = slice(begin * SAMPLE_BYTES, over * SAMPLE_BYTES)
                heard[here] = piece[here]
        meter.push(bytes(heard))
        start = end
        yield
    return meter.result()


def normalise(
    source: Path,
    target: Path,
    rate: int,
    lufs: float = TARGET_LUFS,
    dynamics: Sequence[Step] = _DYNAMICS,
) -> Generator[None, None, Loudness]:
    """Bring ``source`` to ``lufs`` in ``target``, as long to the sample; pauses every second of
    audio, returns what the target measures. Blocking; raises OSError.

    ``dynamics``: the steps before the gain. What is too short or too quiet to measure goes through
    the chain without a gain."""
    meter = LoudnessMeter(rate, dynamics)
    for pcm in _seconds(source, rate):
        meter.push(pcm)
        yield
    before = meter.result()
    gain, limit = 0.0 if before.lufs is None else lufs - before.lufs, _LIMIT_DB
    for _ in range(_MAX_PASSES):
        gain = min(max(gain, _GAIN_DB[0]), _GAIN_DB[1])
        made = yield from _write(source, target, rate, gain, limit, dynamics)
        missing = lufs - made.lufs if made.lufs and before.lufs else 0.0
        beyond = max(0.0, made.peak_dbtp - PEAK_DBTP)
        if abs(missing) <= TOLERANCE_LU and not beyond:
            break
        gain += missing
        limit -= beyond
    return made


def _write(
    source: Path, target: Path, rate: int, gain: float, limit: float, dynamics: Sequence[Step]
) -> Generator[None, None, Loudness]:
    """One pass of the whole chain; ``gain`` and ``limit`` in dB."""
    held = 10 ** (limit / 20)
    graph = FilterGraph(
        rate,
        (
            *dynamics,
            ("volume", f"volume={gain:.3f}dB:precision=double"),
            ("aresample", str(_LIMITER_RATE)),
            ("alimiter", f"limit={held:.5f}:attack=5:release=50:level=disabled:latency=1"),
            ("aresample", str(rate)),
            ("aformat", "sample_fmts=s16"),
        ),
    )
    with target.open("wb") as file:
        written = _Written(file, rate, source.stat().st_size // SAMPLE_BYTES * SAMPLE_BYTES)
        for pcm in _seconds(source, rate):
            for frame in graph.push(pcm):
                written.push(pcm_of(frame))
            yield
        for frame in graph.flush():
            written.push(pcm_of(frame))
        written.push(bytes(written.rest))
    return written.meter.result()


class _Written:
    """A file that is measured while it is written, and takes ``rest`` bytes, not one more."""

    def __init__(self, file: BinaryIO, rate: int, rest: int) -> None:
        self.meter = LoudnessMeter(rate)
        self.rest = rest
        self._file = file

    def push(self, pcm: bytes) -> None:
        kept = pcm[: self.rest]
        self.rest -= len(kept)
        self._file.write(kept)
        self.meter.push(kept)


def _seconds(source: Path, rate: int) -> Iterator[bytes]:
    with source.open("rb") as file:
        while pcm := file.read(rate * SAMPLE_BYTES):
            yield pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES]
