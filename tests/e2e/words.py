"""The similarity of two texts, word by word, as speech recognition is judged."""

import re

_NUMBERS = {
    "0": "zero", "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six",
    "7": "seven", "8": "eight", "9": "nine", "10": "ten",
}  # fmt: skip


def words(text: str) -> list[str]:
    """Words in lower case, small numbers spelled out."""
    found = re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
    return [_NUMBERS.get(word, word) for word in found]


def word_error_rate(said: str, heard: str) -> float:
    """Levenshtein distance over words, divided by the words of ``said``."""
    a, b = words(said), words(heard)
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            previous, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, previous + (left != right)),
            )
    return row[-1] / max(1, len(a))
