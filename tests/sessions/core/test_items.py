"""Items in order."""

import pytest

from sessions.core.items import MAXIMUM_ITEMS, DuplicateItem, Item, Transcript, UnknownItem


def item(item_id: str, text: str = "x") -> Item:
    return Item(item_id, "user", text)


def filled(*ids: str) -> Transcript:
    transcript = Transcript()
    for item_id in ids:
        transcript.add(item(item_id))
    return transcript


@pytest.mark.parametrize(
    ("after", "order", "previous"),
    [(None, "abx", "b"), ("root", "xab", None), ("a", "axb", "a"), ("b", "abx", "b")],
)
def test_insertion(after: str | None, order: str, previous: str | None) -> None:
    transcript = filled("a", "b")
    assert transcript.add(item("x"), after) == previous
    assert "".join(i.item_id for i in transcript) == order
    assert "".join(i.item_id for i in reversed(transcript)) == order[::-1]


def test_refusals() -> None:
    transcript = filled("a")
    with pytest.raises(DuplicateItem):
        transcript.add(item("a"))
    with pytest.raises(UnknownItem):
        transcript.add(item("b"), "nowhere")
    for act in (transcript.get, transcript.delete):
        with pytest.raises(UnknownItem):
            act("b")
    with pytest.raises(UnknownItem):
        transcript.update("b", text="")


@pytest.mark.parametrize("after", [None, "root", "0"])
def test_the_oldest_item_is_dropped_and_never_the_newest(after: str | None) -> None:
    transcript = filled(*map(str, range(MAXIMUM_ITEMS)))
    transcript.add(item("x"), after)
    assert len(transcript) == MAXIMUM_ITEMS
    assert transcript.get("x")
    with pytest.raises(UnknownItem):
        transcript.get("0")


def test_an_item_is_whole_where_all_of_it_was_heard() -> None:
    transcript = filled("u")
    transcript.add(Item("a", "assistant", "", "in_progress", spoken=True))
    assert transcript.update("a", text="Hello there.", heard="Hello").status == "incomplete"
    assert transcript.update("a", text="Hello", heard="Hello").status == "completed"
