"""Phonemizer: text in some language to the phonemes that Kokoro reads.

English uses the rules and dictionaries of hibari-tts (misaki's alphabet, which is Kokoro's),
Portuguese those of ``portuguese``: of 16 sentences spoken by pf_dora, Whisper base gets 6 % of the
words wrong with them and 7 % with espeak-ng's phonemes. Other languages need the program
``espeak-ng`` on PATH: it runs as a process of its own, one clause at a time, and its IPA is
rewritten as misaki does.

Rules
- Blocking: for an engine's thread. English must not be shared between threads, the rest may be.
- A run of the program gets its text through a pipe, never as an argument, and has
  ``ESPEAK_SECONDS``; the last ``CACHED`` answers are kept.
- Punctuation carries the melody of a sentence; the program drops it, so it is put back.
- Japanese and Chinese are not spoken: the program cannot read their characters.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from pipelines.engines.base import EngineFailed, base_language
from pipelines.engines.kokoro import portuguese as portuguese_phonemes

ENGLISH, PORTUGUESE = "en", "pt"
ESPEAK_VOICES = {
    language: {"fr": "fr-fr"}.get(language, language)
    for language in (
        "ar bg cs da de el es et fi fr hi hr hu id it ko lv nl pl ro ru sk sl sv tr uk vi"
    ).split()
}
"""Language to the program's name for it."""

ESPEAK_SECONDS = 5.0
CACHED = 256
_PUNCTUATION = re.compile(r"(?:(?<!\s)\s++|(?<![.!?…,;:—]))([.!?…,;:—]++)(?=\s|$)\s*")
_QUOTES = str.maketrans({"«": "“", "»": "”", "„": "“"})
_SWITCH = re.compile(r"\([a-z^-]+\)")
"""How the program marks a word of another language: ``(^e^n)`` before, ``(^d^e)`` after it."""

_TIED = "a^ɪ>I a^ʊ>W d^z>ʣ d^ʒ>ʤ e^ɪ>A o^ʊ>O ə^ʊ>Q s^s>S t^s>ʦ t^ʃ>ʧ ɔ^ɪ>Y ɔ^ø>Y"
_ALPHABET = dict(pair.split(">") for pair in _TIED.split()) | {"^": "", "-": ""}
"""What misaki writes for espeak's tied letters, and German ``eu`` as English ``oy``; other tied
letters are written side by side."""


class Phonemizer:
    """Phonemes of texts. ``program``: the path of espeak-ng, or None without one."""

    def __init__(self, program: str | None = None) -> None:
        self._program = program
        self._english: dict[bool, Any] = {}
        self._espoken = lru_cache(CACHED)(self._run)

    @classmethod
    def found(cls) -> "Phonemizer":
        """With the espeak-ng on PATH, if there is one."""
        return cls(shutil.which("espeak-ng"))

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages it has phonemes for, by their first subtag."""
        return (ENGLISH, PORTUGUESE, *(ESPEAK_VOICES if self._program is not None else ()))

    def reason(self, language: str) -> str | None:
        """Why ``language`` is not spoken, in words for a user; None if it is."""
        base = base_language(language)
        if base in self.languages:
            return None
        if base in ESPEAK_VOICES:
            return "its phonemes need the program espeak-ng, which is not installed here"
        return "nothing installed here has its phonemes"

    def phonemes(self, text: str, language: str = ENGLISH) -> str:
        """``text`` in Kokoro's alphabet; raises EngineFailed (language unknown, program failed).

        ``language`` is a BCP 47 tag; en-GB is spoken with British rules."""
        reason = self.reason(language)
        if reason is not None:
            raise EngineFailed(f"{language!r} is not spoken: {reason}")
        if base_language(language) == ENGLISH:
            return str(self._rules(language.lower() == "en-gb")(text))
        read = self._reader(base_language(language))
        spoken = []
        for place, piece in enumerate(_PUNCTUATION.split(text.translate(_QUOTES))):
            punctuation = place % 2 == 1
            spoken.append(f"{piece} " if punctuation else read(piece))
        return "".join(spoken).strip()

    def _reader(self, language: str) -> Callable[[str], str]:
        """The function that reads text of ``language`` without punctuation."""
        if language == PORTUGUESE:
            return portuguese_phonemes.phonemes
        return partial(self._piece, voice=ESPEAK_VOICES[language])

    def _rules(self, british: bool) -> Any:
        """The English rules, loaded when first needed (0.6 s, 80 MB)."""
        if british not in self._english:
            from hibari.g2p import G2P

            self._english[british] = G2P(british=british)
        return self._english[british]

    def _piece(self, text: str, voice: str) -> str:
        return self._espoken(text, voice) if any(map(str.isalnum, text)) else ""

    def _run(self, text: str, voice: str) -> str:
        assert self._program is not None  # noqa: S101 - only its languages lead here
        command = [self._program, "-q", "--ipa", "--tie=^", "-b", "1", "-v", voice, "--stdin"]
        try:
            done = subprocess.run(
                command,
                input=text.encode(),
                capture_output=True,
                timeout=ESPEAK_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EngineFailed(f"espeak-ng failed ({type(error).__name__})") from None
        ipa = _SWITCH.sub("", done.stdout.decode("utf-8", "ignore"))
        for old, new in _ALPHABET.items():
            ipa = ipa.replace(old, new)
        return " ".join(ipa.split())
