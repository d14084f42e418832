"""The language of a text that is to be spoken, among those the contract knows.

Deterministic: the same text always has the same language. A text too short to tell is English
where its script does not say otherwise; of a long one the beginning decides.
"""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LANGUAGES = (
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hi", "hr", "hu", "id",
    "it", "ja", "ko", "lv", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "uk", "vi",
)  # fmt: skip
DEFAULT = "en"
_READ_CHARACTERS = 2000
_LEAST_LETTERS = 12
"""Fewer letters of the Latin script say nothing about the language."""
_LATIN_END = "\u024f"


def language_of(text: str) -> str:
    """One of LANGUAGES; takes some ms (the first call some hundred): not for the event loop."""
    head = text[:_READ_CHARACTERS]
    letters = [letter for letter in head if letter.isalpha()]
    latin = sum(letter <= _LATIN_END for letter in letters)
    if not letters or (latin == len(letters) and latin < _LEAST_LETTERS):
        return DEFAULT
    found = str(_identifier().classify(head)[0])
    return found if found in LANGUAGES else DEFAULT


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(LANGUAGES))
    return identifier
