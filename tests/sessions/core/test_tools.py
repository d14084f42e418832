"""Tool uses in the core: begun, returned, approved, given up; and their place in the history."""

import pytest

from sessions.core.commands import CancelTool, ListTools, RunTool, StartReply
from sessions.core.config import ListedTool, SessionConfig, Tool, ToolKind, ToolServer
from sessions.core.events import (
    AddToolOutput,
    AddToolUse,
    AnswerApproval,
    ConfigureSession,
    HangUp,
    RequestCancel,
    RequestReply,
    ToolListFailed,
    ToolReturned,
    ToolsListed,
)
from sessions.core.items import Message, ToolUseState
from sessions.core.notices import Fault, ReplyDone, ToolBegun, ToolEnded, ToolListing
from sessions.core.states import State
from sessions.core.tools import GIVEN_UP, MAXIMUM_ROUNDS, REFUSED, TIMED_OUT
from tests.support.sessions.model_shell import ModelShell

FUNCTION = Tool("get_weather")
HTTP = Tool("look_up", kind=ToolKind.HTTP, url="https://example.com/")
SHOP = ToolServer("shop", "https://example.com/mcp", ask=False, asked=("buy",))
LISTED = (ListedTool("find", "Finds.", "{}"), ListedTool("buy", "Buys.", "{}"))
CONFIG = SessionConfig(tools=(FUNCTION, HTTP), servers=(SHOP,), tool_choice="required")


def calling(*names: str) -> ModelShell:
    """The agent has been asked, and its reply ended in calls of these tools."""
    shell = ModelShell(CONFIG)
    shell.feed(ToolsListed("shop", LISTED))
    shell.feed(RequestReply())
    for name in names:
        shell.call_tool(name, '{"a": 1}')
    shell.generated()
    return shell


def outputs(shell: ModelShell) -> list[tuple[str, str]]:
    """The calls in the newest prompt, each with its output."""
    history = shell.ordered(StartReply)[-1].history
    told = {message.tool_use_id: message.content for message in history if message.role == "tool"}
    return [
        (call.name, told[call.tool_use_id]) for message in history for call in message.tool_uses
    ]


def test_a_function_waits_for_the_client_and_its_request() -> None:
    shell = calling("get_weather")
    assert shell.stands(State.LISTENING)
    assert not shell.ordered(RunTool)
    (done,) = shell.published(ReplyDone)
    call = done.tool_uses[0].item.tool_use
    assert call is not None
    shell.pass_time(120)
    assert len(shell.ordered(StartReply)) == 1, "nobody but the client returns its tool's output"
    shell.feed(AddToolOutput(call.tool_use_id, "sunny"))
    shell.feed(RequestReply())
    assert outputs(shell) == [("get_weather", "sunny")]


def test_a_server_tool_runs_and_the_reply_continues() -> None:
    shell = calling("look_up", "find")
    assert shell.stands(State.USING_TOOLS)
    assert [run.tool.name for run in shell.ordered(RunTool)] == ["look_up", "find"]
    assert [run.server for run in shell.ordered(RunTool)] == [None, SHOP]
    assert len(shell.published(ToolBegun)) == 2
    shell.tool_returns("one")
    assert shell.stands(State.USING_TOOLS), "the other is still at work"
    shell.tool_returns("two")
    assert shell.stands(State.THINKING)
    order = shell.ordered(StartReply)[-1]
    assert order.config.tool_choice == "auto", "a tool required once is not required again"
    assert outputs(shell) == [("look_up", "one"), ("find", "two")]


def test_client_and_server_tools_together_wait_for_the_client() -> None:
    shell = calling("get_weather", "look_up")
    shell.tool_returns()
    assert shell.stands(State.LISTENING)


def test_an_unknown_tool_fails_at_once() -> None:
    shell = calling("dance")
    assert shell.stands(State.THINKING)
    assert outputs(shell) == [("dance", "There is no tool 'dance'.")]
    assert shell.published(ToolEnded)[0].failed


def test_a_late_tool_is_given_up() -> None:
    shell = calling("look_up")
    shell.pass_time(1.0)
    shell.pass_time(HTTP.timeout_ms / 1000 + 5)
    assert len(shell.ordered(CancelTool)) == 1
    assert shell.published(ToolEnded)[0].item.output == (
        shell.ordered(RunTool)[0].tool_use_id,
        TIMED_OUT,
    )
    assert not shell.work


def test_after_several_tool_uses_the_agent_must_speak() -> None:
    shell = calling("look_up")
    for _ in range(MAXIMUM_ROUNDS):
        assert shell.reply.order.tools
        shell.tool_returns()
        shell.call_tool("look_up")
        shell.generated()
    assert not shell.ordered(StartReply)[-1].tools


def test_a_cut_reply_uses_no_tools() -> None:
    shell = ModelShell(CONFIG)
    shell.feed(RequestReply())
    shell.clause("Let me look. ", 2_000)
    shell.call_tool("look_up")
    shell.generated()
    shell.play(0.1)
    shell.feed(RequestCancel())
    assert not shell.ordered(RunTool)
    assert shell.published(ReplyDone)[0].tool_uses == ()
    assert shell.stands(State.LISTENING)


