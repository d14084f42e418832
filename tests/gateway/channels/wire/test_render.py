"""Server events: each notice in OpenAI's order, valid by the openai package's own types."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from gateway.channels.wire.wire_format import RealtimeWireFormat
from sessions.core.config import Extension, ListedTool, SessionConfig, TurnDetection, TurnMode
from sessions.core.items import Item, ReplyStatus, ToolUse, ToolUseState
from sessions.core.notices import (
    Fault,
    HearingWaits,
    IdleTimeout,
    InputCleared,
    InputCommitted,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    KeyReceived,
    LanguageChanged,
    LanguagesChanged,
    LanguageUnspoken,
    Latency,
    Notice,
    PlayoutBegan,
    PlayoutCleared,
    PlayoutEnded,
    PlayoutHeld,
    PlayoutResumed,
    Pong,
    ReplyCreated,
    ReplyDone,
    ReplyItemAdded,
    ReplyText,
    ReplyToolUse,
    ResumptionHandle,
    SessionChanged,
    SessionOpened,
    SpeechStarted,
    SpeechStopped,
    ToolBegun,
    ToolEnded,
    ToolListing,
    TranscriptFailed,
    TranscriptFinal,
    TranscriptPartial,
)

ALL = SessionConfig(
    extensions=frozenset(
        {
            Extension.LATENCY,
            Extension.TRANSCRIPT_PARTIAL,
            Extension.PLAYOUT,
            Extension.LANGUAGE,
            Extension.HEARING,
            Extension.RESUMPTION,
        }
    )
)
CALL = ToolUse("call_1", "get_weather", "{}")
OURS = ToolUse("call_2", "find", "{}", "shop")

_UNION = get_args(RealtimeServerEvent)[0]
_TYPES: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(_UNION)
}


def validated(event: dict[str, Any]) -> BaseModel:
    """The event by the package's model of its type; lax models, so no field may be unknown."""
    model = _TYPES[event["type"]]
    parsed = TypeAdapter(model).validate_python(event)
    assert set(event) <= {"event_id", *model.model_fields}, event["type"]
    return parsed


def wire_format(config: SessionConfig = ALL, *, playout_events: bool = True) -> RealtimeWireFormat:
    made = RealtimeWireFormat("call_1", playout_events=playout_events)
    made.render(SessionOpened(config))
    return made


def begin(made: RealtimeWireFormat, output_audio: bool) -> None:
    """Have it render a reply's beginning."""
    made.render(ReplyCreated("resp_1", "item_2", output_audio))
    made.render(ReplyItemAdded("resp_1", "item_2", "item_1", output_audio))


def replying(output_audio: bool = True, config: SessionConfig = ALL) -> RealtimeWireFormat:
    """A wire format that has rendered a reply's beginning."""
    made = wire_format(config)
    begin(made, output_audio)
    return made


def kinds(events: Any) -> list[str]:
    return [event["type"] for event in events]


def done(status: ReplyStatus = ReplyStatus.COMPLETED, **changes: Any) -> ReplyDone:
    reply = ReplyDone("resp_1", "item_2", status, None, "Yes, I do.", "Yes, I do.", True, 12, 5)
    return replace(reply, **changes)


