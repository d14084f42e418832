"""The validator itself: a good stream passes, and every way to break it is detected."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from gateway.channels.wire.wire_format import RealtimeWireFormat
from sessions.core.config import Extension, SessionConfig
from sessions.core.items import Item, ReplyStatus
from sessions.core.notices import (
    HearingWaits,
    InputCommitted,
    ItemAdded,
    LanguageChanged,
    Notice,
    PlayoutBegan,
    PlayoutEnded,
    PlayoutHeld,
    PlayoutResumed,
    ReplyCreated,
    ReplyDone,
    ReplyItemAdded,
    ReplyText,
    SessionOpened,
    SpeechStarted,
    SpeechStopped,
    TranscriptFinal,
    TranscriptPartial,
)

from .protocol_validator import OutOfOrder, check_stream

Event = dict[str, Any]

NOTICES: list[Notice] = [
    SessionOpened(SessionConfig()),
    SpeechStarted("item_1", 0),
    TranscriptPartial("item_1", "do you"),
    TranscriptPartial("item_1", "do you open"),
    SpeechStopped("item_1", 16_000),
    InputCommitted("item_1", None),
    ItemAdded(Item("item_1", "user", "", spoken=True), None),
    TranscriptFinal("item_1", "do you open", 1.0),
    ReplyCreated("resp_1", "item_2", False),
    ReplyItemAdded("resp_1", "item_2", "item_1", False),
    ReplyText("resp_1", "item_2", "Yes, ", False),
    ReplyText("resp_1", "item_2", "we do.", False),
    ReplyDone(
        "resp_1", "item_2", ReplyStatus.COMPLETED, None, "Yes, we do.", "Yes, we do.", False, 3, 4
    ),
]


def stream() -> list[Event]:
    wire_format = RealtimeWireFormat("call_1")
    return [event for notice in NOTICES for event in wire_format.render(notice)]


def test_a_good_stream_passes_wherever_it_stops() -> None:
    events = stream()
    for length in range(len(events) + 1):
        check_stream(events[:length])


PLACES = range(len(stream()))
TRANSCRIPT_DELTA = "conversation.item.input_audio_transcription.delta"
"""May be sent again: the text heard in the end may differ from all that was sent before."""
ONCE = [place for place in PLACES if stream()[place]["type"] != TRANSCRIPT_DELTA]


@pytest.mark.parametrize("place", ONCE)
def test_an_event_sent_twice_is_out_of_order(place: int) -> None:
    events = stream()
    again = events[place] | {"event_id": "event_again"}
    with pytest.raises(OutOfOrder):
        check_stream([*events[: place + 1], again, *events[place + 1 :]])


@pytest.mark.parametrize("place", PLACES[:-1], ids=[event["type"] for event in stream()[:-1]])
def test_only_independent_events_may_change_places(place: int) -> None:
    events = stream()
    first, second = events[place : place + 2]
    events[place : place + 2] = [second, first]
    if _independent(first, second):
        check_stream(events)
    else:
        with pytest.raises(OutOfOrder):
            check_stream(events)


def _independent(first: Event, second: Event) -> bool:
    """Neighbours of which neither needs the other, in this stream."""
    pair = first["type"], second["type"]
    return pair in {
        (
            "input_audio_buffer.speech_started",
            "conversation.item.input_audio_transcription.delta",
        ),
        (
            "conversation.item.input_audio_transcription.delta",
            "input_audio_buffer.speech_stopped",
        ),
        ("conversation.item.done", "conversation.item.input_audio_transcription.delta"),
        ("response.output_item.done", "conversation.item.done"),
        ("conversation.item.done", "response.done"),
    }


PLAYOUT: list[Notice] = [
    PlayoutBegan("resp_1", "item_2"),
    PlayoutHeld("resp_1", "item_2", 300),
    PlayoutResumed("resp_1", "item_2"),
    PlayoutEnded("resp_1", "item_2"),
]


@pytest.mark.parametrize("left_out", range(len(PLAYOUT) - 1))
def test_playout_that_skips_is_out_of_order(left_out: int) -> None:
    wire_format = RealtimeWireFormat("call_1")
    asked = SessionOpened(SessionConfig(extensions=frozenset({Extension.PLAYOUT})))
    told = [event for notice in (asked, *NOTICES[1:-1]) for event in wire_format.render(notice)]
    playout = [event for notice in PLAYOUT for event in wire_format.render(notice)]
    done = wire_format.render(NOTICES[-1])
    check_stream([*told, *playout, *done])
    with pytest.raises(OutOfOrder):
        check_stream([*told, *playout[:left_out], *playout[left_out + 1 :], *done])
    with pytest.raises(OutOfOrder):
        check_stream([*told, *playout, done[-1], *done[:-1]])


def _set(kind: str, *path: Any, to: Any) -> Callable[[list[Event]], None]:
    def change(events: list[Event]) -> None:
        value: Any = next(event for event in events if event["type"] == kind)
        for name in path[:-1]:
            value = value[name]
        value[path[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("response.created", "type", to="response.began"),
        _set("response.created", "surprise", to=1),
        _set("response.created", "response", "surprise", to=1),
        _set("response.created", "response", "status", to="completed"),
        _set("response.created", "event_id", to=""),
        _set("response.output_item.added", "response_id", to="resp_2"),
        _set("response.output_item.added", "output_index", to=1),
        _set("response.output_text.delta", "item_id", to="item_3"),
        _set("response.output_text.delta", "content_index", to=1),
        _set("response.output_text.done", "text", to="No."),
        _set("response.content_part.done", "part", "text", to="No."),
        _set("response.done", "response", "output", to=[]),
        _set("response.done", "response", "usage", "total_tokens", to=1),
        _set("response.done", "response", "conversation_id", to=None),
        _set("conversation.item.added", "previous_item_id", to="item_7"),
        _set("conversation.item.input_audio_transcription.completed", "transcript", to="do"),
        _set("conversation.item.input_audio_transcription.completed", "item_id", to="item_7"),
        _set("input_audio_buffer.speech_stopped", "item_id", to="item_7"),
        lambda events: events.append(copy.deepcopy(events[-1])),
        lambda events: events.pop(0),
    ],
)
def test_strange_events_ids_and_fields(change: Callable[[list[Event]], None]) -> None:
    events = stream()
    change(events)
    with pytest.raises(OutOfOrder):
        check_stream(events)


OWN: list[Notice] = [
    LanguageChanged(SessionConfig(language="es", extensions=frozenset(Extension)), "item_1", 0.97),
    HearingWaits("item_1", 2),
]


@pytest.mark.parametrize("notice", OWN, ids=lambda notice: type(notice).__name__)
def test_what_is_said_about_a_turn_follows_its_beginning(notice: Notice) -> None:
    wire_format = RealtimeWireFormat("call_1")
    asked = SessionOpened(SessionConfig(extensions=frozenset(Extension)))
    begun, started = wire_format.render(asked), wire_format.render(NOTICES[1])
    (own,) = wire_format.render(notice)
    check_stream([*begun, *started, own])
    with pytest.raises(OutOfOrder):
        check_stream([*begun, own, *started])
    with pytest.raises(OutOfOrder):
        check_stream([*begun, *started, own | {"probability": 1.2, "ahead": -1}])
