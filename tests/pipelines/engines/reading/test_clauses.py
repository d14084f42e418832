"""Cutting text: clauses of token streams and whole texts, sentences for translators."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.reading.clauses import LONGEST_SENTENCE, ClauseSplitter, sentences, speakable


def split(text: str, width: int = 3) -> list[str]:
    splitter = ClauseSplitter()
    clauses = []
    for start in range(0, len(text), width):
        clauses += splitter.feed(text[start : start + width])
    return clauses + splitter.flush()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Paris. It is in France.", ["Paris.", " It is in France."]),
        ("Sure, I can do that for you.", ["Sure, I can do that for you."]),
        (
            "I can help with that, just tell me the day.",
            ["I can help with that,", " just tell me the day."],
        ),
        ("Dr. Smith is at 3.5 miles, e.g. there.", ["Dr. Smith is at 3.5 miles,", " e.g. there."]),
        ("First\nSecond", ["First\n", "Second"]),
        ("Is it? Yes! Good.", ["Is it?", " Yes!", " Good."]),
        ("そうです。はい、どうぞ。", ["そうです。", "はい、どうぞ。"]),
    ],
)
def test_cuts_where_a_voice_would(text: str, clauses: list[str]) -> None:
    assert split(text) == clauses


def test_the_first_clause_does_not_wait_for_the_blank_behind_it() -> None:
    splitter = ClauseSplitter()
    assert splitter.feed("The capital is Paris.") == ["The capital is Paris."]
    assert splitter.feed(" It is old.") == []
    assert splitter.flush() == [" It is old."]


def test_later_clauses_stay_whole_sentences() -> None:
    text = "Well of course, my friend. Then we go home, eat something, and sleep."
    assert split(text)[-1] == " Then we go home, eat something, and sleep."


def test_a_long_clause_is_cut_at_a_breathing_point() -> None:
    text = "a " + "very " * 20 + "long story and " + "then " * 30
    assert len(split(text)) > 1


@given(st.text(alphabet=st.sampled_from("ab,. !?\n-:;1"), max_size=400), st.integers(1, 9))
def test_nothing_is_lost_and_little_is_held(text: str, width: int) -> None:
    splitter = ClauseSplitter()
    out = []
    for start in range(0, len(text), width):
        out += splitter.feed(text[start : start + width])
    rest = splitter.flush()
    assert "".join(out + rest) == text
    assert sum(map(len, rest)) <= 240 + width


@pytest.mark.parametrize(
    ("clause", "speech"),
    [
        ("**Bold** and `code`", "Bold and code"),
        ("High usage\n", "High usage."),
        ("High usage:\n", "High usage:"),
        ("Great 👍🏽 then ❤️", "Great then"),
        ("👍", ""),
        (" -- ", ""),
        ("", ""),
    ],
)
def test_markup_is_not_spoken(clause: str, speech: str) -> None:
    assert speakable(clause) == speech


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("One. Two!  Three?", ["One.", "Two!", "Three?"]),
        ("no end", ["no end"]),
        ('"Go." She went.', ['"Go."', "She went."]),
        ("Mr. Smith paid 3.50 to J. Doe. Fine.", ["Mr. Smith paid 3.50 to J. Doe.", "Fine."]),
        ("a line\nanother line", ["a line", "another line"]),
        ("今日は。元気？はい", ["今日は。", "元気？", "はい"]),
        ("Das ist z.B. gut. Ja…  Nein", ["Das ist z.B. gut.", "Ja…", "Nein"]),
    ],
)  # fmt: skip
def test_a_text_is_cut_at_the_ends_of_its_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_no_sentence_is_too_long() -> None:
    words = " ".join(f"word{n}" for n in range(300))
    pieces = sentences(words)
    assert " ".join(pieces) == words
    assert max(map(len, pieces)) <= LONGEST_SENTENCE
    assert "".join(sentences("x" * 1000)) == "x" * 1000
