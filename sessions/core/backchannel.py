"""Is speech over the reply an interruption, or only listening aloud?

Three kinds of words over a reply do not take the floor: backchannels ("mhm", "okay"), the
agent's own voice coming back through the caller's microphone, and nothing recognisable at all.
"""

from enum import StrEnum

from .words import words_of

BACKCHANNELS = frozenset(
    "ah aha alright cool good great hm hmm huh i'm m mhm mm mmm oh ok okay right see sure uh uhhuh "
    "uhm um wow yeah yep yes yup "
    "ja genau achso hmhm oui ouais d'accord sí vale claro sim bene capito".split()
)
"""Words that alone do not interrupt; "i see", "oh right" consist of them (and "i")."""

_FILLING = BACKCHANNELS | {"i", "the", "a"}
"""What recognisers make of a cough or a breath counts with them."""

_ECHO_WINDOW_WORDS = 16
_ECHO_SHARE = 0.8
_ECHO_FUZZY_WORDS = 4


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
    if _contains(recent, words):
        return Overlap.ECHO
    if len(words) >= _ECHO_FUZZY_WORDS and _common(recent, words) >= _ECHO_SHARE * len(words):
        return Overlap.ECHO
    return Overlap.INTERRUPTION


def _contains(haystack: list[str], needle: list[str]) -> bool:
    """Whether ``needle`` stands in ``haystack`` as one run of words."""
    width = len(needle)
    return any(haystack[i : i + width] == needle for i in range(len(haystack) - width + 1))


def _common(left: list[str], right: list[str]) -> int:
    """Words that both have in the same order (longest common subsequence)."""
    row = [0] * (len(right) + 1)
    for word in left:
        corner = 0
        for j, other in enumerate(right):
            above = row[j + 1]
            row[j + 1] = corner + 1 if word == other else max(above, row[j])
            corner = above
    return row[-1]
