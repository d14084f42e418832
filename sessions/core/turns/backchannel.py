"""Is speech over the reply an interruption, or only listening aloud?

Three kinds of words over a reply do not take the floor: backchannels ("mhm", "okay"), the
agent's own voice coming back through the caller's microphone, and nothing recognisable at all.

An echo is seldom recognised word for word, so it is compared by its letters, roughly as they
sound: "Opening our." is an echo of "our opening hours". Three things together make an echo:
its letters stand in what was being played, as one run with few differences; each of its words
resembles one that was played; and no word of it is one that interrupts ("no", "wait"), unless
that very word was played.
"""

import re
import unicodedata
from enum import StrEnum

from sessions.core.words import words_of

BACKCHANNELS = frozenset(
    "ah aha alright cool good great hm hmm huh i'm m mhm mm mmm oh ok okay right see sure uh uhhuh "
    "uhm um wow yeah yep yes yup "
    "ja genau achso hmhm oui ouais d'accord sí vale claro sim bene capito".split()
)
"""Words that alone do not interrupt; "i see", "oh right" consist of them (and "i")."""

_FILLING = BACKCHANNELS | {"i", "the", "a"}
"""What recognisers make of a cough or a breath counts with them."""

_INTERRUPTING = frozenset(
    "no nope not never don't stop wait hold hang pause enough cancel quiet help sorry wrong what "
    "why nein nicht stopp halt warte warten moment falsch hilfe wieso warum "
    "non pas stop arrête arrêtez attends attendez jamais faux pourquoi "
    "no para pare basta espera espere alto nunca perdón ayuda qué "
    "ferma fermo fermati aspetta aspetti mai sbagliato aiuto perché "
    "não pára chega espere nunca errado ajuda".split()
)
"""Words that take the floor in the spoken languages: never an echo unless they were played."""

_ECHO_WINDOW_WORDS = 16
_ECHO_LETTERS = 120
"""Letters of what was being played that are compared; longer windows than 16 words of 7 are cut."""
_WORD_LETTERS = 32
"""What is longer is compared by its beginning."""
_LETTERS_ALIKE = 0.75
_WORD_ALIKE = 0.6
_LONE_WORD_LETTERS = 4
"""A lone word shorter than this is an echo only where it was played exactly."""
_STRAY_LETTERS = 3
_STRAY_SHARE = 0.2
"""So many words in the middle may resemble none, if they are short: "was" for "is"."""


class Overlap(StrEnum):
    """What speech over the reply is."""

    NOTHING = "nothing"
    BACKCHANNEL = "backchannel"
    ECHO = "echo"
    INTERRUPTION = "interruption"


def classify(text: str, playing: str) -> Overlap:
    """What the caller's words ``text`` are, said over the reply text ``playing``.

    ``playing`` is the reply up to about what is being played; its last words are compared."""
    words = words_of(text)
    if not words:
        return Overlap.NOTHING
    if all(word in _FILLING for word in words):
        return Overlap.BACKCHANNEL
    recent = words_of(playing)[-_ECHO_WINDOW_WORDS:]
    if _contains(recent, words) or _resembles(recent, words):
        return Overlap.ECHO
    return Overlap.INTERRUPTION


def _contains(haystack: list[str], needle: list[str]) -> bool:
    """Whether ``needle`` stands in ``haystack`` as one run of words."""
    width = len(needle)
    return any(haystack[i : i + width] == needle for i in range(len(haystack) - width + 1))


def _resembles(recent: list[str], words: list[str]) -> bool:
    """Whether ``words`` are what a recogniser may make of a run of ``recent``."""
    if any(word in _INTERRUPTING and word not in recent for word in words):
        return False
    played, heard = [_sound(word) for word in recent], [_sound(word) for word in words]
    letters, run = "".join(heard), "".join(played)[-_ECHO_LETTERS:]
    if len(letters) * _LETTERS_ALIKE > len(run):
        return False
    if len(heard) == 1:
        if len(letters) < _LONE_WORD_LETTERS:
            return False
        return any(_alike(letters, word) >= _LETTERS_ALIKE for word in played)
    far = [all(_alike(word, other) < _WORD_ALIKE for other in played) for word in heard]
    if far[0] or far[-1] or sum(far) > _STRAY_SHARE * len(heard):
        return False
    if any(len(word) > _STRAY_LETTERS for word, strange in zip(heard, far, strict=True) if strange):
        return False
    return _edits(letters, run, anywhere=True) <= (1 - _LETTERS_ALIKE) * len(letters)


def _sound(word: str) -> str:
    """``word`` in letters that stand for about one sound each: no accents, no h, no doubles."""
    letters = unicodedata.normalize("NFKD", word[:_WORD_LETTERS])
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    for written, sounding in (("ph", "f"), ("ck", "k"), ("qu", "kw"), ("c", "k"), ("z", "s")):
        plain = plain.replace(written, sounding)
    plain = re.sub(r"(.)\1+", r"\1", plain.replace("h", "").replace("'", ""))
    return plain or word


def _alike(left: str, right: str) -> float:
    """1 for equal words, 0 for words without a letter in common place."""
    longest, shortest = max(len(left), len(right)), min(len(left), len(right))
    if shortest < _WORD_ALIKE * longest:
        return 0.0
    return 1 - _edits(left, right) / longest


def _edits(needle: str, haystack: str, *, anywhere: bool = False) -> int:
    """Letters to change, add or remove to make ``haystack`` of ``needle``, or a part of it
    (``anywhere``). Takes time in proportion to the product of their lengths."""
    row = [0] * (len(haystack) + 1) if anywhere else list(range(len(haystack) + 1))
    for i, letter in enumerate(needle, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(haystack, 1):
            above = row[j]
            row[j] = min(above + 1, row[j - 1] + 1, corner + (letter != other))
            corner = above
    return min(row) if anywhere else row[-1]
