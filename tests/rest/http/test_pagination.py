"""Cursors: ours come back, others are refused."""

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
def test_nothing_may_be_added(more: str) -> None:
    with pytest.raises(ValidationFailed):
        OURS.decode(OURS.encode(new_id("job")) + more)


def test_anothers_cursor_is_refused() -> None:
    with pytest.raises(ValidationFailed) as caught:
        OURS.decode(Cursors(b"b" * 32).encode(new_id("job")))
    assert (caught.value.status, caught.value.param) == (400, "cursor")
    with pytest.raises(ValidationFailed):
        OURS.decode(OURS.encode("no id"))


@given(st.text(max_size=60))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed):
        OURS.decode(text)
