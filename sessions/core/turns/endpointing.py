"""When a turn starts and when it ends, counted in samples of the input stream.

Three gears. First the speech gate: hysteresis over the VAD's windows says where speech begins
and how long it has been silent. Second, in ``semantic_vad``, the turn detector's probability
and the ending of the transcript decide how much silence is enough (``patience``). Third, a
maximum silence ends any turn. In ``server_vad`` the second gear is the client's fixed figure.

Everything here is arithmetic on positions; no clock.
"""

from dataclasses import dataclass

from media.formats import HEARING_RATE, samples_of
from sessions.core.config import Eagerness, TurnDetection, TurnMode

from .completeness import Ending

HINT_MS = 128
"""Silence after which the end of the turn is suspected: transcribe, score, speculate."""

BARGE_IN_MS = 128
"""Speech over the reply after which playout is paused."""

_ONSET_MS = 96
RELEASE_DROP = 0.15
"""Hysteresis: speech ends below ``threshold - RELEASE_DROP``."""

COMPLETE = 0.5
"""The turn detector's probability from which it speaks for an end."""

_DOUBTFUL = 0.2
_PACE = {
    Eagerness.LOW: 1.6,
    Eagerness.MEDIUM: 1.0,
    Eagerness.AUTO: 1.0,
    Eagerness.HIGH: 0.6,
}
_MAXIMUM_MS = {
    Eagerness.LOW: 8_000,
    Eagerness.MEDIUM: 4_000,
    Eagerness.AUTO: 4_000,
    Eagerness.HIGH: 2_000,
}
_CLOSED_COMPLETE_MS = 380
_CLOSED_UNSURE_MS = 900
_CLOSED_INCOMPLETE_MS = 1_400
_DICTATION_MS = 1_600
_OPEN_MS = 2_600
_WORDLESS_MS = 600


def samples(milliseconds: float) -> int:
    """Milliseconds as samples of the input stream."""
    return samples_of(milliseconds, HEARING_RATE)


def patience(
    detection: TurnDetection,
    ending: Ending,
    probability: float | None,
    *,
    wordless: bool = False,
) -> int:
    """Samples of silence that end a turn whose transcript ends in ``ending``.

    ``probability`` is the turn detector's, None while it has not answered. ``wordless``: the
    final text is there and is empty, so there is nothing to be patient for."""
    if detection.mode is TurnMode.SERVER_VAD:
        return samples(detection.silence_duration_ms)
    maximum = _MAXIMUM_MS[detection.eagerness]
    wanted: float
    if wordless:
        wanted = _WORDLESS_MS
    elif ending is Ending.OPEN or ending is Ending.EMPTY:
        wanted = _OPEN_MS
    elif ending is Ending.DICTATION:
        wanted = _DICTATION_MS
    elif probability is None or probability < _DOUBTFUL:
        wanted = _CLOSED_INCOMPLETE_MS
    elif probability < COMPLETE:
        wanted = _CLOSED_UNSURE_MS
    else:
        wanted = _CLOSED_COMPLETE_MS
    return samples(min(maximum, wanted * _PACE[detection.eagerness]))


@dataclass(slots=True)
class SpeechGate:
    """Hysteresis over VAD windows: where speech began, and how long it is silent.

    ``onset`` is the first sample of the present (or last) speech, ``last_voice`` the sample
    after its last voiced window, ``position`` the end of what has been looked at."""

    position: int = 0
    onset: int = 0
    last_voice: int = 0
    speaking: bool = False
    _run_start: int | None = None
    _voiced: int = 0

    def look(self, position: int, voice: float, threshold: float) -> None:
        """Take the next window, ending at ``position`` (never before the last one)."""
        width = max(0, position - self.position)
        start, self.position = self.position, position
        level = threshold - RELEASE_DROP if self.speaking else threshold
        if voice >= max(0.05, level):
            if self._run_start is None:
                self._run_start, self._voiced = start, 0
            self._voiced += width
            self.last_voice = position
            if not self.speaking and self._voiced >= samples(_ONSET_MS):
                self.speaking, self.onset = True, self._run_start
        elif not self.speaking:
            self._run_start = None

    @property
    def silence(self) -> int:
        """Samples since the last voiced window."""
        return self.position - self.last_voice

    @property
    def voiced(self) -> int:
        """Samples of voiced windows since the onset; 0 while not speaking."""
        return self._voiced if self.speaking else 0

    def rest(self) -> None:
        """Forget the present speech: what follows is a new onset."""
        self.speaking, self._run_start, self._voiced = False, None, 0
