"""Words that somebody else has the agent say, and messages that it is to reply to."""

from dataclasses import replace

from sessions.core.commands import StartReply
from sessions.core.config import SessionKind
from sessions.core.events import AddItem, RequestCancel, RequestReply
from sessions.core.items import ReplyStatus
from sessions.core.notices import Fault, ItemAdded, ReplyCreated, ReplyDone
from sessions.core.states import State

from .conftest import ShellFactory

SAID = "A colleague joins us."
SAY = RequestReply(script=SAID, waits=True, event_id="e")


def test_a_text_is_spoken_as_the_agents_and_kept_as_heard(call: ShellFactory) -> None:
    shell = call()
    shell.feed(SAY)
    [started] = shell.ordered(StartReply)
    assert started.script == SAID
    assert shell.stands(State.THINKING)


def test_it_waits_for_the_reply_in_progress(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.feed(SAY)
    assert shell.stands(State.SPEAKING)
    shell.feed(replace(SAY, script="Another."))
    [fault] = shell.published(Fault)
    assert (fault.code, fault.event_id) == ("conversation_already_has_active_response", "e")
    shell.feed(RequestCancel())
    assert shell.published(ReplyDone)[-1].status is ReplyStatus.CANCELLED
    assert shell.stands(State.LISTENING), "what waited is given up too"


def test_it_may_cut_the_reply_off(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.feed(replace(SAY, interrupts=True))
    assert shell.published(ReplyDone)[-1].status is ReplyStatus.CANCELLED
    assert shell.ordered(StartReply)[-1].script == SAID
    assert not shell.published(Fault)


def test_an_injected_message_is_answered_when_nobody_speaks(call: ShellFactory) -> None:
    shell = call()
    shell.feed(AddItem("system", "Hurry.", reply=True))
    [added] = shell.published(ItemAdded)
    assert added.item.text == "Hurry."
    assert len(shell.published(ReplyCreated)) == 1
    busy = call()
    busy.have_spoken()
    busy.feed(AddItem("system", "Hurry.", reply=True, event_id="e"))
    items = len(busy.published(ItemAdded))
    busy.feed(AddItem("system", "Hurry up.", reply=True, event_id="e"))
    assert busy.published(Fault)[-1].event_id == "e"
    assert len(busy.published(ItemAdded)) == items, "a refused one adds nothing"


def test_captions_have_no_agent_to_speak(call: ShellFactory) -> None:
    shell = call(kind=SessionKind.TRANSCRIPTION)
    shell.feed(SAY)
    shell.feed(AddItem("system", "Hurry.", reply=True, event_id="e"))
    assert [fault.code for fault in shell.published(Fault)] == ["response_not_supported"] * 2
    assert not shell.published(ItemAdded)
