"""Trimming a spoken phrase: the silence a voice puts around it is latency to the caller.

Works on PCM16 mono as numpy arrays; pure. Sound is a 5 ms frame whose RMS is above a floor well
under speech and well over a synthesiser's noise.
"""

import numpy as np
import numpy.typing as npt

FRAME_MS = 5
FLOOR = 80.0
"""RMS in PCM16 units (-52 dBFS) above which a frame is sound; the noise measured is 10-25."""

LEAD_MS = 10
"""Silence left before the first sound: keeps the onset of soft consonants."""

SENTENCE_PAUSE_MS = 200
CLAUSE_PAUSE_MS = 80
"""Silence left at the end: what one breathes after a sentence, and inside of one."""

SENTENCE_ENDS = (".", "!", "?", "…", ":")


def pause_after(text: str) -> int:
    """Milliseconds of silence that belong after ``text``."""
    ended = text.rstrip("\"'”’)] \n").endswith(SENTENCE_ENDS)
    return SENTENCE_PAUSE_MS if ended else CLAUSE_PAUSE_MS


def trimmed(samples: npt.NDArray[np.int16], rate: int, pause_ms: int) -> npt.NDArray[np.int16]:
    """``samples`` with ``LEAD_MS`` of silence at most before the sound, ``pause_ms`` after it.

    Empty where there is no sound at all. Never makes silence longer than it was."""
    frame = rate * FRAME_MS // 1000
    if not len(samples):
        return samples
    padded = np.pad(samples, (0, -len(samples) % frame)).astype(np.float32)
    frames = padded.reshape(-1, frame)
    loud = np.flatnonzero(np.sqrt(np.mean(frames * frames, axis=1)) > FLOOR)
    if not len(loud):
        return samples[:0]
    start = max(0, int(loud[0]) * frame - rate * LEAD_MS // 1000)
    end = (int(loud[-1]) + 1) * frame + rate * pause_ms // 1000
    return samples[start:end]


def speakable(text: str) -> bool:
    """Whether ``text`` holds anything a voice could say."""
    return any(character.isalnum() for character in text)
