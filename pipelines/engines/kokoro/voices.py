"""Kokoro's voices: their names, their styles, what was measured of them, and emotion.

A voice is named by language, sex and name (``bf_emma``: British, female). Its style is a table of
one row of 256 numbers for each length of text in tokens: the first half is timbre, the second
prosody. Styles may be mixed, and a mix is a voice.

``kokoro_voices.npz`` beside this file was made by ``bench.measure_voices`` from two English
sentences per voice: the speaker encoder's view of each, by which voices are matched to a sample,
and pitch and melody, by which a livelier style is found.

Emotion moves a style's prosody and leaves its timbre alone. Among the English voices of one sex the
prosodic halves are weighted by how much each one's pitch was measured to move: that gives the
direction in which speech becomes livelier. The part of it that would merely raise or lower the
voice is removed. Measured (two sentences, standard deviation of the pitch in semitones at 0, 55
and 100): af_heart 1.7, 2.7, 4.3; am_michael 2.1, 3.1, 4.3; bf_emma 1.1, 2.0, 4.5; bm_george 2.6,
3.3, 4.6. The speaker encoder's cosine to the unmoved voice stays above 0.97, and every word was
understood. Exaggerating a voice's own distance from the mean of all does not work: a calm voice
becomes calmer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.engines.base import EngineFailed, base_language
from pipelines.engines.jobs import VoiceInfo

Floats = npt.NDArray[np.float32]

KOKORO = "kokoro"
"""The engine's id, also in the recipes of cloned voices."""
ROWS, SIZE = 510, 256
PROSODY = slice(128, 256)
"""The half of a row that says how it is spoken, not by whom."""

LANGUAGES = dict(
    pair.split(":") for pair in ("a:en-US b:en-GB e:es f:fr h:hi i:it j:ja p:pt-BR z:zh").split()
)
"""First letter of a voice's name to its language."""

NAMES = {
    "af": "alloy aoede bella heart jessica kore nicole nova river sarah sky",
    "am": "adam echo eric fenrir liam michael onyx puck santa",
    "bf": "alice emma isabella lily",
    "bm": "daniel fable george lewis",
    "ef": "dora",
    "em": "alex santa",
    "ff": "siwis",
    "hf": "alpha beta",
    "hm": "omega psi",
    "if": "sara",
    "im": "nicola",
    "jf": "alpha gongitsune nezumi tebukuro",
    "jm": "kumo",
    "pf": "dora",
    "pm": "alex santa",
    "zf": "xiaobei xiaoni xiaoxiao xiaoyi",
    "zm": "yunjian yunxi yunxia yunyang",
}
VOICES = tuple(f"{kind}_{name}" for kind, names in NAMES.items() for name in names.split())
"""All 54."""

DEFAULTS = {
    "en": "af_heart",
    "en-gb": "bf_emma",
    "es": "ef_dora",
    "fr": "ff_siwis",
    "hi": "hf_alpha",
    "it": "if_sara",
    "pt": "pf_dora",
}
"""Language to the voice that speaks if none is requested."""

FOREIGN = "if_sara"
"""Speaks the languages that have no voice of their own: of seven voices tried in German, Polish,
Dutch and Swedish this one was understood best."""

WEAK = frozenset("ru el sk".split())
ROBOTIC = frozenset("da ko vi ar hi".split())
"""Languages in which it measured as understood less well, and badly."""


def voice_language(voice: str) -> str:
    """The language that a voice was made for, as a BCP 47 tag."""
    return LANGUAGES[voice[0]]


def is_female(voice: str) -> bool:
    """What the second letter of its name says."""
    return voice[1] == "f"


def default_voice(language: str) -> str:
    """Who speaks ``language`` (a BCP 47 tag) if no voice is requested."""
    tag = language.lower()
    return DEFAULTS.get(tag) or DEFAULTS.get(base_language(tag), FOREIGN)


def quality(language: str) -> str:
    """How well Kokoro is understood in ``language``: good, weak or robotic."""
    base = base_language(language)
    if base in ROBOTIC:
        return "robotic"
    return "weak" if base in WEAK else "good"


def voices_for(languages: Iterable[str]) -> tuple[VoiceInfo, ...]:
    """The voices made for one of ``languages`` (first subtags); the phonemizer knows which."""
    spoken = frozenset(languages)
    return tuple(
        VoiceInfo(
            id=voice,
            name=voice[3:].capitalize(),
            language=voice_language(voice),
            engine=KOKORO,
            gender="female" if is_female(voice) else "male",
            quality=quality(voice_language(voice)),
        )
        for voice in VOICES
        if base_language(voice_language(voice)) in spoken
    )


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """How it is spoken: ``table`` is [ROWS, SIZE]; ``language`` decides the accent of English."""

    table: Floats
    language: str
    female: bool


