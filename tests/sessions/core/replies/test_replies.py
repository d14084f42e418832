"""One reply at a time: released, heard, cut, failed, given up."""

import pytest

from sessions.core.commands import (
    CancelReply,
    Publish,
    ReleaseReply,
    ResumePlayout,
    StartReply,
    StopPlayout,
)
from sessions.core.events import (
    ClauseStarted,
    FirstToken,
    HangUp,
    PlayoutFinished,
    PlayoutHeard,
    PlayoutStopped,
    RequestCancel,
    RequestReply,
    Tick,
)
from sessions.core.items import Message, ReplyStatus
from sessions.core.notices import (
    Fault,
    Latency,
    PlayoutBegan,
    PlayoutEnded,
    ReplyCreated,
    ReplyDone,
    ReplyText,
)
from sessions.core.states import State
from sessions.languages.packs import PACKS
from tests.sessions.core.conftest import ShellFactory
from tests.support.sessions.model_shell import ModelShell


def test_a_reply_heard_to_its_end(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is the capital of France?")
    shell.clause("It is Paris. ", 500)
    assert not shell.published(ReplyText), "text is published as it becomes audible"
    shell.play(0.0)
    assert shell.published(PlayoutBegan)
    shell.clause("A big city.", 500)
    shell.generated()
    shell.silence(400)
    assert [n.delta for n in shell.published(ReplyText)] == ["It is Paris. "]
    shell.silence(700)
    done = shell.published(ReplyDone)[0]
    assert (done.status, done.text, done.heard) == (
        ReplyStatus.COMPLETED,
        "It is Paris. A big city.",
        "It is Paris. A big city.",
    )
    assert (done.prompt_tokens, done.completion_tokens) == (20, 10)
    assert shell.published(PlayoutEnded)
    assert shell.stands(State.LISTENING)
    record = shell.records[0]
    assert (record.user_text, record.heard_text) == ("What is the capital of France?", done.heard)
    assert not record.interrupted


def test_the_latency_is_published_once_and_adds_up(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    end = shell.now
    shell.silence(128)
    shell.pass_time(0.1)
    shell.final("What is it?", 0.9)
    shell.silence(256)
    shell.pass_time(0.05)
    shell.feed(FirstToken(shell.reply.number))
    shell.pass_time(0.03)
    shell.clause("This. ")
    shell.pass_time(0.01)
    shell.play(0.0)
    waited = round((shell.now - end) * 1000)
    assert not shell.published(Latency)
    shell.pass_time(0.04)
    shell.feed(PlayoutHeard(shell.reply.number, ago=0.02))
    shell.play(0.02)
    latencies = shell.published(Latency)
    assert len(latencies) == 1
    stages = latencies[0]
    assert stages.total_ms == waited
    assert (stages.first_token_ms, stages.heard_ms) == (50, 20)
    parts = (stages.endpointing_ms, stages.stt_ms, stages.llm_ms, stages.tts_ms, stages.gateway_ms)
    assert sum(parts) == stages.total_ms
    assert parts == (484, 0, 80, 0, 10)
    shell.generated()
    shell.play(1.0)
    assert shell.records[0].latency == stages


def test_a_cancelled_speculation_does_not_lend_its_moments(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("What is it?", 0.9)
    shell.clause("This.")
    shell.ask("What is it, I ask?")
    shell.pass_time(0.2)
    shell.clause("That.")
    shell.play(0.02)
    assert shell.published(Latency)[0].llm_ms >= 200


def test_a_reply_that_is_cut_before_it_was_heard_reports_how_far_it_came(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.have_spoken()
    shell.feed(HangUp("client_hangup"))
    (latency,) = shell.published(Latency)
    assert latency.heard_ms is None
    assert latency.total_ms > 0
    assert shell.records[0].latency == latency


def test_the_token_limit_makes_it_incomplete(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken(ms=300)
    shell.generated(truncated=True)
    shell.play(1.0)
    done = shell.published(ReplyDone)[0]
    assert (done.status, done.reason) == (ReplyStatus.INCOMPLETE, "max_output_tokens")


def test_a_text_reply_is_published_as_it_is_generated(call: ShellFactory) -> None:
    shell = call(output_audio=False)
    shell.ask("What is it?")
    shell.clause("This ")
    assert [n.delta for n in shell.published(ReplyText)] == ["This "]
    shell.clause("one.")
    shell.generated()
    done = shell.published(ReplyDone)[0]
    assert (done.text, done.heard, done.output_audio) == ("This one.", "This one.", False)
    assert shell.stands(State.LISTENING)
    assert not shell.published(PlayoutBegan)


def test_text_generated_before_the_release_is_published_at_the_release(call: ShellFactory) -> None:
    shell = call(output_audio=False)
    shell.speak(640)
    shell.silence(128)
    shell.final("What is it?", 0.9)
    shell.clause("This one.")
    shell.generated()
    assert not shell.published(ReplyText)
    shell.silence(256)
    assert [n.delta for n in shell.published(ReplyText)] == ["This one."]
    assert shell.stands(State.LISTENING)


def test_a_spoken_reply_without_sound_was_not_heard(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is it?")
    shell.clause("(smiles)", 0)
    shell.generated()
    assert (shell.published(ReplyDone)[0].text, shell.published(ReplyDone)[0].heard) == (
        "(smiles)",
        "",
    )
    assert shell.stands(State.LISTENING)


# ---------------------------------------------------------------------------- failures


def test_a_failure_before_anything_was_heard_gets_one_apology(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is it?")
    shell.fail()
    assert shell.published(Fault) == [Fault("PROVIDER_ERROR", "The engine failed.", server=True)]
    assert shell.published(ReplyDone)[0].status is ReplyStatus.FAILED
    assert shell.published(ReplyDone)[0].code == "PROVIDER_ERROR"
    assert shell.reply.order.script == PACKS["en"].spoken.apology
    assert shell.stands(State.THINKING)
    shell.fail()
    assert len(shell.ordered(StartReply)) == 2
    assert shell.stands(State.LISTENING)
    shell.ask("What is it?")
    assert shell.stands(State.THINKING), "the call continues"


def test_a_failure_during_playout_plays_the_rest_and_then_the_apology(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.have_spoken("It is Paris. ", 400)
    shell.fail()
    assert shell.stands(State.SPEAKING)
    shell.play(1.0)
    done = shell.published(ReplyDone)[0]
    assert (done.status, done.heard) == (ReplyStatus.FAILED, "It is Paris. ")
    assert shell.reply.order.script == PACKS["en"].spoken.apology
    assert shell.stands(State.THINKING)


def test_a_failed_text_needs_no_spoken_apology(call: ShellFactory) -> None:
    shell = call(output_audio=False)
    shell.ask("What is it?")
    shell.clause("This ")
    shell.fail()
    done = shell.published(ReplyDone)[0]
    assert (done.status, done.heard) == (ReplyStatus.FAILED, "This ")
    assert shell.stands(State.LISTENING)


def test_a_silent_engine_is_given_up(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is it?")
    shell.pass_time(30.0)
    assert shell.published(ReplyDone)[0].message == "The reply took too long."
    assert shell.reply.order.script == PACKS["en"].spoken.apology


def test_a_playout_that_stalls_is_given_up(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken(ms=1_000)
    shell.generated()
    shell.pass_time(31.1)
    assert shell.published(ReplyDone)[0].reason == "playout_stalled"
    assert shell.stands(State.LISTENING)


# ---------------------------------------------------------------------------- ends


def test_hanging_up_during_a_reply_records_the_heard_text(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.silence(900)
    shell.feed(HangUp("peer_gone"))
    assert shell.closed == "peer_gone"
    done = shell.published(ReplyDone)[0]
    assert (done.status, done.reason, done.heard) == (
        ReplyStatus.CANCELLED,
        "call_ended",
        "Paris is the",
    )
    assert shell.records[0].heard_text == "Paris is the"


def test_a_reply_waits_for_the_heard_text_of_the_previous_one(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.silence(900)
    core = shell.core
    commands = core.handle(RequestCancel(), shell.now)
    assert commands == [CancelReply(1), StopPlayout(1)]
    assert not core.handle(RequestReply(), shell.now)
    assert core.state is State.THINKING
    commands = core.handle(PlayoutStopped(1, 22_000, 24_000), shell.now)
    starts = [c for c in commands if isinstance(c, StartReply)]
    assert starts[0].history[-2] == Message("assistant", "Paris is the")
    assert commands.index(starts[0]) < commands.index(ReleaseReply(starts[0].reply))


@pytest.mark.parametrize("leave", [True, False])
def test_a_missing_report_of_the_heard_text_is_waited_for_only_briefly(
    call: ShellFactory, leave: bool
) -> None:
    shell = call()
    shell.have_spoken()
    core, now = shell.core, shell.now
    core.handle(RequestCancel(), now)
    core.handle(RequestReply(), now)
    if leave:
        core.handle(RequestCancel(), now)
        assert core.state is State.LISTENING
    assert core.next_deadline() == now + 2.0
    commands = core.handle(Tick(), now + 2.0)
    done = [c.notice for c in commands if isinstance(c, Publish)]
    assert [notice.heard for notice in done if isinstance(notice, ReplyDone)] == [""]
    assert any(isinstance(command, StartReply) for command in commands) is not leave


def test_an_end_that_crosses_the_stop_command_counts(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken("Yes. ", 500)
    core = shell.core
    core.handle(RequestCancel(), shell.now)
    told = core.handle(PlayoutFinished(1, 12_000), shell.now)
    assert any("heard='Yes. '" in repr(command) for command in told)
    assert core.handle(PlayoutStopped(1, 0, 0), shell.now) == []


def test_a_clause_sent_before_the_stop_command_arrives_counts(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.have_spoken("Yes. ", 500)
    shell.clause("It is. ", 500)
    core = shell.core
    core.handle(RequestCancel(), shell.now)
    core.handle(ClauseStarted(1, 1), shell.now)
    told = core.handle(PlayoutStopped(1, 18_000, 24_000), shell.now)
    assert any("heard='Yes. It'" in repr(command) for command in told)


def test_results_of_ended_replies_are_dropped(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.feed(RequestCancel())
    dead = shell.reply
    before = len(shell.commands)
    shell.generate(dead, "more", 100)
    shell.generated(dead)
    shell.fail(dead)
    for event in (ClauseStarted(1, 1), PlayoutFinished(1, 5), PlayoutStopped(1, 5, 5)):
        shell.feed(event)
    assert len(shell.commands) == before
    assert not shell.ordered(ResumePlayout)
    assert len(shell.published(ReplyCreated)) == 1


def test_release_without_a_reply_is_a_programming_error() -> None:
    with pytest.raises(RuntimeError, match="no reply"):
        ModelShell().core._replies.release()