NOTICES: list[Notice] = [
    SessionOpened(SessionConfig()),
    SessionOpened(SessionConfig(turn_detection=TurnDetection(TurnMode.SERVER_VAD))),
    SessionChanged(ALL),
    SessionChanged(SessionConfig(turn_detection=TurnDetection(TurnMode.NONE), output_audio=False)),
    LanguageChanged(replace(ALL, language="es"), "item_1", 0.97312),
    LanguageUnspoken("pt", "item_1", 0.97),
    LanguagesChanged(replace(ALL, languages=("en", "de"), coming=("es",))),
    HearingWaits("item_1", 3),
    SpeechStarted("item_1", 16_000),
    SpeechStopped("item_1", 32_000),
    InputCommitted("item_1", None),
    InputCleared(),
    TranscriptPartial("item_1", "do you"),
    TranscriptPartial("item_1", "do you open"),
    TranscriptFinal("item_1", "do you open on Sunday?", 1.5),
    TranscriptFailed("item_1", "PROVIDER_ERROR", "The recogniser failed."),
    ItemAdded(Item("item_9", "user", "Hello"), "item_1"),
    ItemAdded(Item("item_10", "assistant", "Hello", spoken=True), None),
    ItemAdded(Item("item_11", "system", "Be brief."), None),
    ItemRetrieved(Item("item_2", "assistant", "Yes, I do.", "incomplete", True, "Yes,")),
    ItemDeleted("item_2"),
    ItemTruncated("item_2", 420, "Yes,"),
    ReplyCreated("resp_1", "item_2", output_audio=True),
    ReplyItemAdded("resp_1", "item_2", "item_1", output_audio=True),
    ReplyText("resp_1", "item_2", "Yes,", output_audio=True),
    ReplyText("resp_1", "item_2", "Yes,", output_audio=False),
    done(),
    done(output_audio=False),
    done(ReplyStatus.CANCELLED, reason="turn_detected", heard="Yes,"),
    done(ReplyStatus.CANCELLED, reason="call_ended"),
    done(ReplyStatus.INCOMPLETE, reason="max_output_tokens"),
    done(ReplyStatus.FAILED, code="PROVIDER_ERROR", message="It failed."),
    done(tool_uses=(ReplyToolUse(Item("item_3", "assistant", "", tool_use=CALL), "item_2", 1),)),
    done(tool_uses=(ReplyToolUse(Item("item_3", "assistant", "", tool_use=OURS), "item_2", 1),)),
    done(
        tool_uses=(
            ReplyToolUse(
                Item("i", "assistant", "", tool_use=OURS, state=ToolUseState.ASKED), "item_2", 1
            ),
        )
    ),
    ItemAdded(Item("item_12", "user", "", output=("call_1", "rain")), None),
    ItemAdded(Item("item_13", "user", "", approval=("item_3", True)), None),
    ToolBegun("item_4", 0),
    ToolEnded(
        Item("item_4", "assistant", "", tool_use=OURS, output=("call_2", "x")), None, 0, False
    ),
    ToolListing("item_5", "shop", "completed", (ListedTool("find", "Finds.", "{}"),)),
    PlayoutBegan("resp_1", "item_2"),
    PlayoutHeld("resp_1", "item_2", 300),
    PlayoutResumed("resp_1", "item_2"),
    PlayoutEnded("resp_1", "item_2"),
    PlayoutCleared("resp_1", "item_2"),
    KeyReceived("#", 1_700_000_000),
    IdleTimeout(1000, 7000),
    Latency(1, "resp_1", 200, 80, 150, 30, 4, 464),
    Pong("mine"),
    ResumptionHandle("resume.call_1.secret", 60),
    Fault("unknown_event", "No.", "type", "mine"),
    Fault("PROVIDER_ERROR", "No.", server=True),
]


def test_the_list_of_notices_is_complete() -> None:
    assert {type(notice) for notice in NOTICES} == set(get_args(Notice))


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: type(notice).__name__)
def test_every_standard_event_is_valid_and_all_others_are_blabs(notice: Notice) -> None:
    events = (replying() if isinstance(notice, ReplyDone) else wire_format()).render(notice)
    assert events
    for event in events:
        if event["type"].startswith("blab."):
            assert event["type"] not in _TYPES
        else:
            validated(event)


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: type(notice).__name__)
def test_a_strict_client_never_sees_our_own_events(notice: Notice) -> None:
    if isinstance(notice, SessionChanged | SessionOpened | Pong):  # who pings has asked for it
        return
    spoken = wire_format(SessionConfig(), playout_events=False)
    if isinstance(notice, ReplyDone):
        begin(spoken, notice.output_audio)
    if isinstance(notice, LanguageChanged | LanguagesChanged):
        notice = replace(notice, config=SessionConfig(language="es"))
    for event in spoken.render(notice):
        assert not event["type"].startswith(("blab.", "output_audio_buffer."))


def test_a_strict_session_object_has_no_blab() -> None:
    (event,) = RealtimeWireFormat("call_1").render(SessionOpened(SessionConfig()))
    assert "blab" not in event["session"]
    assert event["session"]["id"] == "call_1"


def test_event_ids_are_unique() -> None:
    spoken = wire_format()
    ids = []
    for notice in NOTICES:
        if isinstance(notice, ReplyDone):
            begin(spoken, notice.output_audio)
        ids += [event["event_id"] for event in spoken.render(notice)]
    assert len(ids) == len(set(ids))


def test_a_turn_in_openais_order() -> None:
    spoken = wire_format(SessionConfig(), playout_events=False)
    item = Item("item_1", "user", "", spoken=True)
    told: list[str] = []
    for notice in (
        SpeechStarted("item_1", 0),
        SpeechStopped("item_1", 16_000),
        InputCommitted("item_1", None),
        ItemAdded(item, None),
        TranscriptFinal("item_1", "Do you?", 1.0),
        ReplyCreated("resp_1", "item_2", True),
        ReplyItemAdded("resp_1", "item_2", "item_1", True),
        ReplyText("resp_1", "item_2", "Yes.", True),
        done(),
    ):
        told += kinds(spoken.render(notice))
    assert told == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]


def test_a_text_reply_has_no_audio_events() -> None:
    spoken = wire_format()
    events = [
        *spoken.render(ReplyCreated("resp_1", "item_2", False)),
        *spoken.render(ReplyItemAdded("resp_1", "item_2", "item_1", False)),
        *spoken.render(ReplyText("resp_1", "item_2", "Yes", False)),
        *spoken.render(done(output_audio=False)),
    ]
    assert not [kind for kind in kinds(events) if "audio" in kind]
    response = next(event for event in events if event["type"] == "response.done")["response"]
    assert response["output"][0]["content"] == [{"type": "output_text", "text": "Yes, I do."}]
    assert response["usage"]["total_tokens"] == 17


