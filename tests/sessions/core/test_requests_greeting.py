"""The greeting of an agent: said when the call begins, after the consent text, and cut off by the
caller like any reply."""

from sessions.core.config import Recording, SessionConfig, SessionKind
from sessions.core.events import RequestCancel, RequestReply
from sessions.core.items import ReplyStatus
from sessions.core.notices import Fault
from sessions.core.states import State
from tests.support.sessions.model_shell import ModelShell

TEXT = "Hello, this is the bakery."
CONSENT = "This call is recorded."
CONFIG = SessionConfig(greeting=TEXT)


def greeting(config: SessionConfig = CONFIG) -> ModelShell:
    """The agent greets; two seconds of it are made."""
    shell = ModelShell(config)
    shell.clause(config.recording.consent if config.recording else TEXT, 2_000)
    shell.generated()
    shell.play(0.1)
    assert shell.stands(State.SPEAKING)
    return shell


def test_it_is_said_first_and_the_chat_model_reads_it() -> None:
    shell = greeting()
    assert shell.reply.order.script == TEXT
    shell.silence(2_500)
    (record,) = shell.records
    assert (record.reply_text, record.heard_text) == (TEXT, TEXT)
    assert record.status is ReplyStatus.COMPLETED
    shell.ask("what do you sell")
    assert [message.content for message in shell.reply.order.history if message.content == TEXT]


def test_the_caller_cuts_it_off() -> None:
    shell = greeting()
    shell.silence(900)
    shell.speak(128)
    shell.partial("no wait")
    assert shell.stands(State.USER_SPEAKING)
    assert shell.records[0].status is ReplyStatus.CANCELLED


def test_it_follows_the_consent_text() -> None:
    shell = greeting(SessionConfig(greeting=TEXT, recording=Recording(CONSENT)))
    assert shell.reply.order.script == CONSENT
    shell.silence(2_500)
    assert shell.reply.order.script == TEXT
    shell.clause(TEXT, 500)
    shell.generated()
    shell.play(0.1)
    shell.silence(1_000)
    assert [record.heard_text for record in shell.records] == [CONSENT, TEXT]


def test_it_begins_again_where_its_audio_does_not_fit_any_more() -> None:
    shell = greeting()
    shell.feed(RequestCancel(reformatted=True))
    assert shell.reply.order.script == TEXT
    assert shell.records[0].status is ReplyStatus.CANCELLED
    assert not shell.reply.heard


def test_a_client_may_cancel_it_and_may_not_talk_over_it() -> None:
    shell = greeting()
    shell.feed(RequestReply(event_id="e"))
    fault = shell.notices[-1]
    assert isinstance(fault, Fault)
    assert fault.event_id == "e"
    shell.feed(RequestCancel())
    assert shell.stands(State.LISTENING)


def test_captions_have_no_greeting() -> None:
    config = SessionConfig(greeting=TEXT, kind=SessionKind.TRANSCRIPTION)
    shell = ModelShell(config)
    assert shell.stands(State.LISTENING)
    assert not [notice for notice in shell.notices if isinstance(notice, Fault)]
