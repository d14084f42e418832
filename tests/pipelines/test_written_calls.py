"""Calls written as text: cut anywhere, they are the same calls, and text stays text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.written_calls import CLOSE, LIMIT, OPEN, CallReader

NAMES = frozenset({"get_weather", "book"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)
CALLS = st.tuples(st.sampled_from(sorted(NAMES)), ARGUMENTS)
TEXT = st.text(max_size=40).filter(lambda text: OPEN not in text and "{" not in text)


def read(text: str, cuts: list[int]) -> tuple[str, list[tuple[str, object]]]:
    reader, said, calls, start = CallReader(NAMES), "", [], 0
    for cut in [*sorted(cut % (len(text) + 1) for cut in cuts), len(text)]:
        more, found = reader.feed(text[start:cut])
        said, calls, start = said + more, calls + found, cut
    more, found = reader.flush()
    calls += found
    assert [call.index for call in calls] == list(range(len(calls)))
    return said + more, [(call.name, json.loads(call.arguments)) for call in calls]


def written(name: str, arguments: object) -> str:
    return json.dumps({"name": name, "arguments": arguments})


@given(before=TEXT, calls=st.lists(CALLS, max_size=3), cuts=st.lists(st.integers(0), max_size=12))
def test_tagged_calls_are_found_however_the_stream_is_cut(
    before: str, calls: list[tuple[str, object]], cuts: list[int]
) -> None:
    text = before + "".join(f"{OPEN}\n{written(*call)}\n{CLOSE}" for call in calls)
    assert read(text, cuts) == (before, calls)


@given(call=CALLS, cuts=st.lists(st.integers(0), max_size=12), after=TEXT)
def test_an_object_at_the_very_beginning_is_a_call_and_ends_the_answer(
    call: tuple[str, object], cuts: list[int], after: str
) -> None:
    assert read(f"\n{written(*call)}\n{after}", cuts) == ("", [call])


@given(text=st.text(alphabet='<tool_ca>/{}" \\namew:,', max_size=60), cuts=st.lists(st.integers(0)))
def test_what_is_no_call_is_text_unchanged(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == (text, [])


def test_text_that_cannot_be_a_tag_flows_at_once() -> None:
    assert CallReader(NAMES).feed("Good morning, 3 < 4") == ("Good morning, 3 < 4", [])


def test_a_tool_that_was_not_offered_is_no_call() -> None:
    text = written("rm", {"path": "/"})
    assert read(text, []) == (text, [])


def test_an_object_without_end_is_let_go_at_the_limit() -> None:
    reader = CallReader(NAMES)
    said, _ = reader.feed("{" * (LIMIT + 1))
    assert said == "{" * (LIMIT + 1)
