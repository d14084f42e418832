"""Ended turns: their text, their answer, and what is still pending."""

from sessions.core.commands import DropTranscription, RecordTurn, ReleaseReply, StartReply
from sessions.core.config import SessionConfig, TurnMode
from sessions.core.events import (
    AddItem,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    HangUp,
    PartialTranscript,
    RequestCancel,
    RequestReply,
    TranscriptionFailed,
)
from sessions.core.items import Message
from sessions.core.notices import ReplyCreated, TranscriptFailed, TranscriptFinal
from sessions.core.replies.continuation import ANSWER_PATIENCE
from sessions.core.states import State
from sessions.languages.packs import PACKS
from tests.sessions.core.conftest import ShellFactory
from tests.support.sessions.model_shell import ModelShell


def awaiting_text(shell: ModelShell) -> None:
    """The turn has ended and its text is late."""
    shell.speak(640)
    shell.silence(4_300)
    assert shell.stands(State.THINKING)
    assert not shell.replies


def hear_filler(shell: ModelShell) -> None:
    """The text stays away until the filler has been spoken."""
    shell.pass_time(ANSWER_PATIENCE)
    assert shell.reply.order.script == PACKS["en"].spoken.filler
    shell.clause("One moment.", 400)
    shell.generated()
    shell.play(0.0)
    shell.play(1.0)
    assert shell.stands(State.THINKING)


