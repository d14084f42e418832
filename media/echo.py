"""EchoDetector: does the microphone hear anything besides the audio being played?

Sound is compared by its power in 32 narrow bands, window by window. Unlike a waveform, that
survives a loudspeaker, a room, a codec, a jitter buffer and an echo canceller on the way.

1. **Learn the echo path.** The compressed power of the last 0.6 s of the microphone is correlated
   with that of the audio sent, at every delay up to 0.5 s. Where they are alike, the delay and the
   gain of each band from loudspeaker to microphone are learnt. They are kept for the call,
   corrected by every later echo, and lowered once the echo has gone.
2. **Predict and compare.** The path bounds the echo in each band; any excess is another sound.
   Before a path is known, likeness alone distinguishes an echo from a caller in most cases.

Rules
- Pure and synchronous; time is the microphone's: 512 samples at 16 kHz per window.
- ``reference`` is fed when audio leaves for the caller, who hears it in order: it follows the audio
  sent before, or begins now if that is over. ``flush`` takes back what is not due yet, except the
  next 128 ms, which may still be heard.
- Bounded: keeps the bands of 8 s. While nothing that was played is audible, or the microphone
  hears no speech, its windows are kept as they are and analysed ``_UNHEARD`` at a time. So is what
  was sent (``_UNLAID``): nothing needs it before the microphone hears speech.
"""

from collections import deque
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .formats import HEARING_RATE, SAMPLE_BYTES

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.intp]

WINDOW = 512
"""Samples of the microphone's windows."""
WINDOWS = 19
"""Windows of the microphone to correlate: 0.6 s."""

_STEPS = 2
"""Reference windows per microphone window: one every 16 ms."""
_STEP = WINDOW // _STEPS
"""Samples of the microphone between two windows of the reference."""
_LAGS = 32
"""Delays to try, in steps of 16 ms."""
_SPAN = (WINDOWS - 1) * _STEPS + 1
"""Reference windows from the first to the last that the correlated windows are compared with."""
_BANDS = 32
_FIRST_BIN, _BAND_BINS = 3, 2
"""The first band begins at 93.75 Hz and each is 62.5 Hz wide (bins of 31.25 Hz at any rate): narrow
enough for the harmonics of a voice. With eight wide bands different voices are too much alike:
their pauses alone give 0.86."""
_UNHEARD = 16
"""One analysis of 16 windows costs what three of one do."""
_UNLAID = 32
_COMPRESSION = 0.3
"""Exponent of power. Separates echo from double talk better than decibels, which weigh silence as
much as the voice, and better than amplitudes."""
_KEPT = 512
_AHEAD = 2 * HEARING_RATE
"""Samples: a peer buffers audio sent further ahead than this, and does not play it yet."""
_FLUSHED_LATE = 8
"""Steps (128 ms): a peer plays on until the message to stop arrives."""
_FLAT = 0.02
"""Shapes that vary by less than this share of their power, such as tones, are ignored."""

_ALIKE = 0.8
"""Likeness from which a window teaches the path. In 60 mixtures of recordings (-12 to -30 dB, 60 to
300 ms, a room) 89 % of an echo's overlaps of 8 windows have it; callers over an echo, or without
one, have 0.76 at most."""
_LESSONS = 6
"""So many such windows, at one delay, make a path."""
_LESSON_WINDOWS = 4
"""Windows of the 19 in which a band must be played for a lesson about its gain. At the start of a
reply the delay is found one or two windows wrong, and the gains with it by 10 dB."""
_PACE = 0.15
"""Share by which a lesson moves the gains."""
_PACE_DB = 6.0
"""One lesson moves a gain as if it were wrong by so much at most."""
_STRONG = 0.1
"""Share of the loudest window, band by band, above which a window gives the gain."""
_GONE, _FADING = 0.4, 0.9
"""Where so little of the compressed power that is expected is heard, the gain shrinks so fast."""

_DIRECT, _TAIL = 0.6, 0.4
"""Of a window's power, what comes back at once and what comes back as the room's tail."""
_TAIL_STEP = 10 ** (-6 * 0.016 / 0.5)
"""Decay of the tail in 16 ms: 60 dB in 0.5 s."""
_DECAYS: Floats = (_TAIL_STEP ** np.arange(1, _KEPT + 1)).astype(np.float32)[:, None]
_MARGIN = 8.0
"""Reflections add up and cancel out: the power in a band lies up to 9 dB above its mean."""
_DISTORTION = 0.003
"""Share of the whole echo that a loudspeaker which is driven hard may put into any band: -25 dB."""
_FLOOR_MARGIN = 4.0
_FLOOR_RISE = 1.02
_RISES: Floats = (_FLOOR_RISE ** np.arange(_UNHEARD - 1, -1, -1)).astype(np.float32)[:, None]
_RECENT = 6
"""Windows (0.2 s) that are judged together."""
_SHIFTS = (-4, -2, 0, 2, 4)
"""Steps around the learnt delay that are tried: it changes a little with every reply."""
_SURE, _NONE = 0.06, 0.14
"""Share of the (compressed) power that the path does not explain: up to the one it is nothing but
an echo, from the other on there is somebody else. Of 5,000 voiced windows of echoes (-12 to -30
dB, 20 to 400 ms, rooms of 0.2 to 0.5 s, µ-law) 0.1 % exceed 0.076, where ``hear`` gives 0.8; of
callers as loud as the echo, half do within 160 ms."""

