"""Time-stretching speech: faster or slower at the same pitch."""

from media.files.graph import FilterGraph, Step, pcm_of

from .formats import SAMPLE_BYTES

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
