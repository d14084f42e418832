"""Counting the values of a JSON text without decoding it."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.http.decoding import SLICE_BYTES, ValueCount, holds_more_values, one_long_text

TREES = st.recursive(
    st.integers() | st.text(st.sampled_from('ab",\\[{')),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.sampled_from('ab",\\[{')), inner, max_size=5)
    ),
)


def expected(tree: Any) -> int:
    """One, and one for each container and each further value in one."""
    inner = list(tree.values()) if isinstance(tree, dict) else tree
    if not isinstance(inner, list):
        return 0
    return 1 + max(0, len(inner) - 1) + sum(expected(each) for each in inner)


@given(TREES, st.integers(1, 7))
def test_strings_do_not_count_wherever_the_text_is_cut(tree: Any, step: int) -> None:
    text = json.dumps(tree).encode()
    count = ValueCount()
    for start in range(0, len(text), step):
        count.add(text[start : start + step])
    assert count.values == 1 + expected(tree)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (b"[" + b"{}," * 2_000_000 + b"1]", True),
        (b"[" * 100_000, True),
        (b'["' + b'[{,\\"' * SLICE_BYTES + b'"]', False),
        (b'{"audio": "' + b"A" * 5_000_000 + b'"}', False),
        (b"\\" * 300_000, False),
    ],
)
async def test_long_texts_are_distinguished_from_many_values(text: bytes, more: bool) -> None:
    assert await holds_more_values(text, 20_000) is more


async def test_long_texts_are_decoded_one_by_one_and_the_loop_turns_in_between() -> None:
    turns, decoded_at = 0, []

    async def decode() -> None:
        async with one_long_text():
            decoded_at.append(turns)

    texts = [asyncio.create_task(decode()) for _ in range(5)]
    while not all(text.done() for text in texts):
        turns += 1
        await asyncio.sleep(0)
    assert len(set(decoded_at)) == 5
