"""Delivery: what a chat model may change, and what is spoken where it changed more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.scripted import ScriptedChatModel
from pipelines.prosody import prepare, unchanged

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


async def test_delivery_is_applied_or_says_why_not() -> None:
    chat = ScriptedChatModel(("Hello, there. <laugh>",))
    done = await prepare("hello there", "en", "expressive", chat)
    assert (done.script, done.applied, done.reason) == ("Hello, there. <laugh>", "expressive", None)
    chat = ScriptedChatModel(("Hello, there. <laugh>",))
    done = await prepare("hello there", "de", "expressive", chat)
    assert (done.script, done.applied) == ("hello there", "verbatim")
    assert done.reason == "words_changed"
    chat = ScriptedChatModel(("<think>A comma.</think>Hello, there.",))
    done = await prepare("hello there", "en", "natural", chat)
    assert (done.script, done.applied) == ("Hello, there.", "natural")
    done = await prepare("hello there", "en", "natural", None)
    assert (done.script, done.reason) == ("hello there", "model_unavailable")
