"""VoiceDetector: one speech probability for every 32 ms of a call.

Two stages. A gate (WebRTC's GMM detector, microseconds per frame) hears every 20 ms; it misses
next to nothing and takes much noise for speech. Only where it opens, and a little before and
after, the Silero network decides. So silence costs next to nothing and noise costs what speech
costs (about 0.15 ms per window).

Rules
- Pure and synchronous: no clock, no thread. Fed 16 kHz PCM16 in chunks of any whole number of
  samples, it returns exactly one probability per complete window of 512 samples.
- In two steps for many calls: ``cut`` returns the windows, the gate's opinion included, and
  ``judge`` runs the network for the windows of all calls together.
- Between two windows the gate alone can be asked (``quiet``); that changes nothing in the windows.
- While the gate is shut the probability is 0.0. When it opens, the two windows before are run
  through the network first, so that it judges the onset with the context it was trained with.
- The network's state is reset when the gate has been shut for ``HANGOVER`` windows.
- Bounded: keeps less than three windows of audio.

``SileroModel`` is the network on onnxruntime, shared by every call: Silero VAD v5/v6 (MIT),
https://github.com/snakers4/silero-vad. It judges windows of 512 samples at 16 kHz (32 ms), each
preceded by the last 64 samples of the window before it, and carries a recurrent state of shape
[2, 1, 128]. The session is stateless and may run in many threads at once; each call keeps its own
state and context.

``speech_parts`` cuts a recording at its pauses into short parts with speech, which are transcribed
one by one. It is pure arithmetic on the detector's windows.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import webrtcvad

from .formats import HEARING_RATE, SAMPLE_BYTES

WINDOW = 512
"""Samples of one window (32 ms)."""

CONTEXT = 64
"""Samples of the previous window that precede each window in the network's input."""

Floats = npt.NDArray[np.float32]


class SileroModel:
    """One onnxruntime session over ``silero_vad.onnx``; load once per process (about 30 ms)."""

    def __init__(self, path: Path) -> None:
        import onnxruntime  # a process without the network need not load it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(HEARING_RATE, dtype=np.int64)

    @staticmethod
    def initial_state() -> Floats:
        """The state before the first window."""
        return np.zeros((2, 1, 128), dtype=np.float32)

    def run(self, samples: Floats, state: Floats) -> tuple[float, Floats]:
        """Speech probability of one window and the state after it.

        ``samples`` is float32 [1, CONTEXT + WINDOW] in -1..1."""
        [probability], after = self.run_together(samples, state)
        return probability, after

    def run_together(self, samples: Floats, states: Floats) -> tuple[list[float], Floats]:
        """As ``run``, for windows of several calls: float32 [n, CONTEXT + WINDOW] and their states
        [2, n, 128]. A window takes 120 µs alone, 65 µs among eight."""
        probabilities, after = self._session.run(
            None, {"input": samples, "state": states, "sr": self._rate}
        )
        return probabilities[:, 0].tolist(), after


WINDOW_BYTES = WINDOW * SAMPLE_BYTES
WINDOW_MS = WINDOW * 1000 // HEARING_RATE
"""Milliseconds of one window (32)."""

GATE_MODE = 2
"""WebRTC aggressiveness 0..3: 2 misses 0.5 % of speech frames."""

GATE_BYTES = HEARING_RATE * 20 // 1000 * SAMPLE_BYTES
"""Bytes of one 20 ms frame of the gate."""

HANGOVER = 10
"""Windows (320 ms) for which the network goes on after the gate's last speech."""

LOOKBACK = 2
"""Windows before the gate's opening that the network hears without being asked."""


_SILENCE_POWER = 1e-10


def level_of(pcm: bytes) -> float:
    """dBFS of PCM16: 0 for a full-scale square wave, -100 for silence. Takes some 5 µs a window."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    power = float(samples @ samples) / max(1, len(samples)) / 32768**2
    return 10 * math.log10(max(power, _SILENCE_POWER))


@dataclass(slots=True)
class Window:
    """One complete window, until and after it is judged."""

    pcm: bytes
    unheard: list[bytes] = field(default_factory=list)
    """What the network has yet to hear, this window last; empty while the gate is shut."""
    is_last: bool = False
    """The network's state is reset behind this window."""
    voice: float = 0.0
    """The probability of speech."""


