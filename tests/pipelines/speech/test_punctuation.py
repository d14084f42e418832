"""Punctuation by rule: marks where they are missing, words as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.speech.prosody import unchanged
from pipelines.speech.punctuation import punctuated


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "en",
            "well i went there and nobody was home so i left it was so funny we laughed all night",
            "well, i went there, and nobody was home, so i left, it was so funny we laughed all"
            " night.",
        ),
        ("en", "what time do you open", "what time do you open?"),
        ("en", "Can you help me", "Can you help me?"),
        ("en", "when i was young we played outside", "when i was young we played outside."),
        ("en", "Do it", "Do it."),
        ("en", "We are open. how late is it", "We are open. how late is it?"),
        ("en", "Chapter one\n\nIt was dark...  and cold , too\nmilk\n", None),
        ("en-GB", "It costs 3.50 and not -5", "It costs 3.50 and not -5."),
        ("en", "home,so see https://example.com/a,b", "home, so see https://example.com/a,b."),
        ("de", "wie viel kostet das", "wie viel kostet das?"),
        (
            "es",
            "bueno yo quería llamar a mi madre pero no tenía el teléfono y entonces salí de casa",
            "bueno, yo quería llamar a mi madre, pero no tenía el teléfono, y entonces salí de"
            " casa.",
        ),
        ("fr", "quand est-ce que le train arrive", "quand est-ce que le train arrive."),
        ("pl", "dzień dobry", "dzień dobry."),
        ("ja", "こんにちは世界", "こんにちは世界。"),
        ("hi", "नमस्ते", "नमस्ते"),
        ("en", "I would like to book a table for two people on Saturday evening at eight.", ""),
        ("en", "*** 12 ***", ""),
    ],
)
def test_what_is_missing_is_added(language: str, text: str, expected: str | None) -> None:
    if expected is None:
        expected = "Chapter one.\n\nIt was dark…  and cold, too.\nmilk.\n"
    assert punctuated(text, language) == (expected or text)


LETTERS = st.sampled_from(list("aeio uwhst\n.,!?…:;-'\"0123456789¿éß@/ñ世"))
WORDS = st.sampled_from(
    "well and so i it was what do you , . ... ? - 3.50 home\n don't a/b x,y <laugh> … « »".split(
        " "
    )
)


@given(
    st.sampled_from(["en", "de", "es", "fr", "it", "pt", "ja", "hi", "sv"]),
    st.one_of(st.text(LETTERS, max_size=80), st.lists(WORDS, max_size=40).map(" ".join)),
)
def test_words_stay_and_twice_is_once(language: str, text: str) -> None:
    once = punctuated(text, language)
    assert unchanged(text, once)
    assert punctuated(once, language) == once
