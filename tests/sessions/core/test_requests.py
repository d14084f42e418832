"""What a client can request, and every refusal."""

import pytest

from sessions.core.commands import DropTranscription, PrepareReply, StartReply, TranscribeClip
from sessions.core.config import SessionConfig, SessionKind, TurnDetection, TurnMode
from sessions.core.events import (
    AddItem,
    ClearInput,
    ClearOutput,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    Event,
    FinalTranscript,
    RequestCancel,
    RequestReply,
    RetrieveItem,
    TruncateItem,
)
from sessions.core.items import Item, Message, PromptLine, ReplyStatus
from sessions.core.notices import (
    Fault,
    InputCleared,
    InputCommitted,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    ReplyCreated,
    ReplyDone,
    SessionChanged,
    SpeechStarted,
    SpeechStopped,
    TranscriptFinal,
)
from sessions.core.states import State
from tests.support.sessions.model_shell import ModelShell

from .conftest import ShellFactory


@pytest.mark.parametrize(
    ("request_", "code", "param"),
    [
        (CommitInput("e"), "input_audio_buffer_commit_empty", None),
        (AddItem("user", "x", "a", None, "e"), "item_id_exists", "item.id"),
        (AddItem("user", "x", "item_c_9", None, "e"), "invalid_item_id", "item.id"),
        (AddItem("user", "x", None, "nowhere", "e"), "item_not_found", "previous_item_id"),
        (DeleteItem("nothing", "e"), "item_not_found", "item_id"),
        (RetrieveItem("nothing", "e"), "item_not_found", "item_id"),
        (TruncateItem("nothing", 0, "e"), "item_not_found", "item_id"),
        (TruncateItem("a", 0, "e"), "invalid_item", "item_id"),
        (RequestCancel(None, "e"), "response_cancel_not_active", None),
        (RequestCancel("resp_c_1", "e"), "response_cancel_not_active", "response_id"),
    ],
)
def test_refusals_name_the_event_and_leave_the_call_as_it_was(
    call: ShellFactory, request_: Event, code: str, param: str | None
) -> None:
    shell = call()
    shell.feed(AddItem("user", "x", "a"))
    shell.feed(request_)
    fault = shell.published(Fault)[0]
    assert (fault.code, fault.param, fault.event_id) == (code, param, "e")
    assert not fault.server
    assert shell.stands(State.LISTENING)


@pytest.mark.parametrize("asked", ["resp_c_2", "resp_c_0"])
def test_cancelling_another_response_is_refused(call: ShellFactory, asked: str) -> None:
    shell = call()
    shell.have_spoken()
    shell.feed(RequestCancel(asked))
    assert shell.published(Fault)[0].code == "response_cancel_not_active"
    assert shell.stands(State.SPEAKING)


