"""FilterGraph, a chain of FFmpeg's audio filters over PCM16 mono; and stretching speech with one.

A chain is fed a block at a time. Its output has the rate and format of the last filter. A chain
without memory keeps the number of samples; one that resamples may hold some back until ``flush``.

``stretch`` makes speech faster or slower at the same pitch.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph

from .formats import SAMPLE_BYTES

Step = tuple[str, str]
"""A filter's name and its arguments, as FFmpeg writes them."""


class FilterGraph:
    """One run of a chain over one stream; not shareable between threads."""

    def __init__(self, rate: int, steps: Sequence[Step]) -> None:
        self._rate = rate
        self._place = 0
        graph = Graph()
        graph.threads = 1
        self._source = graph.add_abuffer(
            sample_rate=rate, format="s16", layout="mono", time_base=Fraction(1, rate)
        )
        nodes = [self._source, *(graph.add(name, arguments) for name, arguments in steps)]
        self._sink = graph.add("abuffersink")
        for before, after in zip(nodes, [*nodes[1:], self._sink], strict=True):
            before.link_to(after)
        graph.configure()
        self._graph = graph  # the nodes do not keep it alive

    def push(self, pcm: bytes) -> Iterator[AudioFrame]:
        """Take samples; the frames that are ready now."""
        if pcm:
            frame = AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None], "s16", "mono")
            frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
            frame.pts = self._place
            self._place += frame.samples
            self._source.push(frame)
            yield from self._ready()

    def flush(self) -> Iterator[AudioFrame]:
        """End the stream; the frames that were held back."""
        self._source.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[AudioFrame]:
        while True:
            try:
                yield cast(AudioFrame, self._sink.pull())
            except (av.BlockingIOError, av.EOFError):
                return


def pcm_of(frame: AudioFrame) -> bytes:
    """The samples of a frame of PCM16 mono."""
    return bytes(frame.planes[0])[: frame.samples * SAMPLE_BYTES]


MIN_TEMPO, MAX_TEMPO = 0.25, 4.0
_ONE_FILTER = 2.0
"""Beyond it the filter drops samples instead of blending them; so two are chained."""

_LONG_WINDOWS = frozenset((8_000, 16_000, 32_000))
"""Rates at which the filter's window, a power of 2, is 64 ms, longer than many sounds of speech; at
one and a half times the rate it is 43 ms, and at twice the speed a tenth more of the words are
understood."""


def stretch(pcm: bytes, rate: int, tempo: float, to_rate: int | None = None) -> bytes:
    """PCM16 mono at ``rate`` Hz spoken ``tempo`` times as fast, at ``to_rate`` Hz (None: the
    same); exactly ``stretched(...)`` samples long. Blocking; ValueError beyond the bounds."""
    if not MIN_TEMPO <= tempo <= MAX_TEMPO:
        raise ValueError(f"tempo {tempo:g}: from {MIN_TEMPO} to {MAX_TEMPO} is possible")
    to_rate = to_rate or rate
    steps: list[Step] = []
    if tempo != 1.0:
        if rate in _LONG_WINDOWS:
            steps.append(("aresample", str(rate * 3 // 2)))
        steps += _tempo_steps(tempo)
    if to_rate != rate or (steps and rate in _LONG_WINDOWS):
        steps.append(("aresample", str(to_rate)))
    if not steps:
        return pcm
    graph = FilterGraph(rate, (*steps, ("aformat", "sample_fmts=s16")))
    made = bytearray()
    step = rate * SAMPLE_BYTES
    for begin in range(0, len(pcm), step):
        for frame in graph.push(pcm[begin : begin + step]):
            made += pcm_of(frame)
    for frame in graph.flush():
        made += pcm_of(frame)
    size = stretched(len(pcm) // SAMPLE_BYTES, rate, tempo, to_rate) * SAMPLE_BYTES
    return bytes(made[:size]) + bytes(max(0, size - len(made)))


def _tempo_steps(tempo: float) -> list[Step]:
    if 1 / _ONE_FILTER <= tempo <= _ONE_FILTER:
        return [("atempo", f"{tempo:.6f}")]
    return [("atempo", f"{tempo**0.5:.6f}")] * 2


def stretched(samples: int, rate: int, tempo: float, to_rate: int) -> int:
    """The number of samples at ``to_rate`` Hz that ``samples`` at ``rate`` Hz become."""
    return round(samples * to_rate / rate / tempo)
