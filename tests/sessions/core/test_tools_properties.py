"""Like test_conversation_properties, for an agent that uses tools whenever it can."""

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from sessions.core.config import SessionConfig, SessionKind
from sessions.core.events import RequestCancel, RequestReply, ToolsListed
from sessions.core.states import State
from tests.sessions.core.test_conversation_properties import (
    CONFIGS,
    LISTED,
    NAMES,
    SERVERS,
    TOOLS,
    WORDS,
    Calls,
)
from tests.support.examples import examples
from tests.support.sessions.model_shell import ModelShell


class ToolUse(Calls):
    """One call with tools."""

    @initialize(config=CONFIGS, many=st.booleans())
    def start(self, config: SessionConfig, many: bool) -> None:
        config = replace(
            config,
            kind=SessionKind.REALTIME,
            tools=TOOLS,
            servers=SERVERS if many else (),
            tool_choice="auto",
        )
        self.shell = ModelShell(config)
        if many:
            self.shell.feed(ToolsListed("shop", LISTED))

    @precondition(lambda self: self.shell.core.state is State.LISTENING)
    @rule(names=st.lists(NAMES, min_size=1, max_size=3), words=st.booleans())
    def answer_with_calls(self, names: list[str], words: bool) -> None:
        self.shell.feed(RequestReply())
        if words and self._living() is not None:
            self.shell.clause("Let me look. ", 300)
        self.call_tools(names, True)
        self.shell.play(0.1)
        self.shell.play(1.0)

    @precondition(lambda self: self.shell.work)
    @rule(words=WORDS, answered=st.booleans())
    def speak_while_tools_work(self, words: str, answered: bool) -> None:
        """Words, a cough or an "okay", and a tool that returns in the middle of them."""
        self.shell.hear(0.9, 8)
        if answered and self.shell.work:
            self.shell.tool_returns("done")
        self.shell.hear(0.0, 4)
        if self.shell.asked:
            self.shell.final(words, 0.9)
        self.shell.hear(0.0, 24)

    @precondition(lambda self: self.shell.work)
    @rule(seconds=st.sampled_from([1.3, 4.5, 17.0]))
    def wait_for_tools(self, seconds: float) -> None:
        """The filler, or the end of their time."""
        self.shell.pass_time(seconds)

    @precondition(lambda self: self.shell.work)
    @rule()
    def cancel_while_tools_work(self) -> None:
        self.shell.feed(RequestCancel())


TestToolUse = ToolUse.TestCase
TestToolUse.settings = settings(
    max_examples=examples(120),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
