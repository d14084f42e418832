"""Where a transcript may end."""

import pytest

from sessions.core.turns.endpointing import Ending, ending_of


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("", Ending.EMPTY),
        (" … ", Ending.EMPTY),
        ("What is the capital of France?", Ending.CLOSED),
        ("book a table on Thursday at seven", Ending.CLOSED),
        ("I am twenty five", Ending.CLOSED),
        ("at 7:30 p.m.", Ending.CLOSED),
        ("that was in 2024.", Ending.CLOSED),
        ("a coffee please", Ending.CLOSED),
        ("Where are you from?", Ending.CLOSED),
        ("what?", Ending.CLOSED),
        ("Yes I have", Ending.CLOSED),
        ("I don't think so", Ending.CLOSED),
        ("two large pizzas and um", Ending.OPEN),
        ("I would like a flight to", Ending.OPEN),
        ("can I get a flight to?", Ending.WEAK),
        ("I would like to book a flight, too.", Ending.WEAK),
        ("Me too.", Ending.CLOSED),
        ("well,", Ending.WEAK),
        ("I wanted to ask whether you", Ending.CLOSED),
        ("tell me about the", Ending.OPEN),
        ("I think I will take them because", Ending.OPEN),
        ("my mail is joe at example dot", Ending.OPEN),
        ("that is S M", Ending.DICTATION),
        ("that is s m i t h", Ending.DICTATION),
        ("my number is five five five", Ending.DICTATION),
        ("my number is 555 12", Ending.DICTATION),
        ("the code is 4 7:30", Ending.DICTATION),
    ],
)
def test_endings(text: str, ending: Ending) -> None:
    assert ending_of(text) is ending


@pytest.mark.parametrize("text", ["Ich rufe dich an", "Vado a Roma, an"])
def test_english_word_lists_do_not_judge_other_languages(text: str) -> None:
    assert ending_of(text, "de-DE") is Ending.CLOSED
    assert ending_of(text) is Ending.OPEN
