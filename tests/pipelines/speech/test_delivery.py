"""Preparing a text for delivery: by a guarded chat model, and by punctuation rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.scripted.live import ScriptedChatModel
from pipelines.speech.delivery import Prepared, prepare, punctuated, reported, unchanged

TEXT = "Hello there I am fine it costs 3.50 and not -5 don't you see"


@pytest.mark.parametrize(
    "script",
    [
        TEXT.replace("3.50", "3,50"),
        TEXT.replace("-5", "5"),
        TEXT.replace("don't", "do not"),
        TEXT.replace("fine", "well"),
        "Sure! " + TEXT,
        TEXT[:-4],
        TEXT + " <laugh>",
    ],
)
def test_a_changed_word_is_detected(script: str) -> None:
    assert not unchanged(TEXT, script)


def test_punctuation_and_allowed_tags_change_nothing() -> None:
    script = "Hello there! I am fine: it costs 3.50, and not -5. <sigh> Don't you see?"
    assert unchanged(TEXT, script, ("laugh", "sigh"))
    assert not unchanged(TEXT, script, ("laugh",))
    assert not unchanged("कि", "का")


@given(st.text(min_size=1, max_size=200))
def test_every_text_equals_itself(text: str) -> None:
    assert unchanged(text, text)


async def test_delivery_is_applied_or_left_to_the_rules() -> None:
    chat = ScriptedChatModel(("Hello, there. <laugh>",))
    done = await prepare("hello there", "en", "expressive", chat)
    assert done == Prepared("Hello, there. <laugh>", "expressive", "model")
    assert reported("expressive", done) is None
    chat = ScriptedChatModel(("Hello, there. <laugh>",))
    done = await prepare("hello there", "de", "expressive", chat)
    assert done == Prepared("hello there.", "natural", "rules", "words_changed")
    said = reported("expressive", done)
    assert said is not None
    assert said.startswith("Only punctuation was changed")
    chat = ScriptedChatModel(("<think>A comma.</think>Hello, there.",))
    done = await prepare("hello there", "en", "natural", chat)
    assert done == Prepared("Hello, there.", "natural", "model")
    done = await prepare("hello there", "en", "natural", None)
    assert done == Prepared("hello there.", "natural", "rules", "model_unavailable")
    assert reported("natural", done) is None


async def test_a_delivery_that_changed_nothing_says_so() -> None:
    chat = ScriptedChatModel(("Hello there.",))
    done = await prepare("Hello there.", "en", "natural", chat)
    assert done == Prepared("Hello there.", "verbatim")
    said = reported("natural", done)
    assert said == "delivery 'natural' changed nothing: the text is spoken as it was sent."
    assert reported("verbatim", Prepared("Hello there.", "verbatim")) is None
    said = reported("natural", await prepare("x" * 30_000 + ".", "en", "natural", chat))
    assert said is not None
    assert "up to 20000 characters" in said


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
def test_missing_punctuation_is_added(language: str, text: str, expected: str | None) -> None:
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
