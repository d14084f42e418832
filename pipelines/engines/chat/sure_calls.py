"""sure_calls: what every chat model's answer goes through, so that no call is part of its text.

- Calls written as text become calls (``written_calls``). What looks like one and cannot be made is
  asked for once more, with what was wrong; after that it is dropped, and an answer without
  anything else is an empty one, of finish reason "stop".
- A written call that the turn has made already, with the same arguments, is not made again: the
  model is asked once more, without tools.
- Ids of calls are unique: an upstream's own is kept unless it is a mere number.
- Calls by the model's own protocol are passed on as they are.
- A call within a thought is none.
"""

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from pipelines.engines.base import (
    ChatDelta,
    ChatMessage,
    ToolCallDelta,
    ToolDefinition,
    ToolOffer,
    new_call_id,
)

from .thoughts import answers
from .written_calls import CallReader

Ask = Callable[[Sequence[ChatMessage], ToolOffer | None], AsyncGenerator[ChatDelta, None]]

_NUMBERED = re.compile(r"(?:call|tool|tool[_-]?call|function|fc)?[_-]?\d{0,4}", re.IGNORECASE)
"""Ids like "0" or "call_0", which every answer of some servers has again."""
_MOST_QUOTED = 500


async def sure_calls(
    ask: Ask, messages: Sequence[ChatMessage], offer: ToolOffer | None, *, formatted: bool = False
) -> AsyncGenerator[ChatDelta, None]:
    """The answer of ``ask`` to ``messages``; its last delta has the counts of all that was asked.

    ``offer``: the tools of this answer. Those that the messages call count as well, though they
    may not be called now; where there are none the text is passed on as it is. ``formatted``: the
    answer is to be JSON."""
    prompt = completion = 0
    history, offered = messages, offer
    if offer is None or not offer.tools:
        names = dict.fromkeys(call.name for message in messages for call in message.calls)
        tools = tuple(ToolDefinition(name, "", '{"type": "object"}') for name in names)
        offer = ToolOffer(tools, "none") if tools else None
    for attempt in range(2):
        answer = _Answer(offer, messages, formatted=formatted)
        async with aclosing(answers(ask(history, offered))) as stream:
            async for delta in stream:
                if delta.finish_reason is not None:
                    prompt, completion = (
                        prompt + delta.prompt_tokens,
                        completion + delta.completion_tokens,
                    )
                    last = replace(
                        answer.end(delta), prompt_tokens=prompt, completion_tokens=completion
                    )
                    break
                if (passed := answer.read(delta)) is not None:
                    yield passed
            else:
                return
        again = answer.question()
        if attempt or again is None or last.finish_reason == "length":
            break
        if last.text or last.thought:
            yield ChatDelta(last.text, thought=last.thought)
        history = [*messages, *again]
        if answer.repeated and offer is not None:
            offered = replace(offer, choice="none")
    yield last


class _Answer:
    """One answer on its way."""

    def __init__(
        self, offer: ToolOffer | None, messages: Sequence[ChatMessage], *, formatted: bool
    ) -> None:
        tools = offer if offer is not None and offer.tools else None
        self._reader = CallReader(tools, formatted=formatted) if tools else None
        if self._reader is not None:
            self._reader.made_before(_calls_of_turn(messages))
        self._names = [tool.name for tool in tools.tools] if tools else []
        self._callable = tools is not None and tools.choice != "none"
        self._native: set[int] = set()
        self._written = 0

    def read(self, delta: ChatDelta) -> ChatDelta | None:
        """``delta`` as it is passed on; None where nothing is left of it."""
        passed = self._passed(delta, last=False)
        has = passed.text or passed.calls or passed.thought or passed.retracts
        return passed if has else None

    def end(self, delta: ChatDelta) -> ChatDelta:
        """The last delta; its finish reason says whether there are calls."""
        passed = self._passed(delta, last=True)
        if self._native or self._written:
            return replace(passed, finish_reason="tool_calls")
        return (
            replace(passed, finish_reason="stop") if delta.finish_reason == "tool_calls" else passed
        )

    @property
    def repeated(self) -> bool:
        """Whether the answer is nothing but a call whose output it had."""
        reader = self._reader
        return reader is not None and reader.repeats and not self._native and not self._written

    def question(self) -> list[ChatMessage] | None:
        """What is said to the model to ask once more; None where the answer will do."""
        if self._reader is None or self._native or self._written:
            return None
        if self.repeated:
            return [ChatMessage("user", "You have its output already. Answer in plain words.")]
        if not self._callable and (self._reader.unusable or self._reader.calls):
            return [ChatMessage("user", "Tools cannot be used now. Answer in plain words.")]
        if not self._reader.unusable:
            return None
        wrote = self._reader.unusable[:_MOST_QUOTED]
        wanted = (
            f"That is no call of a tool. The tools are: {', '.join(self._names)}. Call one of"
            " them with arguments that fit its schema, or answer in plain words."
        )
        return [ChatMessage("assistant", wrote), ChatMessage("user", wanted)]

    def _passed(self, delta: ChatDelta, *, last: bool) -> ChatDelta:
        native = tuple(self._named(piece) for piece in delta.calls)
        if self._reader is None:
            return replace(delta, calls=native)
        text, written = self._reader.feed(delta.text)
        if last:
            rest, more = self._reader.flush()
            text, written = text + rest, written + more
        if self._native or not self._callable:
            written = []  # an echo of the calls that came by protocol
        self._written += len(written)
        return replace(delta, text=text, calls=(*native, *written))

    def _named(self, piece: ToolCallDelta) -> ToolCallDelta:
        """A piece of a call by protocol, with an id that is unique."""
        index = piece.index + self._written
        if index in self._native:
            return replace(piece, index=index, call_id="")
        self._native.add(index)
        usable = piece.call_id and _NUMBERED.fullmatch(piece.call_id) is None
        return replace(piece, index=index, call_id=piece.call_id if usable else new_call_id())


def _calls_of_turn(messages: Sequence[ChatMessage]) -> list[tuple[str, str]]:
    """Names and arguments of the calls behind the user's last message."""
    calls: list[tuple[str, str]] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        calls += [(call.name, call.arguments) for call in message.calls]
    return calls