class Styles:
    """The styles in a folder of ``<voice>.bin``; each is read when first needed (0.5 MB)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, Floats] = {}

    def voice(self, voice: str) -> Style:
        """The style of one of VOICES; raises EngineFailed where its file is missing or damaged."""
        return _style(self._table(voice), voice)

    def mix(self, weights: Mapping[str, float]) -> Style:
        """Styles added by weight; ``weights`` need not add up to 1. Raises EngineFailed."""
        total = sum(weights.values())
        if not weights or not total > 0 or not weights.keys() <= set(VOICES):
            raise EngineFailed("the recipe of the voice names no styles that are known here")
        table = sum(self._table(voice) * (share / total) for voice, share in weights.items())
        heaviest = max(weights, key=lambda voice: weights[voice])
        return _style(np.asarray(table, np.float32), heaviest)

    def _table(self, voice: str) -> Floats:
        if voice not in self._tables:
            path = self._folder / f"{voice}.bin"
            try:
                self._tables[voice] = np.fromfile(path, "<f4").reshape(ROWS, SIZE)
            except (OSError, ValueError) as error:
                raise EngineFailed(f"{KOKORO}: the style {path.name} cannot be read") from error
        return self._tables[voice]


def _style(table: Floats, voice: str) -> Style:
    return Style(table, voice_language(voice), is_female(voice))


MEASURED = Path(__file__).with_name("kokoro_voices.npz")


@dataclass(frozen=True, slots=True, eq=False)
class VoiceTable:
    """One row a voice. ``embeddings``: [voices, 256], each of length 1; ``pitch``: median in Hz;
    ``melody``: how much it moves, in semitones (standard deviation)."""

    voices: tuple[str, ...]
    embeddings: Floats
    pitch: Floats
    melody: Floats

    @classmethod
    def read(cls, path: Path = MEASURED) -> "VoiceTable":
        """Read a file that ``write`` made; some milliseconds."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                tuple(str(voice) for voice in file["voices"]),
                file["embeddings"].astype(np.float32),
                file["pitch"],
                file["melody"],
            )

    def write(self, path: Path = MEASURED) -> None:
        """Write a file of some 30 kB."""
        np.savez_compressed(
            path,
            voices=np.array(self.voices),
            embeddings=self.embeddings.astype(np.float16),
            pitch=self.pitch,
            melody=self.melody,
        )

    def only(self, voices: tuple[str, ...]) -> "VoiceTable":
        """The rows of ``voices``, in their order."""
        rows = [self.voices.index(voice) for voice in voices]
        return VoiceTable(voices, self.embeddings[rows], self.pitch[rows], self.melody[rows])


@cache
def measured_voices() -> VoiceTable:
    """The table beside this file."""
    return VoiceTable.read()


NEUTRAL = 55
"""The emotion that leaves a voice unchanged."""

CALMEST, LIVELIEST = -1.2, 1.5
"""How far the style is moved at 0 and at 100, in steps of the direction; beyond 2 it breaks."""


class Emotions:
    """Moves styles by emotion; the directions are computed when first needed (15 MB are read)."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._directions: dict[bool, Floats] = {}

    def applied(self, style: Style, emotion: int) -> Style:
        """``style`` with ``emotion`` 0..100. Raises EngineFailed."""
        if emotion == NEUTRAL:
            return style
        table = style.table.copy()
        table[:, PROSODY] += np.float32(emotion_steps(emotion)) * self._direction(style.female)
        return replace(style, table=table)

    def _direction(self, female: bool) -> Floats:
        """Where livelier speech lies, [ROWS, 128]."""
        if female not in self._directions:
            self._directions[female] = _liveliness(self._styles, female)
        return self._directions[female]


def emotion_steps(emotion: int) -> float:
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
    measured = measured_voices().only(voices)
    prosody = np.stack([styles.voice(voice).table[:, PROSODY] for voice in voices])
    livelier = _leaning(prosody, measured.melody)
    higher = _leaning(prosody, np.log(measured.pitch))
    share = (livelier * higher).sum(axis=1) / np.square(higher).sum(axis=1)
    direction: Floats = livelier - share[:, None] * higher
    return direction


def _leaning(prosody: Floats, values: Sequence[float] | Floats) -> Floats:
    """The direction from the rows of voices with low values to those with high ones."""
    weights = np.asarray(values, np.float32) - np.float32(np.mean(values))
    weights /= np.abs(weights).sum() / 2
    return np.tensordot(weights, prosody, axes=1)