class VoiceDetector:
    """Voice activity of one call; ``model`` is shared, all else is this call's own."""

    def __init__(self, model: SileroModel) -> None:
        self.model = model
        self._gate = webrtcvad.Vad(GATE_MODE)
        self._pending = bytearray()
        """Samples not yet judged: less than a window between two calls."""
        self._ungated = bytearray()
        """What has come since the gate's last whole frame: under 20 ms."""
        self._ahead = 0
        """Bytes of ``_pending`` that were passed to the gate already."""
        self._ahead_speech = False
        """It heard speech in them."""
        self._history: list[bytes] = []
        """The last windows, at most LOOKBACK, for the network's context."""
        self._linger = 0
        """Windows for which the network still runs."""
        self.frame = np.zeros((1, CONTEXT + WINDOW), dtype=np.float32)
        """The network's next input."""
        self.state: Floats = model.initial_state()

    def windows(self, pcm: bytes) -> list[float]:
        """Take more samples; the speech probability of each window they complete.

        ``pcm`` is PCM16 at 16 kHz; ValueError when it ends inside a sample."""
        cut = self.cut(pcm)
        judge((self, window) for window in cut)
        return [window.voice for window in cut]

    @property
    def missing(self) -> int:
        """Samples until the next window is complete."""
        return WINDOW - len(self._pending) // SAMPLE_BYTES

    def cut(self, pcm: bytes) -> list[Window]:
        """Take more samples, as ``windows`` does; the windows they complete, for ``judge``."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
        self._pending += pcm
        if len(self._pending) < WINDOW_BYTES:
            return []
        windows = []
        taken = 0
        for end in range(WINDOW_BYTES, len(self._pending) + 1, WINDOW_BYTES):
            window = bytes(self._pending[taken:end])
            windows.append(self._window(window, self._gate_hears(window)))
            taken = end
        del self._pending[:taken]
        return windows

    def quiet(self) -> int | None:
        """How many samples of the window that is not complete the gate has heard without speech, in
        whole frames of 20 ms; negative if its last frame ended before. None: there is speech."""
        self._ahead_speech |= self._hear_frames(self._pending[self._ahead :])
        self._ahead = len(self._pending)
        if self._ahead_speech:
            return None
        return (len(self._pending) - len(self._ungated)) // SAMPLE_BYTES

    def reset(self) -> None:
        """Begin anew, as for a new call."""
        self._gate = webrtcvad.Vad(GATE_MODE)
        self._pending.clear()
        self._ungated.clear()
        self._ahead, self._ahead_speech = 0, False
        self._history.clear()
        self._linger = 0
        self.forget()

    def _gate_hears(self, window: bytes) -> bool:
        """The gate's opinion of the whole frames that ``window`` completes."""
        speech = self._hear_frames(window[self._ahead :]) or self._ahead_speech
        self._ahead, self._ahead_speech = 0, False
        return speech

    def _hear_frames(self, pcm: bytes | bytearray) -> bool:
        """Let the gate hear the whole frames that ``pcm`` completes."""
        heard = bytes(self._ungated) + pcm
        whole = len(heard) // GATE_BYTES * GATE_BYTES
        self._ungated[:] = heard[whole:]
        speech = False
        for start in range(0, whole, GATE_BYTES):  # every frame: the gate learns the noise
            speech |= self._gate.is_speech(heard[start : start + GATE_BYTES], HEARING_RATE)
        return speech

    def _window(self, pcm: bytes, gate: bool) -> Window:
        window = Window(pcm)
        if gate:
            if not self._linger:
                window.unheard += self._history
            self._linger = HANGOVER + 1
        if self._linger:
            window.unheard.append(pcm)
            self._linger -= 1
            window.is_last = not self._linger
        self._history = [*self._history[1 - LOOKBACK :], pcm]
        return window

    def prepare(self, pcm: bytes) -> None:
        """Make ``frame`` of the network's next window, after the one before it."""
        frame = self.frame
        frame[0, :CONTEXT] = frame[0, WINDOW:]
        np.multiply(np.frombuffer(pcm, "<i2"), 1 / 32768, out=frame[0, CONTEXT:])

    def forget(self) -> None:
        """Reset the network's state."""
        self.state = self.model.initial_state()
        self.frame.fill(0.0)


