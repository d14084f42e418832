"""How many words of a text were heard wrongly, however a recogniser writes digits."""

import re

_DIGITS = {
    "en": "zero one two three four five six seven eight nine",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "pt": "zero um dois três quatro cinco seis sete oito nove",
}
_FIGURES = {
    language: {word: str(figure) for figure, word in enumerate(words.split())}
    for language, words in _DIGITS.items()
}
_SIGNS = re.compile(r"[^\w]")


def words_of(text: str, language: str) -> list[str]:
    """The words of ``text`` in lower case, without punctuation; numbers as single figures."""
    figures = _FIGURES[language]
    found = [figures.get(word, word) for word in _SIGNS.sub(" ", text.lower()).split()]
    return [part for word in found for part in (word if word.isdigit() else (word,))]


def word_errors(said: str, heard: str, language: str) -> tuple[int, int]:
    """Words that must be changed, added or dropped to make what was said of what was heard (the
    Levenshtein distance), and the words that were said."""
    expected, found = words_of(said, language), words_of(heard, language)
    row = list(range(len(found) + 1))
    for n, word in enumerate(expected, 1):
        above, row[0] = row[0], n
        for m, other in enumerate(found, 1):
            above, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, above + (word != other))
    return row[-1], len(expected)
