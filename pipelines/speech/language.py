"""The language of a text that is to be spoken, guessed where nobody says it.

Deterministic: the same text always has the same language. Of a long text the beginning decides.

Rules
- Only the script that most of the letters have counts: a word in another says nothing.
- Among the languages that can be spoken, the likeliest is taken. Where the text is short or no
  language is likely enough, it is the voice's own.
- A text that is surely in a language that cannot be spoken is not read in another one: that
  language is the answer, and the engines refuse it.
"""

from collections.abc import Collection
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LANGUAGES = tuple(
    (
        "ar bg cs da de el en es et fi fr hi hr hu id it ja ko lv nl pl pt ro ru sk sl sv tr uk vi"
    ).split()
)
OTHER_SCRIPTS = frozenset(("ar", "bg", "el", "hi", "ja", "ko", "ru", "uk"))
"""Those of LANGUAGES that are not written in Latin letters."""
DEFAULT = "en"
LIKELY = 0.7
"""Probability, among the languages that can be spoken, under which the voice's own is taken:
"Hotel Restaurant Taxi" is German with 0.4, "Bitte warten Sie" with 0.9."""
SURE, SURE_LETTERS = 0.99, 40
"""Probability, among all languages, and length of a text that is not read in another."""
_READ_CHARACTERS = 2000
_LEAST_LETTERS = 12
"""Fewer letters of the Latin script say nothing about the language."""
_LATIN_END = "\u024f"


def language_of(text: str, speakable: Collection[str] = LANGUAGES, own: str = DEFAULT) -> str:
    """One of LANGUAGES, or ``own``. ``speakable``: the languages that can be spoken; ``own``: the
    one that the voice was made for.

    Takes some ms (the first call some hundred): not for the event loop."""
    head = text[:_READ_CHARACTERS]
    latin = "".join(c if not c.isalpha() or c <= _LATIN_END else " " for c in head)
    other = "".join(c if not c.isalpha() or c > _LATIN_END else " " for c in head)
    latin_letters, other_letters = _letters(latin), _letters(other)
    if other_letters > latin_letters:
        return _of_other_script(other, speakable, own)
    if latin_letters < _LEAST_LETTERS:
        return own
    chances = _chances(latin, set(LANGUAGES) - OTHER_SCRIPTS)
    likeliest = max(chances, key=lambda tag: chances[tag])
    if likeliest not in speakable and latin_letters >= SURE_LETTERS and chances[likeliest] >= SURE:
        return likeliest
    spoken = {tag: chance for tag, chance in chances.items() if tag in speakable}
    found = max(spoken, key=lambda tag: spoken[tag], default=own)
    return found if spoken and spoken[found] >= LIKELY * sum(spoken.values()) else own


def likelier(text: str, one: str, other: str) -> str:
    """Which of two of LANGUAGES ``text`` is in, rather; ``one`` of two that are none of them."""
    chances = _chances(text[:_READ_CHARACTERS], (one, other))
    return other if chances.get(other, 0.0) > chances.get(one, 0.0) else one


def _of_other_script(text: str, speakable: Collection[str], own: str) -> str:
    """The language of a text whose letters are not Latin; no voice for Latin letters reads it, so
    that it is never left to ``own`` but where that is written so, too."""
    chances = _chances(text, OTHER_SCRIPTS)
    likeliest = max(chances, key=lambda tag: chances[tag])
    spoken = {tag: chance for tag, chance in chances.items() if tag in speakable}
    found = max(spoken, key=lambda tag: spoken[tag], default=likeliest)
    if chances[found] < 1 - SURE:
        return likeliest
    return own if own in spoken and chances[found] < LIKELY else found


def _letters(text: str) -> int:
    return sum(character.isalpha() for character in text)


def _chances(text: str, among: Collection[str]) -> dict[str, float]:
    """Probabilities of the languages of ``among``; they add up to 1."""
    ranked = {tag: chance for tag, chance in _identifier().rank(text) if tag in among}
    total = sum(ranked.values()) or 1.0
    return {tag: chance / total for tag, chance in ranked.items()}


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(LANGUAGES))
    return identifier