TOGETHER = 32
"""Windows in one run of the network: 2 ms."""


def judge(windows: Iterable[tuple[VoiceDetector, Window]]) -> None:
    """Give the windows their probabilities: one model's, of any number of calls, each call's in
    their order. What a call's windows need of the network is run one after the other, what
    different calls need, together."""
    waiting: dict[VoiceDetector, deque[tuple[bytes, Window | None]]] = {}
    for detector, window in windows:
        if window.unheard:
            steps = waiting.setdefault(detector, deque())
            steps += [(earlier, None) for earlier in window.unheard[:-1]]
            steps.append((window.unheard[-1], window))
    while waiting:
        together = list(waiting)[:TOGETHER]
        due = [waiting[detector].popleft() for detector in together]
        for detector, (pcm, _) in zip(together, due, strict=True):
            detector.prepare(pcm)
        for detector, (_, judged), voice in zip(together, due, _run(together), strict=True):
            if judged is not None:
                judged.voice = voice
                if judged.is_last:
                    detector.forget()
            if not waiting[detector]:
                del waiting[detector]


def _run(detectors: list[VoiceDetector]) -> list[float]:
    """One run of the network for all; the probabilities."""
    model = detectors[0].model
    if len(detectors) == 1:
        [detector] = detectors
        voice, detector.state = model.run(detector.frame, detector.state)
        return [voice]
    voices, states = model.run_together(
        np.concatenate([detector.frame for detector in detectors]),
        np.concatenate([detector.state for detector in detectors], axis=1),
    )
    for place, detector in enumerate(detectors):
        detector.state = states[:, place : place + 1].copy()
    return voices


LONGEST_PART = 20_000 // WINDOW_MS
"""Longest part in windows: what transcribers of utterances handle well."""
BREATH = 320 // WINDOW_MS
"""Windows of silence in which a cut does no harm."""
LONG_PAUSE = 3_000 // WINDOW_MS
"""Windows of silence that belong to no part."""
MARGIN = 320 // WINDOW_MS
"""Windows of silence kept on both sides of a part: speech is recognised better with it."""
LEAST_VOICED = 3
"""Windows of voice below which a part is a click, not speech."""

Span = tuple[int, int]
"""Windows, from the first to the one after the last."""


def speech_parts(voiced: Sequence[bool]) -> list[Span]:
    """The parts of a recording with speech; empty if there is none.

    ``voiced``: for each window whether there is voice in it."""
    phrases = _joined(_runs(voiced), BREATH)
    parts = [
        part for part in _joined(phrases, LONG_PAUSE) if sum(voiced[slice(*part)]) >= LEAST_VOICED
    ]
    ends = [0, *(end for _, end in parts)]
    starts = [*(start for start, _ in parts), len(voiced)]
    return [
        (max(ends[place], start - MARGIN), min(starts[place + 1], end + MARGIN))
        for place, (start, end) in enumerate(parts)
    ]


def _runs(voiced: Sequence[bool]) -> list[Span]:
    """Stretches of voice without a break, none longer than LONGEST_PART."""
    runs: list[Span] = []
    for place, voice in enumerate(voiced):
        if not voice:
            continue
        if runs and runs[-1][1] == place and place - runs[-1][0] < LONGEST_PART:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs


def _joined(spans: Sequence[Span], gap: int) -> list[Span]:
    """Join neighbours at most ``gap`` apart, up to LONGEST_PART."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] <= gap and end - joined[-1][0] <= LONGEST_PART:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