def test_the_agent_asks_the_caller_to_repeat_untranscribed_words(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.feed(TranscriptionFailed(1, "PROVIDER_ERROR", "no text"))
    shell.silence(600)
    assert shell.published(TranscriptFailed) == [
        TranscriptFailed("item_c_1", "PROVIDER_ERROR", "no text")
    ]
    assert not shell.published(TranscriptFinal)
    assert shell.reply.order.script == PACKS["en"].spoken.unheard
    assert shell.stands(State.THINKING)


def test_a_text_after_the_failure_repairs_it(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.feed(TranscriptionFailed(1, "PROVIDER_ERROR", "no text"))
    shell.final("What is it?", 0.9)
    shell.silence(320)
    assert shell.reply.order.script is None
    assert [order.history[-1].content for order in shell.ordered(StartReply)] == ["What is it?"]


def test_after_a_late_failure_the_agent_asks_to_repeat_too(call: ShellFactory) -> None:
    shell = call()
    awaiting_text(shell)
    hear_filler(shell)
    shell.pass_time(8.0)
    assert shell.reply.order.script == PACKS["en"].spoken.unheard


def test_a_speculative_reply_is_replaced_when_the_history_has_changed(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("What is it?", 0.9)
    shell.feed(AddItem("system", "It is a cat."))
    shell.silence(320)
    first, second = shell.ordered(StartReply)
    assert first.history != second.history
    assert shell.ordered(ReleaseReply) == [ReleaseReply(2)]
    assert len(shell.published(ReplyCreated)) == 1


def test_a_speculative_reply_is_replaced_when_the_session_has_changed(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("What is it?", 0.9)
    shell.feed(ConfigureSession(SessionConfig(voice="other")))
    shell.silence(320)
    assert [order.config.voice for order in shell.ordered(StartReply)] == ["default", "other"]


def test_a_late_empty_text_is_not_answered(call: ShellFactory) -> None:
    shell = call()
    awaiting_text(shell)
    shell.final("")
    assert shell.stands(State.LISTENING)
    assert not shell.replies


def test_a_deleted_turn_is_not_answered(call: ShellFactory) -> None:
    shell = call()
    awaiting_text(shell)
    shell.feed(DeleteItem("item_c_1"))
    shell.final("What is it?")
    assert shell.stands(State.LISTENING)
    assert shell.records[0].user_text == ""


def test_a_turn_cancelled_before_its_text_is_recorded_unanswered(call: ShellFactory) -> None:
    shell = call()
    awaiting_text(shell)
    shell.feed(RequestCancel())
    assert shell.stands(State.LISTENING)
    shell.final("What is it?")
    assert not shell.replies
    assert shell.records == [
        RecordTurn(1, "What is it?", "", "", False, shell.records[0].status, None)
    ]


def test_a_cough_while_the_text_is_awaited_does_not_cost_the_answer(call: ShellFactory) -> None:
    shell = call()
    awaiting_text(shell)
    first = shell.asked[-1]
    shell.speak(128)
    shell.silence(128)
    shell.final("")
    shell.silence(600)
    assert shell.stands(State.THINKING)
    shell.asked.append(first)
    shell.final("What is it?")
    assert shell.reply.order.history[-1].content == "What is it?"


def test_a_text_that_arrives_during_a_cough_is_answered_after_it(call: ShellFactory) -> None:
    shell = call()
    awaiting_text(shell)
    shell.speak(128)
    shell.final("What is it?")
    assert not shell.replies
    shell.silence(128)
    shell.final("")
    shell.silence(600)
    assert shell.reply.order.history[-1].content == "What is it?"


def test_a_committed_cough_does_not_cost_the_answer_either(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is it?")
    shell.speak(128)
    shell.feed(CommitInput())
    assert shell.stands(State.THINKING)
    shell.final("")
    assert shell.stands(State.THINKING)
    assert shell.reply.order.history[-1].content == "What is it?"


def test_without_turn_detection_a_request_is_answered_once_the_text_arrives(
    call: ShellFactory,
) -> None:
    shell = call(mode=TurnMode.NONE)
    shell.speak(640)
    shell.feed(CommitInput())
    shell.feed(RequestReply(instructions="Be rude."))
    assert shell.stands(State.THINKING)
    shell.final("What is it?")
    order = shell.reply.order
    assert (order.turn, order.config.instructions) == (1, "Be rude.")
    assert shell.ordered(ReleaseReply)


def test_hanging_up_records_the_last_words(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640, "thank you and goodbye")
    shell.feed(HangUp("peer_gone"))
    assert [record.user_text for record in shell.records] == ["thank you and goodbye"]
    assert shell.ordered(DropTranscription) == [DropTranscription(1)]
    assert shell.closed


NUMBER = "my number is five five five zero one nine four two"
HALF = "my number is five five"


def half_heard(shell: ModelShell) -> None:
    """The turn is over; the partial text covers its first half, and the final text is late."""
    shell.speak(1_280)
    covered = shell.position
    shell.speak(1_280)
    shell.feed(PartialTranscript(1, HALF, covered))
    shell.silence(4_300)
    assert shell.stands(State.THINKING)


def test_half_a_number_is_not_answered_as_the_whole(call: ShellFactory) -> None:
    shell = call()
    half_heard(shell)
    hear_filler(shell)
    shell.final(NUMBER)
    assert shell.reply.said[-1] == Message("user", NUMBER)
    assert [told.text for told in shell.published(TranscriptFinal)] == [NUMBER]


def test_the_agent_asks_to_repeat_an_unfinished_number(call: ShellFactory) -> None:
    shell = call()
    half_heard(shell)
    hear_filler(shell)
    shell.pass_time(8)
    assert shell.reply.order.script == PACKS["en"].spoken.unheard
    assert not shell.published(TranscriptFinal)


def test_a_recogniser_that_hears_on_without_new_words_covers_the_turn(call: ShellFactory) -> None:
    shell = call()
    half_heard(shell)
    shell.feed(PartialTranscript(1, HALF, shell.position))
    shell.pass_time(2)
    assert shell.reply.said[-1] == Message("user", HALF)


def test_a_recogniser_that_is_behind_may_catch_up(call: ShellFactory) -> None:
    shell = call()
    half_heard(shell)
    shell.feed(PartialTranscript(1, NUMBER, shell.position))
    shell.feed(PartialTranscript(1, f"{NUMBER} and what comes next", shell.position + 16_000))
    shell.pass_time(2)
    assert shell.reply.said[-1] == Message("user", NUMBER)


def stood_in(shell: ModelShell) -> None:
    """A partial text that covers the turn replaces the final one, which is late."""
    shell.speak(1_280, HALF)
    shell.silence(4_500)
    assert shell.reply.released
    assert not shell.published(TranscriptFinal)


def test_a_late_final_replaces_the_partial_before_the_reply_is_heard(call: ShellFactory) -> None:
    shell = call()
    stood_in(shell)
    first = shell.reply
    shell.final(NUMBER)
    assert first.dead
    assert shell.reply.said[-1] == Message("user", NUMBER)
    assert shell.reply.released
    assert [told.text for told in shell.published(TranscriptFinal)] == [NUMBER]


def test_the_same_words_again_change_nothing(call: ShellFactory) -> None:
    shell = call()
    stood_in(shell)
    first = shell.reply
    shell.final("My number is five, five.")
    assert shell.reply is first
    assert [told.text for told in shell.published(TranscriptFinal)] == ["My number is five, five."]


def test_once_the_reply_is_heard_the_partial_is_kept(call: ShellFactory) -> None:
    shell = call()
    stood_in(shell)
    shell.clause("I see. ", 1_000)
    shell.play(0.0)
    assert [told.text for told in shell.published(TranscriptFinal)] == [HALF]
    shell.final(NUMBER)
    assert [told.text for told in shell.published(TranscriptFinal)] == [HALF]
    assert len(shell.replies) == 1
