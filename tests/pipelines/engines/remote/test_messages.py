"""The protocol of the engine process: whatever is sent is read as it was, or refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.engines import base
from pipelines.engines.chat.choice import ChatChoice
from pipelines.engines.engine import EngineStatus, Role
from pipelines.engines.jobs import Segment, Transcribed
from pipelines.engines.remote import messages
from pipelines.engines.remote.messages import (
    Audio,
    Calls,
    Cancel,
    Failed,
    Grant,
    Item,
    Loads,
    Request,
    Result,
    State,
    Traits,
    encode,
    packed,
    read_answer,
    read_request,
)

TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 2**63 - 1)
FEW = st.integers(0, 1000)
SHARE = st.floats(0, 1)
JSON = st.dictionaries(TEXT, st.recursive(TEXT | SHARE, lambda one: st.lists(one, max_size=2)))

st.register_type_strategy(str, TEXT)
st.register_type_strategy(bytes, st.binary(max_size=200))


def made(kind: type[Any], **fields: Any) -> st.SearchStrategy[Any]:
    """Any value of a type, by its annotations."""
    return st.builds(kind, **fields)


WORD = made(base.Word, start=NUMBER, end=NUMBER, confidence=SHARE)
TRANSCRIPTION = made(base.Transcription, words=st.lists(WORD, max_size=3).map(tuple))
STATUS = made(
    EngineStatus,
    load_seconds=SHARE,
    languages=st.lists(TEXT, max_size=3).map(tuple),
    word_errors=st.dictionaries(TEXT, SHARE, max_size=2),
)
TRAITS = made(Traits, sample_rate=FEW)
LOAD = made(base.HearingLoad, running=FEW, waiting=FEW, places=FEW)
BINDING = made(messages.Binding, recipe=st.none() | JSON, emotion=st.none() | st.integers(0, 100))
REQUESTS = st.one_of(
    [
        made(
            kind,
            **{
                name: strategy
                for name, strategy in {
                    "id": NUMBER,
                    "patience": SHARE,
                    "utterance": NUMBER,
                    "max_tokens": FEW,
                    "temperature": SHARE,
                    "speed": SHARE,
                    "binding": st.none() | BINDING,
                }.items()
                if name in kind.__struct_fields__
            },
        )
        for kind in Request.__subclasses__()
    ]
)
OTHERS = st.one_of(
    made(Audio, id=NUMBER), made(Cancel, id=NUMBER), made(Calls, active=FEW),
    made(Grant, id=NUMBER, items=FEW),
)  # fmt: skip
ANSWERS = st.one_of(
    made(
        State,
        statuses=st.lists(STATUS, max_size=3).map(tuple),
        loaded=st.lists(TRAITS, max_size=3).map(tuple),
        choice=st.none() | made(ChatChoice),
        calls=FEW,
    ),
    made(Loads, by_model=st.dictionaries(TEXT, LOAD, max_size=3)),
    made(Failed, id=NUMBER),
    made(Grant, id=NUMBER, items=FEW),
)
VALUES = st.one_of(
    made(
        base.ChatDelta, prompt_tokens=FEW, completion_tokens=FEW, cached_tokens=FEW,
        calls=st.lists(made(base.ToolCallDelta, index=FEW), max_size=2).map(tuple),
    ),
    TRANSCRIPTION,
    made(base.DetectedLanguage, probability=SHARE),
    made(
        Transcribed, done=NUMBER,
        segment=st.none() | made(
            Segment, start=NUMBER, end=NUMBER, words=st.lists(WORD, max_size=2).map(tuple)
        ),
    ),
    TRAITS, TEXT, SHARE, st.none(), st.binary(max_size=200),
)  # fmt: skip


@given(REQUESTS | OTHERS)
def test_a_request_is_read_as_it_was_sent(message: Any) -> None:
    assert read_request(encode(message)) == message


@given(ANSWERS)
def test_an_answer_is_read_as_it_was_sent(message: Any) -> None:
    assert read_answer(encode(message)) == message


@given(NUMBER, VALUES, st.sampled_from([Item, Result]))
def test_what_an_engine_says_is_read_as_it_was_said(
    number: int, value: Any, kind: type[Item] | type[Result]
) -> None:
    message = read_answer(encode(kind(number, packed(value))))
    assert isinstance(message, kind)
    assert message.id == number
    assert msgspec.msgpack.decode(message.value, type=type(value)) == value


@example(b"\x91\xa6\x00\x00\x00\x00\x00\x80")
@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    for read in (read_request, read_answer):
        try:
            message = read(data)
        except msgspec.MsgspecError:
            continue
        assert read(encode(message)) == message


@given(REQUESTS, st.data())
def test_a_message_that_was_cut_is_refused(message: Any, data: st.DataObject) -> None:
    whole = encode(message)
    with pytest.raises(msgspec.MsgspecError):
        read_request(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_every_request_is_one_of_those_that_are_read() -> None:
    kinds = set(messages.ToEngines.__args__)
    assert set(Request.__subclasses__()) <= kinds


@pytest.mark.parametrize(
    "kind", [base.EngineError, base.EngineFailed, base.EngineBusy, base.ModelUnavailable]
)
def test_an_error_keeps_its_kind_and_a_derived_one_becomes_a_failure(
    kind: type[base.EngineError],
) -> None:
    class Derived(kind):  # type: ignore[valid-type,misc]
        pass

    assert type(Failed.of(1, kind("why")).error) is kind
    assert type(Failed.of(1, Derived("why")).error) is base.EngineFailed
    assert str(Failed.of(1, kind("why")).error) == "why"
    assert type(Failed(1, "Unheard", "why").error) is base.EngineFailed
    assert Role.CHAT == "chat"
