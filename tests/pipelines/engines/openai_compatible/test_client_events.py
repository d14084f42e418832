import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.openai_compatible.client import EventReader, EventTooLong

TEXT = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))


@given(
    events=st.lists(TEXT, max_size=8),
    ending=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    size=st.integers(1, 9),
)
def test_events_survive_any_cutting(events: list[str], ending: bytes, size: int) -> None:
    body = b": hello" + ending
    for event in events:
        body += b"event: x" + ending + b"data: " + event.encode() + ending + ending
    body += b": end" + ending
    reader = EventReader()
    read = [e for at in range(0, len(body), size) for e in reader.feed(body[at : at + size])]
    assert read == events


def test_lines_of_one_event_are_joined_and_the_space_is_optional() -> None:
    assert EventReader().feed(b"data:one\ndata:  two\nid: 7\n\n\n\n") == ["one\n two"]


def test_an_unfinished_event_is_not_returned() -> None:
    assert EventReader().feed(b"data: one\n") == []


@given(st.binary(max_size=400))
def test_any_bytes_are_events_or_an_error(body: bytes) -> None:
    reader = EventReader()
    for event in reader.feed(body) + reader.feed(b"\n\n"):
        assert isinstance(event, str)


@pytest.mark.parametrize("line", [b"x" * 30, b"data: 1\n" * 5])
def test_an_endless_event_is_refused(line: bytes) -> None:
    with pytest.raises(EventTooLong):
        EventReader(limit=20).feed(line)
