"""Markup is removed, ambiguous text stays, however the text is split into deltas."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.speech.spoken_form import LONGEST, SpokenForm


def spoken(pieces: Sequence[str]) -> str:
    form = SpokenForm()
    return "".join([form.feed(piece) for piece in pieces]) + form.flush()


@pytest.mark.parametrize(
    ("text", "speech"),
    [
        ("1. A\n   1. a\n   2. b\n2. B\n3. C", "A\na\nb\nB\nC"),
        ("I love *music* and *laughing*.", "I love music and laughing."),
        ("1. High usage: a lot.\n2. Overheating: hot.", "High usage: a lot.\nOverheating: hot."),
        ("Sure:\n\n1. Paris\n\n2. Rome\n", "Sure:\nParis\nRome\n"),
        ("1. Paris is nice. 2. Rome is old.", "Paris is nice. Rome is old."),
        ("1) Paris\n2) Rome", "Paris\nRome"),
        ("- one\n* two\n• three\n  - four", "one\ntwo\nthree\nfour"),
        ("# Title\n\n## **Bold** and `code`", "Title\nBold and code"),
        ("> quoted\n> - again", "quoted\nagain"),
        ("***\nA\n---\nB", "A\nB"),
        ("```python\nprint(1)\n```\nDone.", "print(1)\nDone."),
        ("| City | Country |\n|---|:---:|\n| Rome | Italy |", "City , Country \nRome , Italy "),
        ("See [the page](https://example.org/a_(b)) now.", "See the page now."),
        ("Paris[1] is the capital.[2,3]", "Paris is the capital."),
        ("I *really* mean _it_ and __that__ and ~~this~~.", "I really mean it and that and this."),
    ],
)
def test_markup_is_left_out(text: str, speech: str) -> None:
    assert spoken([text]) == speech
    assert spoken(list(text)) == speech


@pytest.mark.parametrize(
    ("text", "speech"),
    [
        ("[laughs] Hello.", "Hello."),
        ("Well [sighs softly] yes.", "Well yes."),
        ("(pauses) Good morning.", "Good morning."),
        ("Hello. (in a warm voice) How are you?", "Hello. How are you?"),
        ("*smiles* Good morning.", "Good morning."),
        ("Good morning! *tilts head and waves*", "Good morning! "),
        ("Sure. *takes a deep breath* Then we start.", "Sure. Then we start."),
        ("[EXCITED] Great!", "Great!"),
        ("[pause 2 seconds] Go.", "Go."),
        ("Let me see. (pause) Yes.", "Let me see. Yes."),
        ("*räuspert sich* Guten Tag.", "Guten Tag."),
        ('<speak>Hello<break time="1s"/>there.</speak>', "Hello there."),
        ('<prosody rate="slow">Take</prosody> your time.', "Take your time."),
        ("<say-as interpret-as='digits'>12</say-as> it is", "12 it is"),
        ("Hello <laugh> there", "Hello there"),
        ("<answer>Yes.</answer>", "Yes."),
        ("one<br>two <!-- three --> four", "one two four"),
    ],
)
def test_directions_are_left_out(text: str, speech: str) -> None:
    assert spoken([text]) == speech
    assert spoken(list(text)) == speech


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and c > d, stop",
        "if a <b then c> d",
        "The phone (voice) and the category (music) are new.",
        "Call (555) 0199, it is free.",
        "We are open (closed on Sundays) until five.",
        "(pause the video) and (I laugh a lot)",
        "He said [the president] would come [0, 1].",
        "2 * 3 = 6 and 2*3*4",
        "Press <Enter> or <Tab>.",
        "the snake_case name",
        "1. April ist ein Feiertag.",
        "24. Dezember",
        "1.",
        "3. The third one.",
        "It costs 5 ~ 6 euros, in 2024. 10 of them.",
        "-5 degrees, #1 and C#",
        "a | b",
        "Hello there! I am here :) and (",
        "She laughs. A pause follows.",
        "Line one.\nLine two.",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert spoken([text]) == text
    assert spoken(list(text)) == text


SIGNS = (
    r"* ** _ ` ``` ~~ # | --- [ ] ( ) ]( < > / br laughs softly word Word a= !-- --> : April 1 2 …"
)
PARTS = st.lists(
    st.sampled_from((*SIGNS.split(), '"x"', "- ", "1. ", "2. ", ". ", ", ", "\n", " ")), max_size=16
).map("".join)


@given(PARTS, st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_the_split_into_deltas_does_not_matter(text: str, widths: list[int]) -> None:
    pieces, start = [], 0
    while start < len(text):
        width = widths[len(pieces) % len(widths)]
        pieces.append(text[start : start + width])
        start += width
    assert spoken(pieces) == spoken([text])


@given(st.sampled_from("<[(*_`|1-#>"), st.sampled_from(("a", " ", "a ", "(", "- ", "=")))
def test_little_text_is_held_back(sign: str, more: str) -> None:
    form = SpokenForm()
    came = len(form.feed("Well, " + sign + more * 2 * LONGEST))
    assert came > LONGEST - 20


@given(st.text(alphabet="abc ,.", max_size=80), st.integers(1, 5))
def test_plain_text_flows_at_once(text: str, width: int) -> None:
    form = SpokenForm()
    came = ""
    for start in range(0, len(text), width):
        came += form.feed(text[start : start + width])
        assert came == text[: start + width].lstrip(" ")
