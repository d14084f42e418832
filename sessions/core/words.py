"""Words of a transcript, as the core compares them."""

import re

_WORD = re.compile(r"[\w']+")


def words_of(text: str) -> list[str]:
    """The words of ``text``, lower case, without punctuation."""
    return _WORD.findall(text.lower().replace("’", "'"))
