"""Cursors: our own are decoded, others are refused."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.http.errors import ValidationFailed
from rest.http.pagination import Cursors
from store.ids import new_id

OURS = Cursors(b"a" * 32)


def test_a_cursor_decodes_to_its_id_and_does_not_show_it() -> None:
    id = new_id("job")
    cursor = OURS.encode(id)
    assert OURS.decode(cursor) == id
    assert id not in cursor
    assert len(cursor) < 100
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_every_changed_character_is_noticed() -> None:
    cursor = OURS.encode(new_id("job"))
    for place, char in enumerate(cursor):
        changed = cursor[:place] + ("A" if char != "A" else "B") + cursor[place + 1 :]
        with pytest.raises(ValidationFailed):
            OURS.decode(changed)


@pytest.mark.parametrize("more", ["=", "A", " ", "\n"])
def test_a_cursor_with_extra_text_is_refused(more: str) -> None:
    with pytest.raises(ValidationFailed):
        OURS.decode(OURS.encode(new_id("job")) + more)


def test_a_cursor_under_another_secret_is_refused() -> None:
    with pytest.raises(ValidationFailed) as caught:
        OURS.decode(Cursors(b"b" * 32).encode(new_id("job")))
    assert (caught.value.status, caught.value.param) == (400, "cursor")
    with pytest.raises(ValidationFailed):
        OURS.decode(OURS.encode("no id"))


@given(st.text(max_size=60))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed):
        OURS.decode(text)


@dataclass
class Thing:
    id: str


async def test_a_page_says_whether_there_is_more_and_where() -> None:
    cursors = Cursors(bytes(32))
    things = [Thing(new_id("thing")) for _ in range(3)]

    async def fetch(after: str | None, limit: int) -> list[Thing]:
        start = next((place + 1 for place, one in enumerate(things) if one.id == after), 0)
        return things[start : start + limit]

    first = await cursors.page(Query(None, 2), fetch, lambda thing: thing.id)
    assert (first.data, first.has_more) == ([one.id for one in things[:2]], True)
    last = await cursors.page(Query(first.next_cursor, 2), fetch, lambda thing: thing.id)
    assert (last.data, last.next_cursor, last.has_more) == ([things[2].id], None, False)
    with pytest.raises(ValidationFailed):
        await cursors.page(Query("made up", 2), fetch, lambda thing: thing.id)


@dataclass
class Query:
    cursor: str | None
    limit: int
