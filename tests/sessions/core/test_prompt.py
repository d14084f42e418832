"""The system prompt: Blab's own words around the client's, the same from turn to turn."""

from dataclasses import replace

import pytest

from sessions.core.commands import PrepareReply, StartReply
from sessions.core.config import SessionConfig, Tool, ToolServer
from sessions.core.events import AddItem, ConfigureSession, RequestReply
from sessions.core.items import PromptLine
from sessions.core.prompt import composed
from tests.support.sessions.model_shell import ModelShell

from .conftest import ShellFactory

PLAIN = SessionConfig()


def test_without_instructions_the_agent_is_blab_and_is_read_aloud() -> None:
    prompt = composed(PLAIN)
    assert prompt.startswith("You are Blab, an AI voice assistant, not a human.")
    for words in ("read aloud", "one or two short sentences", "no lists", "the caller's language"):
        assert words in prompt
    assert len(prompt) < 400, "each character is read before the first word of a call"


def test_the_clients_instructions_follow_verbatim() -> None:
    instructions = "  You are Ann.\n\nBe *brief*, {name}. "
    assert composed(replace(PLAIN, instructions=instructions)) == (
        f"{composed(PLAIN)}\n\n{instructions}"
    )
    assert composed(replace(PLAIN, instructions=" \n")) == composed(PLAIN)


def test_the_agent_has_its_own_name() -> None:
    assert composed(replace(PLAIN, agent_name="Front\n desk")).startswith(
        "You are Front desk, an AI"
    )
    long = composed(replace(PLAIN, agent_name="x" * 500))
    assert len(long) < len(composed(PLAIN)) + 60


def test_a_written_reply_is_not_read_aloud() -> None:
    prompt = composed(replace(PLAIN, output_audio=False))
    assert prompt.startswith("You are Blab, an AI assistant")
    for words in ("aloud", "phone", "lists", "voice"):
        assert words not in prompt


@pytest.mark.parametrize(
    "offer",
    [{"tools": (Tool("look_up"),)}, {"servers": (ToolServer("shop", "https://example.com/mcp"),)}],
)
def test_with_tools_the_prompt_does_not_mention_live_data(offer: dict[str, object]) -> None:
    assert "no internet" in composed(PLAIN)
    with_tools = replace(PLAIN, **offer)
    assert "no internet" not in composed(with_tools)
    assert composed(with_tools) == composed(replace(with_tools, tool_choice="none")), (
        "the last round of tool calls reads the same prompt"
    )


@pytest.mark.parametrize(
    ("language", "words"),
    [("de", "in German"), ("pt-BR", "in Portuguese"), ("en", "in the caller's language"),
     ("fi", "in the caller's language")],
)  # fmt: skip
def test_a_prompt_of_its_own_names_the_sessions_language_if_known(
    language: str, words: str
) -> None:
    config = replace(PLAIN, language=language)
    assert words in composed(config, names_language=True)


def test_the_system_prompt_is_the_same_in_every_language() -> None:
    assert composed(replace(PLAIN, language="de")) == composed(PLAIN)


def test_every_reply_begins_with_the_same_system_prompt(
    call: ShellFactory,
) -> None:
    shell = call(instructions="Be brief.")
    shell.have_spoken()
    shell.generated()
    shell.play(5)
    shell.feed(RequestReply(instructions="Say goodbye."))
    first, second = (order.history for order in shell.ordered(StartReply))
    assert first[0].content == composed(shell.config)
    assert second[0].content == composed(replace(shell.config, instructions="Say goodbye."))
    assert {hint.history[0].content for hint in shell.ordered(PrepareReply)} == {
        composed(shell.config)
    }


def test_a_spoken_side_reply_has_the_system_prompt_and_a_written_one_has_not() -> None:
    shell = ModelShell(SessionConfig(instructions="Be brief."))
    shell.feed(AddItem("user", "Hello"))
    lines = (PromptLine("user", "Sum up."),)
    shell.feed(RequestReply(prompt=lines, out_of_band=True, output_audio=False))
    [beside] = shell.ordered(StartReply)
    assert [m.content for m in beside.history] == ["Be brief.", "Sum up."]
    shell.feed(RequestReply(prompt=lines, out_of_band=True))
    assert shell.reply.order.history[0].content == composed(shell.config)


def test_it_is_read_ahead_when_a_call_begins_and_when_it_changes() -> None:
    shell = ModelShell()
    assert [hint.history[0].content for hint in shell.ordered(PrepareReply)] == [composed(PLAIN)]
    shell.feed(ConfigureSession(replace(PLAIN, speed=1.1)))
    assert len(shell.ordered(PrepareReply)) == 1
    shell.feed(ConfigureSession(replace(PLAIN, tools=(Tool("look_up"),))))
    assert len(shell.ordered(PrepareReply)) == 2
