"""What a caller hears of a chat model that thinks aloud, is slow, or has nothing to say.

On a virtual clock: seconds of waiting take none.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pipelines.engines.base import ChatMessage
from pipelines.engines.scripted.live import ScriptedEngines, scripted_engines
from sessions.core.items import ReplyStatus
from sessions.core.replies.continuation import ANSWER_PATIENCE
from sessions.languages.packs import PACKS
from tests.support.sessions import virtual_clock
from tests.support.sessions.scripted_call import ScriptedCall

THOUGHT = "<think>The user wants a greeting.</think>Good morning to you."
LISTS = "Here you are:\n\n1. **Rome** is old.\n2. [Oslo](https://example.org) is cold. [smiles]"


def in_call(
    engines: ScriptedEngines,
    conversation: Callable[[ScriptedCall], Coroutine[Any, Any, None]],
    **changes: Any,
) -> ScriptedCall:
    """A call in which one writes."""

    async def carried() -> ScriptedCall:
        call = ScriptedCall(engines, **changes)
        async with call:
            await conversation(call)
        return call

    return virtual_clock.run(carried())


def transcripts(call: ScriptedCall) -> list[str]:
    """The deltas of all responses."""
    texts: dict[str, str] = {}
    for kind in ("response.output_audio_transcript.delta", "response.output_text.delta"):
        for event in call.of(kind):
            texts[event["response_id"]] = texts.get(event["response_id"], "") + event["delta"]
    return list(texts.values())


@pytest.mark.parametrize("spoken", [True, False])
def test_a_thought_is_not_sent_stored_or_kept_in_history(spoken: bool) -> None:
    engines = scripted_engines(answers=(THOUGHT,))

    async def twice(call: ScriptedCall) -> None:
        for number in (1, 2):
            await call.type("Hello")
            await call.answered(number)

    call = in_call(engines, twice, output_audio=spoken)
    assert transcripts(call) == ["Good morning to you."] * 2
    assert [turn.reply_text for turn in call.notes.turns] == ["Good morning to you."] * 2
    assert engines.chat_model.asked[1][-2] == ChatMessage("assistant", "Good morning to you.")
    assert set(engines.voice.spoken) == ({"Good morning to you."} if spoken else set())


def test_a_list_is_sent_and_stored_in_its_spoken_form() -> None:
    async def once(call: ScriptedCall) -> None:
        await call.type("Where to?")
        await call.answered()

    call = in_call(scripted_engines(answers=(LISTS,)), once)
    spoken = "Here you are:\nRome is old.\nOslo is cold. "
    assert transcripts(call) == [spoken]
    assert [turn.heard_text for turn in call.notes.turns] == [spoken]
    assert call.engines.voice.spoken == ["Here you are:", "Rome is old.", "Oslo is cold."]


def test_a_side_reply_has_no_thoughts_either() -> None:
    async def beside(call: ScriptedCall) -> None:
        await call.send(
            {
                "type": "response.create",
                "response": {"conversation": "none", "output_modalities": ["text"]},
            }
        )
        await call.answered()

    assert transcripts(in_call(scripted_engines(answers=(THOUGHT,)), beside)) == [
        "Good morning to you."
    ]


def test_an_empty_answer_becomes_an_apology() -> None:
    async def twice(call: ScriptedCall) -> None:
        await call.type("Hello")
        await call.answered(2)
        await call.type("Hello?")
        await call.answered(3)

    engines = scripted_engines(answers=("...", "👍", "I am here now."))
    call = in_call(engines, twice)
    assert transcripts(call) == [PACKS["en"].spoken.apology, "I am here now."]
    statuses = [turn.status for turn in call.notes.turns]
    assert statuses == [ReplyStatus.FAILED, ReplyStatus.COMPLETED, ReplyStatus.COMPLETED]
    [error] = call.of("error")
    assert error["error"]["message"] == "The chat model had nothing to say."


@pytest.mark.parametrize(
    ("spoken", "told"), [(True, "One moment. Here I am."), (False, "Here I am.")]
)
def test_a_slow_first_token_is_covered_by_the_filler(spoken: bool, told: str) -> None:
    engines = scripted_engines(answers=("Here I am.", "Once more."))
    engines.chat_model.first_token_delay = ANSWER_PATIENCE + 3

    async def twice(call: ScriptedCall) -> None:
        await call.type("Hello")
        if spoken:
            await call.event("response.output_audio_transcript.delta")
            assert transcripts(call) == ["One moment. "]
        await call.answered(1)
        engines.chat_model.first_token_delay = 0.0
        await call.type("Again")
        await call.answered(2)

    call = in_call(engines, twice, output_audio=spoken)
    assert transcripts(call) == [told, "Once more."]
    assert ChatMessage("assistant", "Here I am.") in engines.chat_model.asked[1]
