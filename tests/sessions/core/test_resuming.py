"""A conversation that is resumed: by what was heard, with nothing twice and nobody left waiting."""

import pytest

from sessions.core.checkpoint import Checkpoint
from sessions.core.commands import ListTools, StartReply
from sessions.core.config import (
    SessionConfig,
    SessionKind,
    Tool,
    ToolKind,
    ToolServer,
    TurnDetection,
    TurnMode,
)
from sessions.core.events import (
    AddItem,
    AddToolOutput,
    ReplyGenerated,
    RequestReply,
    TranscriptionFailed,
)
from sessions.core.items import ReplyStatus, ToolUseState
from sessions.core.notices import (
    ItemTruncated,
    ReplyCreated,
    ReplyDone,
    SessionOpened,
    ToolEnded,
    TranscriptFailed,
    TranscriptFinal,
)
from sessions.core.replies.replies import GO_ON
from sessions.core.states import State
from sessions.core.tools import UNKNOWN_OUTCOME
from sessions.core.turns.ended_turns import AUDIO_LOST
from sessions.languages.packs import pack_of
from tests.support.sessions.model_shell import ModelShell

LOOK_UP = Tool("look_up", kind=ToolKind.HTTP, url="https://example.com/", timeout_ms=3_000)
TEXT = "Paris is the capital of France. "


@pytest.fixture
def shell() -> ModelShell:
    return ModelShell()


def history(shell: ModelShell) -> list[tuple[str, str]]:
    """The roles and words that the newest reply answers."""
    return [(message.role, message.content) for message in shell.reply.said]


def test_the_session_comes_again_as_it_was(shell: ModelShell) -> None:
    shell.resume()
    first, second = shell.published(SessionOpened)
    assert second == first


def test_a_reply_goes_on_with_the_words_that_were_not_heard(shell: ModelShell) -> None:
    shell.have_spoken(TEXT, 2_000)
    shell.generated()
    shell.play(1.0)
    cut = shell.reply
    shell.resume()
    done = cut.done
    assert done is not None
    assert done.heard == "Paris is the"
    assert (done.status, done.reason) == (ReplyStatus.CANCELLED, "call_resumed")
    assert shell.published(ItemTruncated)[-1].heard == "Paris is the"
    assert shell.reply.order.script == "capital of France."
    assert shell.reply.order.turn == cut.order.turn
    assert shell.reply.released


def test_both_parts_of_a_reply_are_one_record(shell: ModelShell) -> None:
    shell.have_spoken(TEXT, 2_000)
    shell.generated()
    shell.play(1.0)
    shell.resume()
    shell.clause("capital of France.", 1_000)
    shell.generated()
    shell.play(2.0)
    (record,) = shell.records
    assert record.user_text == "what is the capital of france"
    assert record.reply_text == "Paris is the capital of France."
    assert record.heard_text == record.reply_text
    assert (record.interrupted, record.status) == (False, ReplyStatus.COMPLETED)


def test_a_turn_that_is_answered_before_its_text_is_one_record(shell: ModelShell) -> None:
    """The text of what the client sent failed, so the reply to it asks for it again."""
    shell.feed(AddItem("user", "", "item_x", None, "e", clip=1, seconds=2.0))
    shell.feed(RequestReply())
    shell.feed(TranscriptionFailed(1, "PROVIDER_ERROR", "no text"))
    assert shell.reply.order.turn == 1
    shell.resume()
    assert not shell.records, "the reply goes on, and records the turn"
    shell.clause("Could you say that again?", 1_000)
    shell.generated()
    shell.play(2.0)
    assert [record.turn for record in shell.records] == [1]


def test_the_next_prompt_holds_each_heard_word_once(shell: ModelShell) -> None:
    shell.have_spoken(TEXT, 2_000)
    shell.generated()
    shell.play(1.0)
    shell.resume()
    shell.clause("capital of France.", 1_000)
    shell.generated()
    shell.play(2.0)
    shell.ask("and of spain")
    assert history(shell) == [
        ("user", "what is the capital of france"),
        ("assistant", "Paris is the capital of France."),
        ("user", "and of spain"),
    ]


def test_a_reply_that_is_cut_twice_is_still_one_record(shell: ModelShell) -> None:
    shell.have_spoken(TEXT, 2_000)
    shell.generated()
    shell.play(1.0)
    shell.resume()
    shell.clause("capital of France.", 1_000)
    shell.generated()
    shell.play(0.6)
    shell.resume()
    assert shell.reply.order.script == "France."
    shell.clause("France.", 500)
    shell.generated()
    shell.play(1.0)
    (record,) = shell.records
    assert record.heard_text == "Paris is the capital of France."


def test_a_reply_that_was_not_written_to_its_end_is_asked_for_again(shell: ModelShell) -> None:
    shell.have_spoken(TEXT, 2_000)
    shell.play(1.0)
    shell.resume()
    assert shell.reply.order.script is None
    assert history(shell)[-2:] == [("assistant", "Paris is the"), ("user", GO_ON)]


def test_a_reply_of_which_nothing_was_heard_is_made_again(shell: ModelShell) -> None:
    shell.ask("what is the capital of france")
    unheard = shell.reply
    shell.resume()
    assert shell.reply is not unheard
    assert shell.reply.said == unheard.said
    assert shell.reply.order.turn == unheard.order.turn


def test_a_reply_that_was_heard_to_its_end_is_only_recorded(shell: ModelShell) -> None:
    shell.have_spoken(TEXT, 2_000)
    shell.play(2.0)
    shell.feed(ReplyGenerated(shell.reply.number))
    shell.resume()
    assert shell.stands(State.LISTENING)
    (record,) = shell.records
    assert (record.status, record.heard_text) == (ReplyStatus.COMPLETED, TEXT)


