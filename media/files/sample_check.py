"""SampleCheck: whether a clip is good enough as the sample of a voice, and if not, why.

Fed with the clip's audio in chunks; keeps one number per window of 32 ms, no audio. It measures the
speech against the rest: a clip without speech, or with speech that is drowned in noise, clipped or
too quiet, would make a voice that resembles nobody.
"""

from dataclasses import dataclass

import numpy as np

from media.formats import HEARING_RATE, SAMPLE_BYTES, milliseconds_of
from media.vad import WINDOW, WINDOW_BYTES, WINDOW_MS, SileroModel, VoiceDetector

LEAST_MS = 2_500
LEAST_SPEECH_MS = 2_000
QUIETEST_DB = -50.0
"""Level of the speech (dB of full scale, RMS) below which it is too quiet."""

MOST_CLIPPED = 0.005
"""Share of the samples of speech at full scale above which it is distorted."""

LEAST_CONTRAST_DB = 10.0
"""Level of the speech above that of its pauses below which it is drowned in noise."""

SILENCE_DB = -60.0
"""Peak below which a clip is silent."""

_VOICE = 0.5
_FULL_SCALE = 32_440
"""99 % of full scale: clipped samples that were encoded or resampled are still above it."""
_NO_NOISE_DB = 60.0
"""The largest ratio reported; beyond it a pause is digital silence."""


class SampleRefused(Exception):
    """The clip is not good enough; the message says why and what to do, ``reason`` is for programs:
    too_short, silent, no_speech, too_little_speech, too_quiet, clipped or noisy."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SampleReport:
    """The measurements. ``level_db``: RMS of the speech, dB of full scale; ``contrast_db``: how far
    the speech is above its pauses; ``clipped``: share of its samples at full scale."""

    duration_ms: int
    speech_ms: int
    level_db: float
    contrast_db: float
    clipped: float


class SampleCheck:
    """One clip. Blocking; ``model`` may be shared."""

    def __init__(self, model: SileroModel) -> None:
        self._detector = VoiceDetector(model)
        self._held = bytearray()
        self._samples = 0
        self._peak = 0
        self._voiced: list[bool] = []
        self._powers: list[float] = []
        self._clipped: list[int] = []

    def push(self, pcm: bytes) -> None:
        """Take samples, PCM16 at HEARING_RATE."""
        self._samples += len(pcm) // SAMPLE_BYTES
        self._voiced += [voice >= _VOICE for voice in self._detector.windows(pcm)]
        self._held += pcm
        whole = len(self._held) // WINDOW_BYTES * WINDOW_BYTES
        windows = np.frombuffer(bytes(self._held[:whole]), "<i2").reshape(-1, WINDOW)
        del self._held[:whole]
        if len(windows):
            loudness = np.abs(windows.astype(np.int32))
            self._peak = max(self._peak, int(loudness.max()))
            self._powers += np.square(loudness, dtype=np.float64).mean(axis=1).tolist()
            self._clipped += (loudness >= _FULL_SCALE).sum(axis=1).tolist()

    def finish(self) -> SampleReport:
        """What was found out; raises SampleRefused."""
        report = self._report()
        _refuse_too_little(report, _decibels(float(self._peak) ** 2))
        if report.level_db < QUIETEST_DB:
            raise SampleRefused(
                "too_quiet",
                f"The speech is too quiet ({report.level_db:.0f} dB): record it again, closer to"
                " the microphone or at a higher level.",
            )
        if report.clipped > MOST_CLIPPED:
            raise SampleRefused(
                "clipped",
                f"The recording is distorted ({report.clipped:.1%} of it is at full scale):"
                " record it again at a lower level.",
            )
        if report.contrast_db < LEAST_CONTRAST_DB:
            raise SampleRefused(
                "noisy",
                f"The speech is only {report.contrast_db:.0f} dB above the noise: record it again"
                " in a quieter place, without music.",
            )
        return report

    def _report(self) -> SampleReport:
        voiced = np.array(self._voiced, bool)
        powers = np.array(self._powers)
        speech = int(voiced.sum())
        level = _decibels(float(powers[voiced].mean())) if speech else -np.inf
        pauses = powers[~voiced] if (~voiced).sum() > 2 else powers
        # of the pauses the quieter ones: what follows a word belongs to it more than to the room
        noise = _decibels(float(np.percentile(pauses, 20))) if len(pauses) else -np.inf
        clipped = int(np.array(self._clipped)[voiced].sum()) if speech else 0
        return SampleReport(
            duration_ms=milliseconds_of(self._samples, HEARING_RATE),
            speech_ms=speech * WINDOW_MS,
            level_db=round(level, 1),
            contrast_db=round(min(level - noise, _NO_NOISE_DB), 1) if speech else 0.0,
            clipped=clipped / max(1, speech * WINDOW),
        )


def _refuse_too_little(report: SampleReport, peak_db: float) -> None:
    if report.duration_ms < LEAST_MS:
        raise SampleRefused(
            "too_short",
            f"The clip is {report.duration_ms / 1000:.1f} s long: send at least"
            f" {LEAST_MS / 1000:g} s of speech, better 10 to 30.",
        )
    if peak_db < SILENCE_DB:
        raise SampleRefused("silent", "There is only silence in the clip: check the recording.")
    if not report.speech_ms:
        raise SampleRefused("no_speech", "Nobody speaks in the clip: send a recording of speech.")
    if report.speech_ms < LEAST_SPEECH_MS:
        raise SampleRefused(
            "too_little_speech",
            f"There are {report.speech_ms / 1000:.1f} s of speech in the clip: send at least"
            f" {LEAST_SPEECH_MS // 1000} s, better 10 to 30.",
        )


def _decibels(power: float) -> float:
    """Of full scale."""
    return float(10 * np.log10(max(power, 1e-3) / 32768**2))