def test_one_response_at_a_time(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.feed(RequestReply(event_id="e"))
    assert shell.published(Fault)[0].code == "conversation_already_has_active_response"
    assert len(shell.ordered(StartReply)) == 1


@pytest.mark.parametrize("request_", [RequestCancel(), RequestCancel("resp_c_1"), ClearOutput()])
def test_a_reply_is_cancelled_by_the_client(call: ShellFactory, request_: Event) -> None:
    shell = call()
    shell.have_spoken()
    shell.silence(900)
    shell.feed(request_)
    done = shell.published(ReplyDone)[0]
    assert (done.status, done.reason, done.heard) == (
        ReplyStatus.CANCELLED,
        "client_cancelled",
        "Paris is the",
    )
    assert shell.stands(State.LISTENING)
    assert not shell.published(Fault)


def test_clearing_absent_output_is_harmless(call: ShellFactory) -> None:
    shell = call()
    assert shell.feed(ClearOutput()) == []


def test_cancelling_before_anything_is_audible(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is it?")
    shell.feed(RequestCancel())
    assert shell.published(ReplyDone)[0].heard == ""
    assert shell.stands(State.LISTENING)


def test_items_are_added_shown_and_deleted(call: ShellFactory) -> None:
    shell = call()
    shell.feed(AddItem("system", "Be brief.", "a"))
    shell.feed(AddItem("user", "Hello", after="root"))
    assert shell.published(ItemAdded) == [
        ItemAdded(Item("a", "system", "Be brief."), None),
        ItemAdded(Item("item_c_1", "user", "Hello"), None),
    ]
    shell.feed(RetrieveItem("a"))
    assert shell.published(ItemRetrieved) == [ItemRetrieved(Item("a", "system", "Be brief."))]
    shell.feed(DeleteItem("a"))
    assert shell.published(ItemDeleted) == [ItemDeleted("a")]
    shell.feed(RequestReply())
    assert shell.reply.said == (Message("user", "Hello"),)


def test_a_typed_message_is_recorded_with_its_answer(call: ShellFactory) -> None:
    shell = call()
    shell.feed(AddItem("user", "Hello"))
    shell.feed(RequestReply(output_audio=False, max_output_tokens=9))
    assert shell.reply.order.config.max_output_tokens == 9
    shell.clause("Hi.")
    shell.generated()
    assert (shell.records[0].user_text, shell.records[0].reply_text) == ("Hello", "Hi.")
    shell.feed(RequestReply())
    shell.clause("Still there?", 100)
    shell.generated()
    shell.play(1.0)
    assert shell.records[1].user_text == ""


def test_a_commit_ends_the_turn_at_once(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.feed(CommitInput())
    assert shell.stands(State.THINKING)
    assert shell.published(InputCommitted)
    shell.final("What is it?")
    assert shell.reply.released


def test_a_commit_in_silence_keeps_the_current_text(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("a flight to", 0.1)
    shell.silence(64)
    shell.feed(CommitInput())
    assert shell.reply.released
    assert len(shell.asked) == 1


def test_a_commit_over_the_reply_cancels_it(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.silence(900)
    shell.speak(128)
    shell.feed(CommitInput())
    assert shell.stands(State.THINKING)
    shell.final("Stop.")
    assert shell.reply.said[1:] == (
        Message("assistant", "Paris is the"),
        Message("user", "Stop."),
    )


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("silent", [0, 160])
def test_a_request_while_the_caller_speaks_waits_for_the_turn(
    call: ShellFactory, answers: bool, silent: int
) -> None:
    """One reply to both: the turn is not split."""
    shell = call(create_response=answers)
    shell.speak(320)
    if silent:
        shell.silence(silent)
    shell.feed(RequestReply(instructions="Be kind."))
    assert shell.core.state in (State.USER_SPEAKING, State.ENDPOINTING)
    shell.speak(320)
    shell.silence(160)
    shell.final("What time do you open on Saturday morning?", 0.9)
    shell.silence(600)
    (reply,) = [reply for reply in shell.replies.values() if reply.released]
    assert reply.order.config.instructions == "Be kind."
    assert reply.said[-1] == Message("user", "What time do you open on Saturday morning?")
    assert len(shell.published(InputCommitted)) == 1


def test_a_request_over_noise_is_answered_when_it_proves_to_be_noise(call: ShellFactory) -> None:
    shell = call()
    shell.speak(320)
    shell.feed(RequestReply(instructions="Be kind."))
    shell.silence(160)
    shell.final("")
    shell.silence(800)
    (reply,) = shell.replies.values()
    assert reply.order.config.instructions == "Be kind."
    assert shell.stands(State.THINKING)
    assert not shell.published(InputCommitted)


def test_one_request_waits_and_a_second_is_refused(call: ShellFactory) -> None:
    shell = call()
    shell.speak(320)
    shell.feed(RequestReply(instructions="Be kind."))
    shell.feed(RequestReply(event_id="second"))
    (fault,) = shell.published(Fault)
    assert (fault.code, fault.event_id) == ("conversation_already_has_active_response", "second")


def test_a_request_that_waits_can_be_cancelled(call: ShellFactory) -> None:
    shell = call(create_response=False)
    shell.speak(320)
    shell.feed(RequestReply(instructions="Be kind."))
    shell.feed(RequestCancel())
    shell.silence(160)
    shell.final("Never mind.", 0.9)
    shell.silence(600)
    assert not shell.replies
    assert not shell.published(Fault)


def test_a_prompt_of_its_own_does_not_swallow_the_turn(call: ShellFactory) -> None:
    shell = call(create_response=False)
    shell.speak(320)
    prompt = (PromptLine("user", "Say hello."),)
    shell.feed(RequestReply(prompt=prompt))
    shell.silence(160)
    shell.final("What time is it?", 0.9)
    shell.silence(600)
    (reply,) = shell.replies.values()
    assert [message.content for message in reply.said] == ["Say hello."]
    assert len(shell.published(InputCommitted)) == 1


def test_a_request_over_the_reply_waits_until_the_overlap_is_decided(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.silence(900)
    shell.speak(160)
    assert shell.stands(State.BARGE_IN)
    shell.feed(RequestReply(instructions="Be kind."))
    assert not shell.published(Fault)
    shell.partial("stop that please")
    shell.silence(160)
    shell.final("Stop that, please.", 0.9)
    shell.silence(600)
    assert shell.reply.order.config.instructions == "Be kind."
    assert shell.reply.said[-1] == Message("user", "Stop that, please.")


def test_a_request_while_the_text_is_awaited_is_for_that_turn(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(4_300)
    assert shell.stands(State.THINKING)
    shell.feed(RequestReply(instructions="Be kind."))
    assert not shell.published(Fault)
    shell.final("What time is it?")
    (reply,) = shell.replies.values()
    assert reply.order.config.instructions == "Be kind."


def test_by_hand_a_request_ends_the_turn(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.NONE)
    shell.speak(640)
    shell.feed(CommitInput())
    shell.feed(RequestReply(instructions="Be kind."))
    shell.final("Hello.")
    assert shell.reply.order.config.instructions == "Be kind."


@pytest.mark.parametrize("silent", [0, 160])
def test_clearing_the_input_drops_the_current_speech(call: ShellFactory, silent: int) -> None:
    shell = call()
    shell.speak(640)
    if silent:
        shell.silence(silent)
    shell.feed(ClearInput())
    assert shell.published(InputCleared)
    assert shell.stands(State.LISTENING)
    assert shell.ordered(DropTranscription) == [DropTranscription(1)]
    shell.feed(CommitInput())
    assert shell.published(Fault)


def test_clearing_the_input_over_a_reply_lets_the_reply_continue(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.speak(160)
    shell.feed(ClearInput())
    assert shell.stands(State.SPEAKING)


def test_clearing_the_input_works_without_turn_detection(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.NONE)
    shell.speak(640)
    shell.feed(ClearInput())
    assert not shell.transcriptions
    shell.hear(0.0)
    assert shell.transcriptions == {2}


MANUAL = SessionConfig(turn_detection=TurnDetection(mode=TurnMode.NONE))


@pytest.mark.parametrize("silent", [0, 160, 400])
@pytest.mark.parametrize("text", [False, True])
def test_push_to_talk_keeps_what_is_being_said(
    call: ShellFactory, silent: int, *, text: bool
) -> None:
    shell = call(output_audio=False)
    shell.speak(640, "what is")
    if silent:
        shell.silence(silent)
        if text:
            shell.final("What is.", probability=0.0)
    shell.feed(ConfigureSession(MANUAL))
    assert shell.stands(State.LISTENING)
    assert shell.published(SessionChanged) == [SessionChanged(MANUAL)]
    assert len(shell.published(SpeechStarted)) == len(shell.published(SpeechStopped)) == 1
    assert not shell.ordered(DropTranscription)
    shell.silence(5_000)
    shell.speak(640, "what is the capital of france")
    assert not shell.published(InputCommitted)
    shell.feed(CommitInput())
    shell.feed(RequestReply())
    shell.final("What is the capital of France?")
    assert shell.reply.said == (Message("user", "What is the capital of France?"),)
    assert len(shell.published(InputCommitted)) == 1


def test_push_to_talk_keeps_what_is_said_over_a_reply_which_goes_on(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.speak(160)
    assert shell.stands(State.BARGE_IN)
    shell.feed(ConfigureSession(MANUAL))
    assert shell.stands(State.SPEAKING)
    assert shell.transcriptions == {2}
    shell.feed(CommitInput())
    assert len(shell.published(InputCommitted)) == 2


def test_push_to_talk_while_the_caller_adds_to_a_turn_lets_that_be_answered(
    call: ShellFactory,
) -> None:
    shell = call(output_audio=False)
    shell.ask("What is it?")
    assert shell.stands(State.THINKING)
    shell.speak(160)
    assert shell.stands(State.USER_SPEAKING)
    shell.feed(ConfigureSession(MANUAL))
    assert shell.stands(State.THINKING)
    assert shell.reply.said == (Message("user", "What is it?"),)
    shell.feed(CommitInput())
    assert len(shell.published(InputCommitted)) == 2


def test_turn_detection_drops_what_was_not_committed(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.NONE)
    shell.speak(320)
    shell.feed(ConfigureSession(SessionConfig()))
    assert not shell.transcriptions
    shell.speak(128)
    assert shell.stands(State.USER_SPEAKING)


# ---------------------------------------------------------------------------- truncation


def heard_to_the_end(call: ShellFactory) -> ModelShell:
    shell = call()
    shell.have_spoken("Paris is the capital of France.", 1_000)
    shell.generated()
    shell.silence(1_500)
    return shell


@pytest.mark.parametrize(
    ("milliseconds", "heard", "told"),
    [
        (0, "", 0),
        (-7, "", 0),
        (500, "Paris is the", 500),
        (1_000, "Paris is the capital of France.", 1_000),
        (10**9, "Paris is the capital of France.", 1_000),
    ],
)
def test_an_ended_reply_is_cut_where_the_client_says(
    call: ShellFactory, milliseconds: int, heard: str, told: int
) -> None:
    shell = heard_to_the_end(call)
    item = shell.reply.order.item_id
    shell.feed(TruncateItem(item, milliseconds))
    assert shell.published(ItemTruncated) == [ItemTruncated(item, told, heard)]
    shell.feed(RetrieveItem(item))
    shown = shell.published(ItemRetrieved)[0].item
    assert (shown.text, shown.heard) == ("Paris is the capital of France.", heard)


def test_unheard_text_cannot_be_restored(call: ShellFactory) -> None:
    shell = heard_to_the_end(call)
    item = shell.reply.order.item_id
    shell.feed(TruncateItem(item, 500))
    shell.feed(TruncateItem(item, 900))
    assert [n.heard for n in shell.published(ItemTruncated)] == ["Paris is the"] * 2


@pytest.mark.parametrize(("milliseconds", "heard"), [(400, "Paris"), (10**9, "Paris is the")])
def test_truncating_the_current_reply_cancels_it(
    call: ShellFactory, milliseconds: int, heard: str
) -> None:
    shell = call()
    shell.have_spoken()
    shell.silence(900)
    shell.feed(TruncateItem(shell.reply.order.item_id, milliseconds))
    done = shell.published(ReplyDone)[0]
    assert (done.status, done.heard) == (ReplyStatus.CANCELLED, heard)
    assert shell.stands(State.LISTENING)


def test_text_cannot_be_truncated(call: ShellFactory) -> None:
    shell = call(output_audio=False)
    shell.ask("What is it?")
    shell.clause("This ")
    shell.feed(TruncateItem(shell.reply.order.item_id, 0))
    assert shell.published(Fault)[0].code == "invalid_item"
    assert shell.stands(State.THINKING)


def test_a_deleted_reply_is_still_spoken_but_not_remembered(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken(ms=300)
    shell.feed(DeleteItem(shell.reply.order.item_id))
    shell.generated()
    shell.silence(600)
    assert shell.published(ReplyDone)
    shell.ask("And Spain?")
    assert [m.role for m in shell.reply.said] == ["user"]


def test_speech_in_an_item_is_transcribed_and_answered_once_its_words_are_there(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.feed(AddItem("user", "", "mine", clip=7, seconds=2.0))
    assert shell.published(ItemAdded)[0].item == Item("mine", "user", "", spoken=True)
    assert shell.ordered(TranscribeClip) == [TranscribeClip(1, 7)]
    shell.feed(RequestReply(metadata=(("a", "b"),)))
    assert not shell.ordered(StartReply)
    shell.final("what is it")
    assert shell.published(TranscriptFinal) == [TranscriptFinal("mine", "what is it", 2.0)]
    assert shell.reply.said == (Message("user", "what is it"),)
    assert shell.published(ReplyCreated)[0].metadata == (("a", "b"),)


def test_words_of_a_deleted_item_are_not_given_to_the_next_of_its_name(call: ShellFactory) -> None:
    shell = call()
    shell.feed(AddItem("user", "", "mine", clip=1, seconds=1.0))
    shell.feed(RequestReply())
    shell.feed(DeleteItem("mine"))
    shell.feed(AddItem("user", "", "mine", clip=2, seconds=2.0))
    assert shell.ordered(DropTranscription) == [DropTranscription(1)]
    shell.feed(FinalTranscript(1, "the first", 0))
    shell.final("the second")
    assert shell.published(TranscriptFinal) == [TranscriptFinal("mine", "the second", 2.0)]
    assert shell.reply.said == (Message("user", "the second"),)


def test_too_much_speech_in_items_is_refused(call: ShellFactory) -> None:
    shell = call()
    for _ in range(9):
        shell.feed(AddItem("user", "", clip=1, seconds=1.0, event_id="e"))
    assert len(shell.ordered(TranscribeClip)) == 8
    assert [fault.code for fault in shell.published(Fault)] == ["too_many_transcriptions"]


CAPTIONS = SessionConfig(kind=SessionKind.TRANSCRIPTION)


def test_captions_have_no_agent(call: ShellFactory) -> None:
    shell = call(kind=SessionKind.TRANSCRIPTION, idle_timeout_ms=1_000, instructions="Be brief.")
    shell.ask("What is it?")
    assert shell.published(TranscriptFinal)[0].text == "What is it?"
    shell.pass_time(5)
    shell.feed(RequestReply(event_id="e"))
    assert [(n.code, n.event_id) for n in shell.published(Fault)] == [
        ("response_not_supported", "e")
    ]
    assert not shell.ordered(StartReply)
    assert not shell.ordered(PrepareReply)
    assert [record.user_text for record in shell.records] == ["What is it?"]


def test_a_session_that_turns_to_captions_falls_silent(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.feed(ConfigureSession(CAPTIONS))
    assert shell.published(ReplyDone)[0].status is ReplyStatus.CANCELLED
    assert shell.stands(State.LISTENING)
    shell.feed(ConfigureSession(SessionConfig()))
    shell.ask("And now?")
    assert len(shell.ordered(StartReply)) == 2