def test_words_of_a_turn_that_had_not_ended_are_answered(shell: ModelShell) -> None:
    shell.speak(640, "what is the capital")
    shell.resume()
    assert shell.published(TranscriptFinal)[-1].text == "what is the capital"
    assert history(shell) == [("user", "what is the capital")]
    assert shell.reply.released


def test_sound_without_words_is_forgotten(shell: ModelShell) -> None:
    shell.speak(640)
    shell.resume()
    assert shell.stands(State.LISTENING)
    assert shell.records == []
    shell.ask("hello")
    assert history(shell) == [("user", "hello")]


def test_an_ended_turn_whose_text_was_lost_is_to_be_repeated(shell: ModelShell) -> None:
    shell.speak(640)
    shell.silence(6_000)
    assert shell.stands(State.THINKING)
    shell.resume()
    assert shell.published(TranscriptFailed)[-1].code == AUDIO_LOST
    assert shell.reply.order.script == pack_of("en").spoken.unheard


def test_an_interruption_that_had_words_ends_the_reply(shell: ModelShell) -> None:
    shell.have_spoken(TEXT, 4_000)
    shell.play(2.0)
    shell.speak(320, "no stop please")
    shell.resume()
    cut, answer = (shell.replies[number] for number in sorted(shell.replies)[-2:])
    assert cut.done is not None
    assert cut.done.status is ReplyStatus.CANCELLED
    assert not cut.goes_on
    assert answer.said[-1].content == "no stop please"


def test_a_backchannel_lets_the_reply_go_on(shell: ModelShell) -> None:
    shell.have_spoken(TEXT, 4_000)
    shell.generated()
    shell.play(2.0)
    shell.hear(0.95, 6)
    shell.partial("mhm")
    shell.resume()
    assert shell.reply.order.script == "capital of France."


def test_captions_are_published_and_not_answered() -> None:
    shell = ModelShell(SessionConfig(kind=SessionKind.TRANSCRIPTION))
    shell.speak(640, "first of all")
    shell.resume()
    assert shell.published(TranscriptFinal)[-1].text == "first of all"
    assert [record.user_text for record in shell.records] == ["first of all"]
    assert shell.stands(State.LISTENING)


def test_input_that_was_not_committed_by_hand_is_dropped() -> None:
    detection = TurnDetection(TurnMode.NONE)
    shell = ModelShell(SessionConfig(turn_detection=detection))
    shell.speak(640, "not yet")
    shell.resume()
    assert shell.stands(State.LISTENING)
    assert shell.published(TranscriptFinal) == []


def test_a_running_tool_gets_an_output_that_says_what_is_known() -> None:
    shell = ModelShell(SessionConfig(tools=(LOOK_UP,)))
    shell.ask("where is my parcel")
    shell.call_tool("look_up")
    shell.generated()
    assert shell.stands(State.USING_TOOLS)
    shell.resume()
    (ended,) = shell.published(ToolEnded)
    assert ended.item.state is ToolUseState.FAILED
    assert ended.item.output is not None
    assert ended.item.output[1] == UNKNOWN_OUTCOME
    assert [message.content for message in shell.reply.said if message.role == "tool"] == [
        UNKNOWN_OUTCOME
    ]
    assert len(shell.run) == 1, "it is not run again"


def test_a_clients_function_stays_pending_until_its_output_comes() -> None:
    shell = ModelShell(SessionConfig(tools=(Tool("get_weather"),)))
    shell.ask("how is the weather")
    shell.call_tool("get_weather")
    shell.generated()
    (used,) = shell.published(ReplyDone)[-1].tool_uses
    shell.resume()
    assert shell.stands(State.LISTENING)
    assert used.item.tool_use is not None
    shell.feed(AddToolOutput(used.item.tool_use.tool_use_id, "sunny"))
    shell.feed(RequestReply())
    assert [message.content for message in shell.reply.said if message.role == "tool"] == ["sunny"]


def test_tool_uses_of_a_reply_that_was_being_heard_begin_at_its_end() -> None:
    shell = ModelShell(SessionConfig(tools=(LOOK_UP,)))
    shell.ask("where is my parcel")
    shell.clause("Let me look that up. ", 1_000)
    shell.play(0.0)
    shell.call_tool("look_up")
    shell.generated()
    shell.play(0.5)
    shell.resume()
    assert not shell.work
    shell.clause("that up.", 500)
    shell.generated()
    shell.play(1.0)
    assert len(shell.work) == 1


def test_servers_are_listed_again() -> None:
    shell = ModelShell(SessionConfig(servers=(ToolServer("shop", "https://example.com/mcp"),)))
    shell.resume()
    assert len(shell.ordered(ListTools)) == 2


def test_a_side_reply_ends(shell: ModelShell) -> None:
    shell.feed(RequestReply(output_audio=False, out_of_band=True))
    shell.resume()
    (done,) = shell.published(ReplyDone)
    assert done.status is ReplyStatus.CANCELLED
    assert len(shell.records) == 1


def test_numbers_go_on(shell: ModelShell) -> None:
    shell.have_spoken()
    shell.generated()
    shell.play(3.0)
    shell.resume()
    shell.ask("and of spain")
    created = [notice.reply_id for notice in shell.published(ReplyCreated)]
    assert created == ["resp_c_1", "resp_c_2"]
    assert [order.turn for order in shell.ordered(StartReply)] == [1, 2]


@pytest.mark.parametrize("minutes", [0, 59])
def test_the_longest_call_is_counted_from_its_beginning(shell: ModelShell, minutes: int) -> None:
    shell.pass_time(minutes * 60)
    checkpoint = shell.resume(0.0)
    assert isinstance(checkpoint, Checkpoint)
    assert shell.core.next_deadline() == pytest.approx(100.0 + 3600.0)