def test_words_end_running_tools_and_history_says_so() -> None:
    shell = calling("look_up")
    shell.ask("never mind, what is the capital of france")
    assert [cancel.tool_use_id for cancel in shell.ordered(CancelTool)] == list(shell.run)
    assert outputs(shell) == [("look_up", GIVEN_UP)]
    shell.feed(ToolReturned(next(iter(shell.run)), "late"))
    shell.clause("Paris. ", 300)
    shell.generated()
    assert len(shell.published(ToolEnded)) == 1


def test_an_okay_changes_nothing() -> None:
    shell = calling("look_up")
    shell.ask("okay")
    assert shell.work
    assert shell.stands(State.USING_TOOLS)


def test_a_tool_that_returns_while_the_caller_coughs_is_answered_afterwards() -> None:
    shell = calling("look_up")
    shell.speak(320)
    assert shell.stands(State.USER_SPEAKING)
    shell.tool_returns("sunny")
    assert len(shell.ordered(StartReply)) == 1
    shell.silence(160)
    shell.final("")
    shell.silence(1_000)
    assert outputs(shell) == [("look_up", "sunny")]


def test_a_result_during_the_callers_speech_is_answered_with_the_turn() -> None:
    """One reply to both: the caller's turn is not split."""
    shell = calling("get_weather")
    (done,) = shell.published(ReplyDone)
    call = done.tool_uses[0].item.tool_use
    assert call is not None
    shell.speak(320)
    shell.feed(AddToolOutput(call.tool_use_id, "sunny"))
    shell.feed(RequestReply())
    assert len(shell.ordered(StartReply)) == 1
    shell.speak(320)
    shell.silence(160)
    shell.final("What time do you open on Saturday morning?", 0.9)
    shell.silence(600)
    _, reply = [reply for reply in shell.replies.values() if reply.released]
    assert reply.said[-1] == Message("user", "What time do you open on Saturday morning?")
    assert outputs(shell) == [("get_weather", "sunny")]


def test_the_client_cancels_a_tool_use() -> None:
    shell = calling("look_up")
    shell.feed(RequestCancel())
    assert shell.stands(State.LISTENING)
    assert not shell.work


def test_hanging_up_ends_the_tools() -> None:
    shell = calling("look_up")
    shell.feed(HangUp("peer_gone"))
    assert not shell.work
    assert shell.published(ToolEnded)[0].failed


@pytest.mark.parametrize("approve", [True, False])
def test_a_tool_use_waits_for_approval(approve: bool) -> None:
    shell = calling("buy")
    assert shell.stands(State.LISTENING)
    asked = shell.published(ReplyDone)[0].tool_uses[0].item
    assert asked.state is ToolUseState.ASKED
    shell.feed(AnswerApproval(asked.item_id, approve))
    if approve:
        shell.tool_returns("bought")
    assert outputs(shell) == [("buy", "bought" if approve else REFUSED)]
    shell.feed(AnswerApproval(asked.item_id, approve, event_id="e"))
    assert shell.published(Fault)[-1].code == "approval_request_not_found"


def test_servers_are_listed_once_and_forgotten_with_the_session() -> None:
    shell = ModelShell(CONFIG)
    assert [order.server for order in shell.ordered(ListTools)] == [SHOP]
    shell.feed(ConfigureSession(CONFIG))
    assert len(shell.ordered(ListTools)) == 1
    shell.feed(ToolListFailed("shop", "shop: down"))
    assert [told.state for told in shell.published(ToolListing)] == ["in_progress", "failed"]
    shell.feed(ConfigureSession(SessionConfig()))
    shell.feed(ToolsListed("shop", LISTED))
    shell.feed(RequestReply())
    assert shell.ordered(StartReply)[-1].tools == ()


def test_a_reply_may_have_tools_of_its_own() -> None:
    shell = ModelShell(CONFIG)
    shell.feed(ToolsListed("shop", LISTED))
    own = Tool("own")
    shell.feed(RequestReply(tools=(own,), servers=(), tool_choice="own"))
    order = shell.ordered(StartReply)[-1]
    assert (order.tools, order.config.tool_choice) == ((own,), "own")
    shell.feed(RequestCancel())
    shell.feed(RequestReply(tool_choice="none"))
    assert shell.ordered(StartReply)[-1].tools == ()
    shell.feed(RequestCancel())
    shell.feed(RequestReply())
    offered = [tool.name for tool in shell.ordered(StartReply)[-1].tools]
    assert offered == ["get_weather", "look_up", "find", "buy"]


def test_only_pending_tool_uses_accept_an_output() -> None:
    shell = calling("look_up")
    ours = shell.ordered(RunTool)[0].tool_use_id
    for tool_use_id in (ours, "nothing"):
        shell.feed(AddToolOutput(tool_use_id, "mine", event_id="e"))
        assert shell.published(Fault)[-1].code == "tool_call_not_found"
    shell.feed(AddToolUse("old", "get_weather", "{}"))
    shell.feed(AddToolUse("old", "get_weather", "{}"))
    assert shell.published(Fault)[-1].code == "tool_call_exists"
    shell.feed(AddToolOutput("old", "snow"))
    shell.feed(AddToolOutput("old", "hail"))
    assert shell.published(Fault)[-1].code == "tool_call_not_found"
    shell.tool_returns("sunny")
    assert outputs(shell) == [("get_weather", "snow"), ("look_up", "sunny")]
