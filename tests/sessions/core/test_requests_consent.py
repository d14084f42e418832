"""The consent text of a recorded call is the first thing that is said, and is heard to its end."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, invariant

from sessions.core.config import Recording, SessionConfig, SessionKind
from sessions.core.events import (
    ClearOutput,
    Event,
    RequestCancel,
    RequestReply,
    TruncateItem,
)
from sessions.core.items import ReplyStatus
from sessions.core.notices import Fault, ReplyDone, SpeechStarted
from sessions.core.replies.replies import CALL_RESUMED
from sessions.core.requests import CONSENT_IN_PROGRESS
from sessions.core.states import State
from tests.sessions.core.test_conversation_properties import Calls
from tests.support.examples import examples
from tests.support.sessions.model_shell import ModelShell

TEXT = "This call is recorded."
CONFIG = SessionConfig(recording=Recording(TEXT))


def announcing() -> ModelShell:
    """The agent says the text; two seconds of it are made."""
    shell = ModelShell(CONFIG)
    shell.clause(TEXT, 2_000)
    shell.generated()
    shell.play(0.1)
    assert shell.stands(State.SPEAKING)
    return shell


def test_it_is_said_first_and_recorded_as_a_turn() -> None:
    shell = announcing()
    assert shell.reply.order.script == TEXT
    shell.silence(2_500)
    (record,) = shell.records
    assert (record.reply_text, record.heard_text) == (TEXT, TEXT)
    assert record.status is ReplyStatus.COMPLETED
    shell.ask("what is the capital of france")
    assert shell.reply.order.script is None


def test_speech_over_it_interrupts_nothing_and_is_heard_afterwards() -> None:
    shell = announcing()
    shell.speak(960)
    assert shell.stands(State.SPEAKING)
    assert not [notice for notice in shell.notices if isinstance(notice, SpeechStarted)]
    shell.speak(2_000)
    assert shell.records[0].status is ReplyStatus.COMPLETED
    assert shell.stands(State.USER_SPEAKING)


@pytest.mark.parametrize(
    "event",
    [
        RequestCancel(event_id="e"),
        ClearOutput("e"),
        TruncateItem("item_c_r1", 100, "e"),
    ],
    ids=["cancel", "clear", "truncate"],
)
def test_a_client_cannot_cut_it_off(event: Event) -> None:
    shell = announcing()
    shell.feed(event)
    fault = shell.notices[-1]
    assert isinstance(fault, Fault)
    assert (fault.code, fault.event_id) == (CONSENT_IN_PROGRESS, "e")
    shell.silence(2_500)
    assert shell.records[0].heard_text == TEXT


@pytest.mark.parametrize(
    "event",
    [RequestReply(), RequestReply(script="Hello.", interrupts=True)],
    ids=["answer", "words"],
)
def test_a_reply_that_is_requested_meanwhile_follows_it(event: RequestReply) -> None:
    shell = announcing()
    shell.feed(event)
    shell.silence(2_500)
    assert [record.heard_text for record in shell.records] == [TEXT]
    assert (shell.reply.number, shell.reply.order.script) == (2, event.script)


def test_it_begins_again_where_its_audio_no_longer_fits() -> None:
    shell = announcing()
    shell.feed(RequestCancel(reformatted=True))
    assert (shell.reply.number, shell.reply.order.script) == (2, TEXT)
    shell.clause(TEXT, 2_000)
    shell.generated()
    shell.silence(2_500)
    assert [record.status for record in shell.records] == [
        ReplyStatus.CANCELLED,
        ReplyStatus.COMPLETED,
    ]


def test_a_call_that_goes_on_elsewhere_hears_the_rest_of_it() -> None:
    shell = announcing()
    shell.resume()
    assert shell.reply.order.script == TEXT
    assert not shell.reply.released or shell.stands(State.THINKING)
    shell.clause(TEXT, 2_000)
    shell.feed(RequestCancel())
    assert isinstance(shell.notices[-1], Fault)


@pytest.mark.parametrize(
    "changes", [{"kind": SessionKind.TRANSCRIPTION}, {"output_audio": False}, {"recording": None}]
    , ids=["captions", "written", "unrecorded"]
)  # fmt: skip
def test_it_is_not_said_where_it_could_not_be_heard(changes: dict[str, Any]) -> None:
    config = replace(CONFIG, **changes)
    assert not config.records
    assert not ModelShell(config).replies


def test_a_call_without_a_text_is_recorded_silently() -> None:
    config = replace(CONFIG, recording=Recording(), output_audio=False)
    assert config.records
    assert not ModelShell(config).replies


class AnnouncedCalls(Calls):
    """Any call at all that begins with the text."""

    @initialize()
    def start(self) -> None:
        self.shell = ModelShell(CONFIG)

    @invariant()
    def it_is_cut_only_with_the_call(self) -> None:
        shell = getattr(self, "shell", None)
        if shell is None or not (done := shell.replies[1].done):
            return
        assert isinstance(done, ReplyDone)
        ended = shell.closed is not None or done.reason == CALL_RESUMED
        if done.status is ReplyStatus.CANCELLED and not ended:
            assert done.reason in ("playout_stalled", "client_cancelled")
            captions = any(
                event.config.kind is SessionKind.TRANSCRIPTION
                for event, _, _ in shell.log
                if hasattr(event, "config")
            )
            assert captions or done.reason == "playout_stalled"


TestAnnouncedCalls = AnnouncedCalls.TestCase
TestAnnouncedCalls.settings = settings(
    max_examples=examples(25),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
del Calls
