"""The filler, and where it is spoken."""

from dataclasses import replace

import pytest

from sessions.core.commands import SpeakFiller, StartReply, TranscribeClip
from sessions.core.config import SessionConfig, TurnMode
from sessions.core.events import (
    AddItem,
    ClauseReady,
    CommitInput,
    FinalTranscript,
    RequestCancel,
    RequestReply,
    TranscriptionWaits,
)
from sessions.core.notices import ReplyDone
from sessions.core.replies.continuation import ANSWER_PATIENCE, PATIENCE
from sessions.core.states import State
from sessions.languages.packs import PACKS
from tests.sessions.core.conftest import ShellFactory
from tests.sessions.core.test_tools import CONFIG, calling
from tests.support.sessions.model_shell import ModelShell

FILLER = str(PACKS["en"].spoken.filler)


def scripts(shell: ModelShell) -> list[str]:
    return [order.script for order in shell.ordered(StartReply) if order.script is not None]


def test_a_filler_is_spoken_once_for_a_slow_tool() -> None:
    shell = calling("look_up")
    shell.pass_time(PATIENCE - 0.1)
    assert not scripts(shell)
    shell.pass_time(0.2)
    assert scripts(shell) == [FILLER]
    shell.clause(FILLER, 400)
    shell.generated()
    shell.play(0.0)
    shell.play(1.0)
    assert shell.stands(State.USING_TOOLS)
    shell.pass_time(3.0)
    assert len(scripts(shell)) == 1
    shell.tool_returns("sunny")
    history = shell.ordered(StartReply)[-1].history
    assert [message.role for message in history[-2:]] == ["assistant", "tool"]
    assert history[-2].content == FILLER


def test_a_tool_that_returns_during_the_filler_is_answered_after_it() -> None:
    shell = calling("look_up")
    shell.pass_time(PATIENCE + 0.1)
    shell.clause(FILLER, 400)
    shell.generated()
    shell.play(0.0)
    shell.tool_returns("sunny")
    assert shell.stands(State.SPEAKING)
    shell.play(1.0)
    assert shell.stands(State.THINKING)
    assert shell.reply.order.script is None


def test_speech_in_an_item_does_not_end_a_running_tool() -> None:
    shell = calling("look_up")
    shell.feed(AddItem("user", "", "note", clip=1, seconds=1.0))
    (asked,) = shell.ordered(TranscribeClip)
    shell.feed(FinalTranscript(asked.turn, "a voice note", 0))
    shell.tool_returns("sunny")
    assert shell.stands(State.THINKING)
    assert shell.reply.order.script is None


@pytest.mark.parametrize("change", [{"language": "fi"}, {"output_audio": False}])
def test_no_filler_for_a_tool_without_words_or_a_voice(change: dict[str, object]) -> None:
    shell = ModelShell(replace(CONFIG, **change))
    shell.feed(RequestReply())
    shell.call_tool("look_up")
    shell.generated()
    shell.pass_time(PATIENCE + 2)
    assert shell.stands(State.USING_TOOLS)
    assert not scripts(shell)


# ---------------------------------------------------------------------------- a slow answer


def fillers(shell: ModelShell) -> list[SpeakFiller]:
    return shell.ordered(SpeakFiller)


def asked(**changes: object) -> ModelShell:
    """A call that waits for its answer."""
    shell = ModelShell(replace(SessionConfig(), **changes))
    shell.feed(RequestReply())
    return shell


def test_a_slow_answer_is_covered_by_a_filler_in_the_same_reply() -> None:
    shell = asked()
    shell.pass_time(ANSWER_PATIENCE - 0.1)
    assert not fillers(shell)
    shell.pass_time(0.2)
    assert fillers(shell) == [SpeakFiller(shell.reply.number, "One moment. ")]
    shell.pass_time(5.0)
    assert len(fillers(shell)) == 1
    assert not scripts(shell)


def test_the_filler_is_heard_and_published_but_not_in_the_history() -> None:
    shell = asked()
    shell.pass_time(ANSWER_PATIENCE)
    shell.speak_filler(shell.reply)
    shell.play(0.0)
    assert shell.stands(State.SPEAKING)
    shell.clause("It is noon.", 500)
    shell.generated()
    shell.play(2.0)
    assert shell.published(ReplyDone)[-1].heard == "One moment. It is noon."
    shell.feed(RequestReply())
    assert [m.content for m in shell.reply.order.history if m.role == "assistant"] == [
        "It is noon."
    ]


