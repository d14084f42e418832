"""Thoughts are separated from the answer, however the text is split into deltas."""

from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.base import ChatDelta
from pipelines.engines.chat.thoughts import LONGEST, ThoughtFilter, answers


def read(pieces: Sequence[str], *, thinking: bool = False) -> str:
    """The answer as a reader has it who drops what is retracted."""
    thoughts = ThoughtFilter(thinking=thinking)
    answer = ""
    for piece in pieces:
        text, _ = thoughts.feed(piece)
        answer = text if thoughts.retracts else answer + text
    return answer + thoughts.flush()[0]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>The user wants a greeting.</think>Good morning to you.", "Good morning to you."),
        ("<think>\nHm.\n</think>\n\nGood morning.", "Good morning."),
        ("<THINKING>a</THINKING> Hello", "Hello"),
        ("<reasoning effort='high'>a <b> c</reasoning>Hello", "Hello"),
        ("< think >a</ think >Hello", "Hello"),
        ("<reflection>was it?</reflection>Yes.", "Yes."),
        ("Yes. <reflection>was it?</reflection> It was.", "Yes. It was."),
        ("<think>one</think>A<think>two</think>B", "AB"),
        ("<think>never closed", ""),
        ("Sure. <think>never closed", "Sure. "),
        ("the user greets me\n</think>\nHello.", "Hello."),
        ("[THINK]hm[/THINK]Hello", "Hello"),
        ("◁think▷hm◁/think▷Hello", "Hello"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hi.",
         "Hi."),
        ("I think if a < b, then b > a.", "I think if a < b, then b > a."),
        ("<thin> and <thinker> and </b> stay", "<thin> and <thinker> and </b> stay"),
        ("<" + " " * LONGEST + "think>x", "<" + " " * LONGEST + "think>x"),
        ("a <think", "a <think"),
        ("line one\n\n  line two  ", "line one\n\n  line two  "),
    ],
)  # fmt: skip
def test_only_the_answer_is_left(text: str, answer: str) -> None:
    assert read([text]) == answer
    assert read(list(text)) == answer


PARTS = st.lists(
    st.sampled_from(
        ("<think>", "</think>", "<Thinking >", "</thinking>", "<", "</", "thi", "nk", ">", " ",
         "\n", "word", "[THINK]", "[/TH", "INK]", "◁think", "▷", "<|channel|>", "analysis", "b",
         "<|message|>")
    ),
    max_size=14,
).map("".join)  # fmt: skip


@given(PARTS, st.lists(st.integers(1, 7), min_size=1, max_size=9), st.booleans())
def test_the_split_into_deltas_does_not_matter(
    text: str, widths: list[int], thinking: bool
) -> None:
    pieces, start = [], 0
    while start < len(text):
        width = widths[len(pieces) % len(widths)]
        pieces.append(text[start : start + width])
        start += width
    assert read(pieces, thinking=thinking) == read([text], thinking=thinking)


@given(st.text(alphabet="ab <>/.\n[]", max_size=60), st.integers(1, 5))
def test_text_without_a_tag_is_passed_on_unchanged(text: str, width: int) -> None:
    pieces = [text[start : start + width] for start in range(0, len(text), width)]
    assert read(pieces) == text


def test_the_answer_is_not_held_back() -> None:
    thoughts = ThoughtFilter()
    assert thoughts.feed("Good")[0] == "Good"
    assert thoughts.feed(" <")[0] == " "
    assert thoughts.feed(" 5")[0] == "< 5"


def test_thoughts_are_returned_separately() -> None:
    thoughts = ThoughtFilter()
    assert thoughts.feed("<think>Hm. ") == ("", "Hm. ")
    assert thoughts.feed("Yes.</think>\nHello") == ("Hello", "Yes.")


@pytest.mark.parametrize(
    ("text", "answer"),
    [("hm </think>\nHello.", "Hello."), ("Hello.", "Hello."), ("<think>a</think>Hello.", "Hello.")],
)
def test_a_model_known_to_think_first_is_not_passed_on_before_it_has(
    text: str, answer: str
) -> None:
    thoughts = ThoughtFilter(thinking=True)
    shown = "".join(thoughts.feed(letter)[0] for letter in text)
    assert not thoughts.retracts
    assert shown + thoughts.flush()[0] == answer


async def test_a_stream_is_read_and_closed() -> None:
    closed = []

    async def stream() -> AsyncGenerator[ChatDelta, None]:
        try:
            yield ChatDelta("hm</th")
            yield ChatDelta("ink>Hello")
            yield ChatDelta(" <", "stop", 3, 4)
        finally:
            closed.append(True)

    deltas = [delta async for delta in answers(stream())]
    assert deltas == [
        ChatDelta("hm"),
        ChatDelta("Hello", retracts=True),
        ChatDelta(" <", "stop", 3, 4),
    ]
    assert closed


@pytest.mark.parametrize("thinking", [False, True])
async def test_it_may_be_applied_twice(thinking: bool) -> None:
    async def stream() -> AsyncGenerator[ChatDelta, None]:
        for text in ("hm", " so", "</think>", " Hel", "lo"):
            yield ChatDelta(text)

    answer = ""
    async for delta in answers(answers(stream()), thinking=thinking):
        assert not (thinking and delta.retracts), "nothing had been sent yet"
        answer = delta.text if delta.retracts else answer + delta.text
    assert answer == "Hello"


async def test_a_stream_that_ends_without_a_reason_loses_nothing() -> None:
    async def stream() -> AsyncGenerator[ChatDelta, None]:
        yield ChatDelta("Hello <thi")

    assert [delta async for delta in answers(stream())] == [ChatDelta("Hello "), ChatDelta("<thi")]