_AUDIBLE = 1e-5
_PLAYED_ENOUGH = 40
"""Windows (1.3 s) of audible reference after which a path that is not learnt is not there."""


class EchoDetector:
    """One call's. Feed it both sides; ``hear`` says how much of an echo each window is."""

    def __init__(self) -> None:
        self._position = 0
        """Windows of the microphone so far, in samples."""
        self._unheard: list[bytes] = []
        """The last windows of the microphone, not analysed yet."""
        self._heard: Floats = np.zeros((WINDOWS, _BANDS), np.float32)
        """Power in each band of the last windows that were analysed."""
        self._floor: Floats = np.full(_BANDS, 1e-9, np.float32)
        """The microphone's noise, band by band."""
        self._played: Floats = np.zeros((_KEPT, _BANDS), np.float32)
        """Power number n (mod _KEPT): the window from n * 16 ms on."""
        self._tails: Floats = np.zeros((_KEPT, _BANDS), np.float32)
        """What a room makes of all windows up to number n."""
        self._shapes: Floats = np.zeros((_KEPT, _BANDS), np.float32)
        """``_played``, compressed."""
        self._next = 0
        """Number of the next window of the reference."""
        self._unlaid = 0
        """How many windows before it are only samples yet."""
        self._sent: list[bytes] = []
        """Samples from the first of them on."""
        self._waiting = 0
        """How many samples those are."""
        self._loud: deque[int] = deque()
        """The numbers of audible windows that are not over for the microphone."""
        self._flushed = False
        self._rate = 0
        self._audible = 0
        """Windows while the reference was audible."""
        self._counted = 0
        """Position up to which they were counted."""
        self._gains: Floats = np.ones(_BANDS, np.float32)
        """The path: power heard for power played, band by band."""
        self._taught: Numbers = np.zeros(_BANDS, np.intp)
        """Lessons about each band's gain."""
        self._lag = 0
        self._lessons = 0

    @property
    def learnt(self) -> bool:
        """Whether the echo path is known."""
        return self._lessons >= _LESSONS

    def reference(self, pcm: bytes | memoryview, rate: int) -> None:
        """Audio that leaves for the caller now (PCM16 mono)."""
        now = self._position // _STEP
        if self._next < now or rate != self._rate or self._flushed:
            self._clear(max(now, min(self._next, now + _LAGS)) if not self._flushed else now)
            self._rate, self._flushed = rate, False
        if (self._next - now) * _STEP > _AHEAD:
            return
        self._sent.append(bytes(pcm))
        self._waiting += len(pcm) // SAMPLE_BYTES
        width = WINDOW * rate // HEARING_RATE
        count = max(0, (self._waiting - width) * _STEPS // width + 1)
        self._next += count - self._unlaid
        self._unlaid = count
        if count >= _UNLAID:
            self._lay()

    def flush(self) -> None:
        """What was sent and is not due yet will not be played."""
        self._clear(min(self._next, self._position // _STEP + _FLUSHED_LATE))
        self._flushed = True

    def hear(self, pcm: bytes, *, voiced: bool = True) -> float:
        """The microphone's next window: 1 where the last 0.2 s are nothing but echo, 0 where they
        are none or there is somebody else in them.

        ``voiced``: whether there may be speech in it. Windows without are heard, but not judged:
        their result is 0, and they teach nothing about the path."""
        if len(pcm) != WINDOW * SAMPLE_BYTES:
            raise ValueError(f"a window has {WINDOW} samples, not {len(pcm) / SAMPLE_BYTES}")
        self._unheard.append(pcm)
        last = self._position // _STEP
        self._position += WINDOW
        if not voiced and len(self._unheard) < _UNHEARD:
            return 0.0
        self._lay()
        if not self._is_audible() or not voiced:
            if len(self._unheard) >= _UNHEARD:
                self._analyse()
            return 0.0
        self._analyse()
        oldest = _oldest(last)
        self._lay_silence(last + _STEPS - self._next)  # nothing was sent for now
        alike, lag = _likeness(self._heard**_COMPRESSION, _ring(self._shapes, oldest, last + 1))
        if alike >= _ALIKE:
            self._learn(last, lag)
        elif not self.learnt:
            self._lessons = max(0, self._lessons - 1)
        if not self.learnt:
            return alike if self._audible < _PLAYED_ENOUGH else max(0.0, min(1.0, 5 * alike - 3.2))
        return self._explained(last)

    # ------------------------------------------------------------------ within

    def _is_audible(self) -> bool:
        """Whether the reference is audible in the microphone's last window; counts such windows."""
        audible = False
        while self._counted < self._position:
            last = self._counted // _STEP
            self._counted += WINDOW
            while self._loud and self._loud[0] < _oldest(last):
                self._loud.popleft()
            audible = bool(self._loud) and self._loud[0] <= last
            self._audible += audible
        return audible

    def _analyse(self) -> None:
        """Take the powers of the windows that were kept, and the noise with them."""
        count = len(self._unheard)
        samples = np.frombuffer(b"".join(self._unheard), "<i2").reshape(count, WINDOW)
        self._unheard.clear()
        powers = _powers(samples.astype(np.float32) / np.float32(32768), HEARING_RATE)
        heard = np.concatenate((self._heard, powers))
        recent = (heard[-count:] + heard[-count - 1 : -1]) * np.float32(0.5) + np.float32(1e-12)
        lowest = (recent * _RISES[-count:]).min(axis=0)
        self._floor = np.minimum(self._floor * np.float32(_FLOOR_RISE**count), lowest)
        self._heard = heard[-WINDOWS:].copy()

    def _lay(self) -> None:
        """Take the powers of the reference's windows that are only samples yet."""
        count, first = self._unlaid, self._next - self._unlaid
        if not count:
            return
        samples = np.frombuffer(b"".join(self._sent), "<i2")
        sent = samples.astype(np.float32) / np.float32(32768)
        width = WINDOW * self._rate // HEARING_RATE
        hop, item = width // _STEPS, sent.itemsize
        windows: Floats = np.ndarray((count, width), np.float32, sent, 0, (hop * item, item))
        powers = _powers(windows, self._rate)
        rows = np.arange(first, first + count) % _KEPT
        self._played[rows], self._shapes[rows] = powers, powers**_COMPRESSION
        kept, new = np.float32(_TAIL_STEP), powers * np.float32(1 - _TAIL_STEP)
        for at, added in zip(rows.tolist(), new, strict=True):
            self._tails[at] = self._tails[at - 1] * kept + added
        self._loud += (first + np.flatnonzero(powers.sum(axis=1) >= _AUDIBLE)).tolist()
        rest = samples[count * hop :]
        self._sent, self._waiting, self._unlaid = [rest.tobytes()], len(rest), 0

    def _lay_silence(self, count: int) -> None:
        """The next ``count`` windows of the reference are silent."""
        while count > 0:
            at = self._next % _KEPT
            here = min(count, _KEPT - at)
            tail, rows = self._tails[at - 1], slice(at, at + here)
            self._played[rows] = self._shapes[rows] = 0.0
            self._tails[rows] = tail * _DECAYS[:here]
            self._next += here
            count -= here

    def _clear(self, number: int) -> None:
        """The next window of the reference is that number; there is none behind it."""
        self._lay()
        if self._next > number:
            at = np.arange(number, self._next)[:_KEPT] % _KEPT
            self._played[at] = self._shapes[at] = 0.0
            self._next = number
        else:
            self._lay_silence(number - self._next)
        while self._loud and self._loud[-1] >= number:
            self._loud.pop()
        self._sent, self._waiting = [], 0

    def _expected(self, steps: Numbers) -> Floats:
        """What a room of gain 1 makes of the reference at ``steps``."""
        direct = np.maximum(self._played[(steps - 1) % _KEPT], self._played[(steps + 1) % _KEPT])
        direct = np.maximum(direct, self._played[steps % _KEPT])
        expected: Floats = _DIRECT * direct + _TAIL * self._tails[steps % _KEPT]
        return expected

    def _learn(self, last: int, lag: int) -> None:
        """The windows so far are an echo at ``lag``: what are its gains?"""
        steps = last - lag - _STEPS * np.arange(WINDOWS - 1, -1, -1)
        expected = self._expected(steps)
        strong = expected > _STRONG * expected.max(axis=0)
        strong &= expected > _AUDIBLE * _STRONG / len(self._floor)
        ratio = np.log((self._heard + np.float32(1e-12)) / (expected + np.float32(1e-12)))
        count = strong.sum(axis=0)
        count[count < _LESSON_WINDOWS] = 0
        if not count.any():
            return
        found = (ratio * strong).sum(axis=0) / np.maximum(count, 1)
        known = self._taught > 0
        gains = np.where(known, np.log(np.where(known, self._gains, 1)), found)
        new = self._taught < _LESSONS
        most = np.where(new, np.inf, _PACE_DB * np.log(10) / 10)
        pace = np.where(new, np.maximum(_PACE, 1 / (self._taught + 1)), _PACE)
        gains += pace * np.clip(found - gains, -most, most) * (count > 0)
        self._taught += count > 0
        known = self._taught > 0
        gains = np.where(known, gains, np.median(gains[known]))
        self._gains = np.exp(gains).astype(np.float32)
        self._lag = lag
        self._lessons += 1

    def _explained(self, last: int) -> float:
        """1 where the path explains the last windows, 0 where it does not."""
        gains = self._gains
        heard = self._heard[-_RECENT:]
        steps = last - self._lag - _STEPS * np.arange(_RECENT - 1, -1, -1)
        echoes = gains * self._expected(steps[None, :] - np.array(_SHIFTS)[:, None])
        if float(echoes.sum(axis=(1, 2)).max()) < float(self._floor.sum()):
            return 0.0
        distorted = _DISTORTION * echoes.sum(axis=2, keepdims=True)
        most = np.maximum(_MARGIN * echoes + distorted, _FLOOR_MARGIN * self._floor)
        power, limit = heard**_COMPRESSION, most**_COMPRESSION
        total = float(power.sum())
        if total < _GONE * float((echoes[len(_SHIFTS) // 2] ** _COMPRESSION).sum()):
            self._gains = gains * np.float32(_FADING)
        excess = np.maximum(0.0, power - limit).sum(axis=(1, 2)).min() / max(total, 1e-9)
        return max(0.0, min(1.0, 1 - (float(excess) - _SURE) / (_NONE - _SURE)))


def _oldest(last: int) -> int:
    """The first window of the reference that matters for the microphone's at ``last``."""
    return last - (_SPAN - 1) - _LAGS


def _ring(kept: Floats, start: int, end: int) -> Floats:
    """Numbers ``start`` to ``end`` of a ring of ``_KEPT``, as a view where they do not wrap."""
    low = start % _KEPT
    if low + end - start <= _KEPT:
        return kept[low : low + end - start]
    return np.concatenate((kept[low:], kept[: low + end - start - _KEPT]))


def _likeness(heard: Floats, played: Floats) -> tuple[float, int]:
    """The highest correlation of ``heard`` with a part of ``played``, and at which delay.

    Part ``l`` of ``played`` is its rows ``l``, ``l + 2``, …: one for each window of ``heard``."""
    mine = heard - heard.mean(axis=0)
    own = float(np.square(mine).sum())
    if own <= _FLAT * float(np.square(heard).sum()):
        return 0.0, 0
    parts = _parts()
    strength = parts @ np.einsum("rb,rb->r", played, played)
    sums = parts @ played
    varied = strength - np.einsum("lb,lb->l", sums, sums) / len(heard)
    varying = np.flatnonzero(varied > _FLAT * strength)
    if not len(varying):
        return 0.0, 0
    # ``mine`` has zero mean, so the mean of the parts drops out
    products = played @ mine.T
    row, column = products.strides
    along: Floats = np.ndarray(
        (len(parts), WINDOWS), np.float32, products, 0, (row, _STEPS * row + column)
    )
    alike = along.sum(axis=1)[varying] / np.sqrt(varied[varying] * own)
    best = int(alike.argmax())
    return max(0.0, float(alike[best])), _LAGS - int(varying[best])


@lru_cache(maxsize=1)
def _parts() -> Floats:
    """Which rows of the reference belong to each part, as a matrix of 0 and 1."""
    parts = np.zeros((_LAGS + 1, _SPAN + _LAGS), np.float32)
    for lag, part in enumerate(parts):
        part[lag : lag + _SPAN : _STEPS] = 1
    return parts


def _powers(windows: Floats, rate: int) -> Floats:
    """The power in each band of each window (a row)."""
    count, width = windows.shape
    bins = slice(_FIRST_BIN, _FIRST_BIN + _BANDS * _BAND_BINS)
    spectrum = np.fft.rfft(windows * _analysis(width, rate))[:, bins]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    powers: Floats = power.reshape(count, _BANDS, _BAND_BINS).sum(axis=2, dtype=np.float32)
    return powers


@lru_cache(maxsize=8)
def _analysis(width: int, rate: int) -> Floats:
    """A window of ``width`` samples, scaled so that powers are shares of full scale at any rate."""
    if width * HEARING_RATE != WINDOW * rate:
        raise ValueError(f"{width} samples at {rate} Hz are not a window")
    window = np.hanning(width)
    scale = np.sqrt(2 / (np.square(window).sum() * width))
    scaled: Floats = (window * scale).astype(np.float32)
    return scaled
