"""The filler, and where it stands."""

from dataclasses import replace

import pytest

from sessions.core.commands import StartReply
from sessions.core.continuation import FILLERS, PATIENCE
from sessions.core.events import RequestResponse
from sessions.core.turns import State

from .model_shell import ModelShell
from .test_tool_calls import CONFIG, calling


def scripts(shell: ModelShell) -> list[str]:
    return [order.script for order in shell.ordered(StartReply) if order.script is not None]


def test_a_filler_is_spoken_once_where_a_tool_takes_long() -> None:
    shell = calling("look_up")
    shell.pass_time(PATIENCE - 0.1)
    assert not scripts(shell)
    shell.pass_time(0.2)
    assert scripts(shell) == [FILLERS["en"]]
    shell.piece(FILLERS["en"], 400)
    shell.generated()
    shell.play(0.0)
    shell.play(1.0)
    assert shell.stands(State.CALLING)
    shell.pass_time(3.0)
    assert len(scripts(shell)) == 1
    shell.tool_returns("sunny")
    history = shell.ordered(StartReply)[-1].history
    assert [message.role for message in history[-2:]] == ["assistant", "tool"]
    assert history[-2].content == FILLERS["en"]


def test_a_tool_that_returns_during_the_filler_is_answered_behind_it() -> None:
    shell = calling("look_up")
    shell.pass_time(PATIENCE + 0.1)
    shell.piece(FILLERS["en"], 400)
    shell.generated()
    shell.play(0.0)
    shell.tool_returns("sunny")
    assert shell.stands(State.SPEAKING)
    shell.play(1.0)
    assert shell.stands(State.THINKING)
    assert shell.reply.order.script is None


@pytest.mark.parametrize("change", [{"language": "fi"}, {"output_audio": False}])
def test_where_there_are_no_words_or_no_voice_there_is_none(change: dict[str, object]) -> None:
    shell = ModelShell(replace(CONFIG, **change))  # type: ignore[arg-type]
    shell.feed(RequestResponse())
    shell.call_tool("look_up")
    shell.generated()
    shell.pass_time(PATIENCE + 2)
    assert shell.stands(State.CALLING)
    assert not scripts(shell)
