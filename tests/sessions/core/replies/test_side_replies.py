"""Side replies disturb nothing and end exactly once."""

import pytest

from sessions.core.commands import CancelReply, StartReply
from sessions.core.events import (
    AddItem,
    HangUp,
    ReplyGenerated,
    RequestCancel,
    RequestReply,
    Tick,
)
from sessions.core.items import Item, Message, PromptLine, ReplyStatus
from sessions.core.notices import Fault, ReplyCreated, ReplyDone, ReplyItemAdded
from sessions.core.replies.side_replies import MOST_SIDE
from sessions.core.states import State
from tests.sessions.core.conftest import ShellFactory
from tests.support.sessions.model_shell import ModelReply, ModelShell

ASKED = RequestReply(
    instructions="Sum up.", output_audio=False, metadata=(("a", "b"),), out_of_band=True
)


def written(shell: ModelShell) -> ModelReply:
    return shell.side_replies[max(shell.side_replies)]


def test_a_side_reply_is_written_while_another_reply_is_spoken(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.feed(ASKED)
    reply = written(shell)
    assert reply.order.side
    assert reply.order.history[0] == Message("system", "Sum up.")
    shell.generate(reply, "In short. ", 0)
    shell.generated(reply)
    created = shell.published(ReplyCreated)[-1]
    assert (created.metadata, created.in_conversation) == ((("a", "b"),), False)
    assert not shell.published(ReplyItemAdded)[-1].in_conversation
    done = shell.published(ReplyDone)[-1]
    assert (done.status, done.text, done.prompt_tokens) == (ReplyStatus.COMPLETED, "In short. ", 20)
    assert shell.stands(State.SPEAKING)
    assert not shell.ordered(CancelReply)
    assert shell.records[-1].reply_text == "In short. "


def test_its_own_input_can_replace_the_conversation(call: ShellFactory) -> None:
    shell = call(instructions="Be brief.")
    shell.feed(AddItem("user", "Hello", "x"))
    lines = (PromptLine(item_id="x"), PromptLine("user", "Sum up."))
    shell.feed(RequestReply(output_audio=False, out_of_band=True, prompt=lines))
    assert written(shell).order.history == (
        Message("system", "Be brief."),
        Message("user", "Hello\nSum up."),
    )
    assert list(shell.core._call.transcript) == [Item("x", "user", "Hello")]


def test_a_reference_to_nothing_is_refused(call: ShellFactory) -> None:
    shell = call()
    shell.feed(RequestReply(prompt=(PromptLine(item_id="x"),), event_id="e"))
    (fault,) = shell.published(Fault)
    assert (fault.code, fault.param, fault.event_id) == ("item_not_found", "response.input", "e")


def test_the_number_of_side_replies_is_bounded(call: ShellFactory) -> None:
    shell = call()
    for _ in range(MOST_SIDE + 1):
        shell.feed(ASKED)
    assert len(shell.ordered(StartReply)) == MOST_SIDE
    assert shell.published(Fault)[0].code == "too_many_responses"
    shell.generated(written(shell))
    shell.feed(ASKED)
    assert len(shell.ordered(StartReply)) == MOST_SIDE + 1


def test_a_side_reply_is_cancelled_by_its_id(call: ShellFactory) -> None:
    shell = call()
    shell.feed(ASKED)
    shell.feed(ASKED)
    shell.feed(RequestCancel("resp_c_1"))
    (done,) = shell.published(ReplyDone)
    assert (done.reply_id, done.status, done.reason) == (
        "resp_c_1",
        ReplyStatus.CANCELLED,
        "client_cancelled",
    )
    shell.feed(ReplyGenerated(1))
    assert len(shell.published(ReplyDone)) == 1


def test_a_failed_side_reply_has_the_status_failed(call: ShellFactory) -> None:
    shell = call()
    shell.feed(ASKED)
    shell.fail(written(shell))
    (done,) = shell.published(ReplyDone)
    assert (done.status, done.code) == (ReplyStatus.FAILED, "PROVIDER_ERROR")
    assert shell.stands(State.LISTENING)
    assert not shell.published(Fault)


def test_a_side_reply_without_progress_is_given_up(call: ShellFactory) -> None:
    shell = call()
    shell.feed(ASKED)
    assert shell.core.next_deadline() == shell.now + 30
    shell.now += 30
    shell.feed(Tick())
    assert shell.published(ReplyDone)[0].message == "The reply took too long."


def test_side_replies_end_with_the_call(call: ShellFactory) -> None:
    shell = call()
    shell.feed(ASKED)
    shell.feed(HangUp("peer_gone"))
    assert shell.published(ReplyDone)[0].reason == "call_ended"
    assert shell.ordered(CancelReply) == [CancelReply(1)]


@pytest.mark.parametrize("prompt", [None, (PromptLine("user", "Say so."),)])
def test_a_spoken_side_reply_waits_for_the_floor_and_becomes_no_item(
    call: ShellFactory, prompt: tuple[PromptLine, ...] | None
) -> None:
    shell = call()
    shell.feed(RequestReply(out_of_band=True, prompt=prompt))
    shell.clause("One moment.", 200)
    shell.generated()
    shell.play(1.0)
    assert shell.published(ReplyDone)[0].heard == "One moment."
    assert not list(shell.core._call.transcript)
    shell.have_spoken()
    shell.feed(RequestReply(out_of_band=True))
    assert shell.published(Fault)[0].code == "conversation_already_has_active_response"
