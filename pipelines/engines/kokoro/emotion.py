"""Emotion: how lively a voice speaks, by moving its style and leaving its timbre alone.

Among the English voices of one sex, the prosodic halves of their styles are weighed by how much
each one's pitch was measured to move (``voice_table``): that gives the direction in which speech
becomes livelier. What in it would merely raise or lower the voice is taken out.

Measured (two sentences, standard deviation of the pitch in semitones at 0, 55 and 100): af_heart
1.7, 2.7, 4.3; am_michael 2.1, 3.1, 4.3; bf_emma 1.1, 2.0, 4.5; bm_george 2.6, 3.3, 4.6. The speaker
encoder's cosine to the voice as it is stays above 0.97, and every word was understood.

Exaggerating what is the voice's own (its distance from the mean of all) does not do: a calm voice
becomes calmer by it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.engines.cloning.voice_table import packaged

from .voices import PROSODY, VOICES, Floats, Style, Styles, is_female, voice_language

NEUTRAL = 55
"""The emotion at which a voice speaks as it is."""

CALMEST, LIVELIEST = -1.2, 1.5
"""How far the style is moved at 0 and at 100, in steps of the direction; beyond 2 it breaks."""


class Emotions:
    """Moves styles; made of the voices' styles when first needed (15 MB are read)."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._directions: dict[bool, Floats] = {}

    def applied(self, style: Style, emotion: int) -> Style:
        """``style`` with ``emotion`` 0..100. Raises EngineFailed."""
        if emotion == NEUTRAL:
            return style
        table = style.table.copy()
        table[:, PROSODY] += np.float32(steps(emotion)) * self._direction(style.female)
        return replace(style, table=table)

    def _direction(self, female: bool) -> Floats:
        """Where livelier speech lies, [ROWS, 128]."""
        if female not in self._directions:
            self._directions[female] = _liveliness(self._styles, female)
        return self._directions[female]


def steps(emotion: int) -> float:
    """How far ``emotion`` moves the style."""
    if emotion < NEUTRAL:
        return CALMEST * (NEUTRAL - emotion) / NEUTRAL
    return LIVELIEST * (emotion - NEUTRAL) / (100 - NEUTRAL)


def _liveliness(styles: Styles, female: bool) -> Floats:
    voices = tuple(
        voice
        for voice in VOICES
        if voice_language(voice).startswith("en") and is_female(voice) is female
    )
    measured = packaged().only(voices)
    prosody = np.stack([styles.voice(voice).table[:, PROSODY] for voice in voices])
    livelier = _leaning(prosody, measured.melody)
    higher = _leaning(prosody, np.log(measured.pitch))
    share = (livelier * higher).sum(axis=1) / np.square(higher).sum(axis=1)
    direction: Floats = livelier - share[:, None] * higher
    return direction


def _leaning(prosody: Floats, values: Sequence[float] | Floats) -> Floats:
    """Where the rows of voices of greater value lie, seen from those of lesser."""
    weights = np.asarray(values, np.float32) - np.float32(np.mean(values))
    weights /= np.abs(weights).sum() / 2
    return np.tensordot(weights, prosody, axes=1)
