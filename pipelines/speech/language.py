"""The language of a text to speak, guessed if it was not given.

Deterministic: the same text always gets the same language. In a long text the beginning decides.

Rules
- Only the script of most letters counts: a word in another script means nothing.
- The likeliest of the languages that can be spoken is taken. If the text is short or no language
  is likely enough, it is the voice's own.
- A text that is certainly in a language that cannot be spoken is not read in another one: that
  language is the result, and the engines refuse it.
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
"""Those of LANGUAGES not written in Latin letters."""
DEFAULT = "en"
LIKELY = 0.7
"""Probability, among the languages that can be spoken, below which the voice's own is taken:
"Hotel Restaurant Taxi" is German with 0.4, "Bitte warten Sie" with 0.9."""
SURE, SURE_LETTERS = 0.99, 40
"""Probability among all languages, and letters, from which a text is not read in another."""
_READ_CHARACTERS = 2000
_LEAST_LETTERS = 12
"""Fewer Latin letters do not reveal the language."""
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
    """Which of two of LANGUAGES ``text`` is more likely in; ``one`` if neither is in LANGUAGES."""
    chances = _chances(text[:_READ_CHARACTERS], (one, other))
    return other if chances.get(other, 0.0) > chances.get(one, 0.0) else one


def _of_other_script(text: str, speakable: Collection[str], own: str) -> str:
    """The language of a text in another script than Latin. Voices for Latin letters cannot read it,
    so ``own`` is only the result if it is written in such a script, too."""
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