def test_a_filler_that_was_cut_leaves_nothing_in_the_history() -> None:
    shell = asked()
    shell.pass_time(ANSWER_PATIENCE)
    shell.speak_filler(shell.reply)
    shell.play(0.3)
    shell.feed(RequestCancel())
    assert shell.published(ReplyDone)[-1].heard == "One"
    shell.feed(RequestReply())
    assert not [m for m in shell.reply.order.history if m.role == "assistant"]


@pytest.mark.parametrize("change", [{"language": "fi"}, {"output_audio": False}])
def test_no_filler_without_words_or_without_a_voice(change: dict[str, object]) -> None:
    shell = asked(**change)
    shell.pass_time(10)
    assert not fillers(shell)


def test_the_filler_is_the_languages() -> None:
    shell = asked(language="de-AT")
    shell.pass_time(10)
    assert [order.text for order in fillers(shell)] == ["Einen Moment. "]


def test_an_answer_that_has_begun_needs_no_filler() -> None:
    shell = asked()
    shell.feed(ClauseReady(shell.reply.number))
    shell.pass_time(10)
    assert not fillers(shell)


def test_a_speculative_reply_gets_no_filler_before_its_release(call: ShellFactory) -> None:
    shell = call(eagerness="low")
    shell.speak(640)
    shell.silence(128)
    shell.final("What is the capital of France?", 0.9)
    assert not shell.reply.released
    shell.silence(200)
    assert not fillers(shell)


def test_a_turn_that_had_a_filler_for_its_tool_gets_no_other() -> None:
    shell = calling("look_up")
    shell.pass_time(PATIENCE)
    shell.clause(FILLER, 400)
    shell.generated()
    shell.play(0.0)
    shell.play(1.0)
    shell.tool_returns("sunny")
    assert shell.stands(State.THINKING)
    shell.pass_time(10)
    assert not fillers(shell)


def unheard(call: ShellFactory, **changes: object) -> ModelShell:
    """The caller's turn is over, and its words wait for a recogniser."""
    shell = call(**changes)
    shell.speak(640)
    shell.silence(128)
    shell.feed(TranscriptionWaits(1, 5))
    shell.silence(4_200)
    assert shell.stands(State.THINKING)
    assert not shell.replies
    return shell


def filled(call: ShellFactory) -> ModelShell:
    """The same, and the filler is being heard."""
    shell = unheard(call)
    shell.pass_time(ANSWER_PATIENCE)
    assert scripts(shell) == [FILLER]
    shell.clause(FILLER, 400)
    shell.generated()
    shell.play(0.0)
    assert shell.stands(State.SPEAKING)
    return shell


def test_a_turn_whose_words_come_late_gets_a_filler_and_then_its_answer(
    call: ShellFactory,
) -> None:
    shell = filled(call)
    shell.play(1.0)
    assert shell.stands(State.THINKING)
    shell.pass_time(9.0)
    assert len(scripts(shell)) == 1, "it still waits, and asks for nothing"
    shell.final("What is it?")
    assert shell.reply.order.script is None
    assert shell.reply.order.history[-1].content == "What is it?"


def test_words_that_come_during_the_filler_are_answered_after_it(call: ShellFactory) -> None:
    shell = filled(call)
    shell.final("What is it?")
    assert shell.stands(State.SPEAKING)
    shell.play(1.0)
    assert shell.stands(State.THINKING)
    assert "What is it?" in [message.content for message in shell.reply.order.history]


def test_words_that_never_come_are_asked_for_again_after_the_filler(call: ShellFactory) -> None:
    shell = filled(call)
    shell.play(1.0)
    shell.pass_time(22.0)
    assert scripts(shell) == [FILLER, PACKS["en"].spoken.unheard]


def test_noise_whose_text_came_during_the_filler_is_not_answered(call: ShellFactory) -> None:
    shell = filled(call)
    shell.final("")
    shell.play(1.0)
    assert shell.stands(State.LISTENING)
    assert len(shell.replies) == 1


def test_a_caller_who_speaks_over_that_filler_is_answered_once(call: ShellFactory) -> None:
    shell = filled(call)
    shell.final("What is it?")
    shell.speak(640, "no wait")
    shell.silence(128)
    shell.final("No, wait, where is it?", 0.9)
    shell.silence(600)
    shell.play(1.0)
    answers = [order for order in shell.ordered(StartReply) if order.script is None]
    assert answers[-1].history[-1].content == "What is it?\nNo, wait, where is it?"
    assert shell.stands(State.THINKING)


def test_a_client_that_commits_by_hand_gets_no_filler_of_its_own(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.NONE)
    shell.speak(640)
    shell.feed(CommitInput())
    shell.feed(RequestReply())
    shell.pass_time(ANSWER_PATIENCE + 1)
    assert not scripts(shell)
