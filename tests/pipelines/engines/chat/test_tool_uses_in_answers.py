"""A model's answer without tool uses in its text, and which answers are requested again."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from pipelines.engines.base import (
    ChatDelta,
    ChatMessage,
    ChatToolCall,
    ToolCallDelta,
    ToolDefinition,
    ToolOffer,
)
from pipelines.engines.chat.tool_uses import checked_answer

OFFER = ToolOffer((ToolDefinition("find", "", '{"type": "object"}'),))
ASKED = (ChatMessage("user", "find the pens"),)
CALL = '{"name": "find", "arguments": {"thing": "pens"}}'
NO_CALL = '{"name": "fly", "arguments": {}}'


class Script:
    """Gives each answer in its turn, in two deltas, and keeps what it was asked."""

    def __init__(self, *answers: str | Sequence[ToolCallDelta], reason: str = "stop") -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Sequence[ChatMessage], ToolOffer | None]] = []
        self.reason = reason

    async def ask(
        self, messages: Sequence[ChatMessage], offer: ToolOffer | None
    ) -> AsyncGenerator[ChatDelta, None]:
        answer = self.answers[len(self.asked)]
        self.asked.append((messages, offer))
        if isinstance(answer, str):
            half = len(answer) // 2
            yield ChatDelta(answer[:half])
            yield ChatDelta(answer[half:])
        else:
            for call in answer:
                yield ChatDelta(calls=(call,))
        yield ChatDelta("", self.reason, 10, 5)


async def read(
    script: Script,
    offer: ToolOffer | None = OFFER,
    messages: Sequence[ChatMessage] = ASKED,
) -> tuple[str, list[ToolCallDelta], ChatDelta]:
    deltas = [delta async for delta in checked_answer(script.ask, messages, offer)]
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    text = "".join(delta.text for delta in deltas)
    return text, [call for delta in deltas for call in delta.calls], deltas[-1]


async def test_a_written_tool_use_counts() -> None:
    text, [call], last = await read(Script(f"Sure. {CALL}"))
    assert (text, call.index, call.name, call.arguments) == (
        *("Sure. ", 0, "find", '{"thing": "pens"}'),
    )
    assert (last.finish_reason, last.prompt_tokens, last.completion_tokens) == ("tool_calls", 10, 5)


async def test_without_tools_text_is_text() -> None:
    assert (await read(Script(CALL), None))[:2] == (CALL, [])


async def test_an_unusable_tool_use_is_asked_again() -> None:
    script = Script(f"Hm. {NO_CALL}", CALL)
    text, [call], last = await read(script)
    assert (text, call.name) == ("Hm. ", "find")
    assert (last.prompt_tokens, last.completion_tokens) == (20, 10)
    again, offer = script.asked[1]
    assert offer == OFFER
    assert [message.role for message in again] == ["user", "assistant", "user"]
    assert again[1].content == NO_CALL
    assert "find" in again[2].content


async def test_a_second_unusable_tool_use_is_an_empty_answer() -> None:
    text, calls, last = await read(Script(NO_CALL, NO_CALL))
    assert (text, calls, last.finish_reason) == ("", [], "stop")


async def test_a_truncated_answer_is_not_asked_again() -> None:
    script = Script(CALL[:20], reason="length")
    text, calls, last = await read(script)
    assert (text, calls, last.finish_reason, len(script.asked)) == ("", [], "length", 1)


async def test_a_forbidden_tool_use_is_asked_again_in_words() -> None:
    script = Script(CALL, "They are in the drawer.")
    text, calls, last = await read(script, ToolOffer(OFFER.tools, "none"))
    assert (text, calls, last.finish_reason) == ("They are in the drawer.", [], "stop")
    assert "plain words" in script.asked[1][0][-1].content


async def test_tools_in_the_history_are_known_without_an_offer() -> None:
    made = ChatMessage("assistant", "", (ChatToolCall("c", "find", "{}"),))
    history = [*ASKED, made, ChatMessage("tool", "three", call_id="c")]
    script = Script(CALL, "Three pens.")
    assert (await read(script, None, history))[:2] == ("Three pens.", [])
    assert [offer for _, offer in script.asked] == [None, None]


async def test_a_tool_use_already_made_is_not_repeated() -> None:
    script = Script(CALL, "Three pens.")
    made = ChatMessage("assistant", "", (ChatToolCall("c", "find", '{"thing":"pens"}'),))
    history = [*ASKED, made, ChatMessage("tool", "three", call_id="c")]
    text, calls, _ = await read(script, OFFER, history)
    assert (text, calls) == ("Three pens.", [])
    assert script.asked[1][1] == ToolOffer(OFFER.tools, "none")
    later = [*history, ChatMessage("assistant", "Three."), ChatMessage("user", "Look again.")]
    assert len((await read(Script(CALL), OFFER, later))[1]) == 1


@pytest.mark.parametrize("given", ["", "0", "call_0", "call-17", "tool_call_3", "call0"])
async def test_repeated_ids_are_replaced(given: str) -> None:
    pieces = [ToolCallDelta(0, given, "find", "{"), ToolCallDelta(0, given, "", "}")]
    ids = []
    for _ in range(2):
        _, [first, second], last = await read(Script(pieces))
        assert (second.call_id, second.arguments, last.finish_reason) == ("", "}", "tool_calls")
        ids.append(first.call_id)
    assert len({*ids, given}) == 3
    assert all(one.startswith("call_") and len(one) > 20 for one in ids)


@pytest.mark.parametrize("given", ["call_Ab3xK9", "chatcmpl-tool-0f3a9c", "toolu_01A", "D681PevKs"])
async def test_unique_ids_of_an_upstream_are_kept(given: str) -> None:
    _, [call], _ = await read(Script([ToolCallDelta(0, given, "find", "{}")]))
    assert call.call_id == given


async def test_a_tool_use_made_both_ways_counts_once() -> None:
    class Both(Script):
        async def ask(
            self, messages: Sequence[ChatMessage], offer: ToolOffer | None
        ) -> AsyncGenerator[ChatDelta, None]:
            yield ChatDelta(calls=(ToolCallDelta(0, "call_Ab3xK9", "find", "{}"),))
            async for delta in super().ask(messages, offer):
                yield delta

    text, calls, _ = await read(Both(CALL))
    assert (text, [call.call_id for call in calls]) == ("", ["call_Ab3xK9"])


async def test_a_tool_use_within_a_thought_does_not_count() -> None:
    text, calls, last = await read(Script(f"<think>Maybe {CALL}</think>No."))
    assert (text, calls, last.finish_reason) == ("No.", [], "stop")
    text, [call], _ = await read(Script(f"<think>Maybe {NO_CALL}</think>\n{CALL}"))
    assert (text, call.name) == ("", "find")
