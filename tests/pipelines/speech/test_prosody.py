"""Delivery: what a chat model may change, and what is spoken where it changed more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.scripted.live import ScriptedChatModel
from pipelines.speech.prosody import Prepared, prepare, reported, unchanged

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
def test_a_changed_word_is_seen(script: str) -> None:
    assert not unchanged(TEXT, script)


def test_punctuation_and_allowed_tags_change_nothing() -> None:
    script = "Hello there! I am fine: it costs 3.50, and not -5. <sigh> Don't you see?"
    assert unchanged(TEXT, script, ("laugh", "sigh"))
    assert not unchanged(TEXT, script, ("laugh",))
    assert not unchanged("कि", "का")


@given(st.text(min_size=1, max_size=200))
def test_every_text_is_itself(text: str) -> None:
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
