"""Kokoro's voices: what their names say, and their styles.

A voice is named by language, sex and name (``bf_emma``: British, female). Its style is a table of
one row of 256 numbers for each length of text in tokens: the first half is timbre, the second
prosody. Styles may be mixed, and a mix is a voice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.engines.base import EngineFailed
from pipelines.engines.jobs import VoiceInfo

from .phonemes import base_language

Floats = npt.NDArray[np.float32]

ENGINE = "kokoro"
ROWS, SIZE = 510, 256
PROSODY = slice(128, 256)
"""The half of a row that says how it is spoken, not by whom."""

LANGUAGES = {
    "a": "en-US", "b": "en-GB", "e": "es", "f": "fr", "h": "hi", "i": "it", "j": "ja",
    "p": "pt-BR", "z": "zh",
}  # fmt: skip
"""First letter of a voice's name to its language."""

NAMES = {
    "af": "alloy aoede bella heart jessica kore nicole nova river sarah sky",
    "am": "adam echo eric fenrir liam michael onyx puck santa",
    "bf": "alice emma isabella lily",
    "bm": "daniel fable george lewis",
    "ef": "dora", "em": "alex santa",
    "ff": "siwis",
    "hf": "alpha beta", "hm": "omega psi",
    "if": "sara", "im": "nicola",
    "jf": "alpha gongitsune nezumi tebukuro", "jm": "kumo",
    "pf": "dora", "pm": "alex santa",
    "zf": "xiaobei xiaoni xiaoxiao xiaoyi", "zm": "yunjian yunxi yunxia yunyang",
}  # fmt: skip
VOICES = tuple(f"{kind}_{name}" for kind, names in NAMES.items() for name in names.split())
"""All 54."""

DEFAULTS = {
    "en": "af_heart", "en-gb": "bf_emma", "es": "ef_dora", "fr": "ff_siwis", "hi": "hf_alpha",
    "it": "if_sara", "pt": "pf_dora",
}  # fmt: skip
"""Language to the voice that speaks where none is asked for."""

FOREIGN = "if_sara"
"""Who speaks the languages for which there is no voice: of seven that were tried in German,
Polish, Dutch and Swedish the one that was understood best."""

WEAK = frozenset("ru el sk".split())
ROBOTIC = frozenset("da ko vi ar hi".split())
"""Languages in which it was measured to be understood less well, and badly."""


def voice_language(voice: str) -> str:
    """The language that a voice was made for, as a BCP 47 tag."""
    return LANGUAGES[voice[0]]


def is_female(voice: str) -> bool:
    """What the second letter of its name says."""
    return voice[1] == "f"


def default_voice(language: str) -> str:
    """Who speaks ``language`` (a BCP 47 tag) where no voice is asked for."""
    tag = language.lower()
    return DEFAULTS.get(tag) or DEFAULTS.get(base_language(tag), FOREIGN)


def quality(language: str) -> str:
    """How well Kokoro is understood in ``language``: good, weak or robotic."""
    base = base_language(language)
    if base in ROBOTIC:
        return "robotic"
    return "weak" if base in WEAK else "good"


def catalogue(languages: Iterable[str]) -> tuple[VoiceInfo, ...]:
    """The voices made for one of ``languages`` (first subtags); the phonemizer knows which."""
    spoken = frozenset(languages)
    return tuple(
        VoiceInfo(
            id=voice,
            name=voice[3:].capitalize(),
            language=voice_language(voice),
            engine=ENGINE,
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
                raise EngineFailed(f"{ENGINE}: the style {path.name} cannot be read") from error
        return self._tables[voice]


def _style(table: Floats, voice: str) -> Style:
    return Style(table, voice_language(voice), is_female(voice))
