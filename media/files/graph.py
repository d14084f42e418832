"""FilterGraph: a chain of FFmpeg's audio filters, fed with PCM16 mono a block at a time.

The output has the rate and format of the chain's last filter. A chain without memory keeps the
number of samples; one that resamples may hold some back until ``flush``.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph

from media.formats import SAMPLE_BYTES

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