def test_usage_counts_audio_as_openai_does() -> None:
    spoken = wire_format()
    for item_id, seconds in (("item_1", 1.25), ("item_3", 0.5)):
        spoken.render(TranscriptFinal(item_id, "Hello.", seconds))
    usages = []
    for _ in range(2):
        spoken.render(ReplyCreated("resp_1", "item_2", True))
        spoken.render(ReplyItemAdded("resp_1", "item_2", "item_1", True))
        ended = spoken.render(replace(done(), audio_seconds=2.01, cached_tokens=5))
        whole = next(event for event in ended if event["type"] == "response.done")
        usages.append(whole["response"]["usage"])
    first, second = usages
    assert first["input_token_details"]["cached_tokens"] == 5
    assert first["input_token_details"]["audio_tokens"] == 18
    assert first["output_token_details"]["audio_tokens"] == 41
    assert first["total_tokens"] == 17 + 18 + 41
    assert second["input_token_details"]["audio_tokens"] == 0, "answered audio is counted once"
    assert second["total_tokens"] == 17 + 41


def test_a_cancelled_reply_says_why() -> None:
    events = replying().render(done(ReplyStatus.CANCELLED, reason="turn_detected", heard="Yes,"))
    response = next(event for event in events if event["type"] == "response.done")["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    own = next(event for event in events if event["type"] == "blab.playout.heard")
    assert (own["text"], own["heard"]) == ("Yes, I do.", "Yes,")


def test_a_retrieved_item_holds_what_was_heard() -> None:
    item = Item("item_2", "assistant", "Yes, I do.", "incomplete", True, "Yes,")
    (event,) = wire_format().render(ItemRetrieved(item))
    assert event["item"]["content"] == [{"type": "output_audio", "transcript": "Yes,"}]


def test_words_are_not_sent_if_transcription_is_null() -> None:
    spoken = wire_format(replace(ALL, publishes_transcripts=False, extensions=frozenset()))
    for notice in (
        TranscriptPartial("item_1", "do you"),
        TranscriptPartial("item_1", "do you open"),
        TranscriptFinal("item_1", "do you open", 1.0),
        TranscriptFailed("item_2", "PROVIDER_ERROR", "The recogniser failed."),
    ):
        assert not spoken.render(notice)


def test_a_side_reply_is_no_conversation_item() -> None:
    spoken = wire_format()
    begun = ReplyCreated("resp_1", "item_2", False, metadata=(("a", "b"),), in_conversation=False)
    events = [
        *spoken.render(begun),
        *spoken.render(ReplyItemAdded("resp_1", "item_2", None, False, in_conversation=False)),
        *spoken.render(done(output_audio=False)),
    ]
    assert not [kind for kind in kinds(events) if kind.startswith("conversation.")]
    for event in (events[0], next(e for e in events if e["type"] == "response.done")):
        assert event["response"]["conversation_id"] is None
        assert event["response"]["metadata"] == {"a": "b"}


def test_another_language_is_published_to_clients_that_want_to_know() -> None:
    changed = LanguageChanged(replace(ALL, language="es"), "item_1", 0.97312)
    (event,) = wire_format().render(changed)
    del event["event_id"]
    assert event == {
        "type": "blab.language",
        "item_id": "item_1",
        "language": "es",
        "probability": 0.973,
        "spoken": True,
    }
    strict = replace(changed, config=SessionConfig(language="es"))
    assert not wire_format().render(strict)


def test_a_language_that_is_not_spoken_is_published_as_such() -> None:
    wire = wire_format()
    wire.render(LanguageChanged(ALL, "item_0", 1.0))
    (event,) = wire.render(LanguageUnspoken("pt", "item_1", 0.97))
    shown = (event["type"], event["item_id"], event["language"], event["spoken"])
    assert shown == ("blab.language", "item_1", "pt", False)


def test_languages_that_were_loaded_are_published_to_clients_that_want_to_know() -> None:
    found = LanguagesChanged(replace(ALL, languages=("en", "de"), coming=("es",)))
    (event,) = wire_format().render(found)
    assert event["type"] == "blab.languages"
    assert list(event["languages"]) == ["en", "de"]
    assert list(event["languages_loading"]) == ["es"]
    assert not wire_format().render(replace(found, config=SessionConfig()))


def test_a_wait_for_a_recogniser_is_published_to_clients_that_want_to_know() -> None:
    (event,) = wire_format().render(HearingWaits("item_1", 3))
    del event["event_id"]
    assert event == {"type": "blab.hearing.waiting", "item_id": "item_1", "ahead": 3}
