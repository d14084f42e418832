"""Tool uses in a chat model's answer: those written as text are found, checked and made real.

``checked_answer`` is what every chat model's answer goes through, so that no tool use is spoken:

- A tool use written as text becomes one. If it cannot be executed the model is asked again, with
  what was wrong; after that it is dropped, and an answer without anything else is an empty one,
  with finish reason "stop".
- A written tool use that the turn has made already, with the same arguments, is not repeated: the
  model is asked again, without tools.
- Ids are unique: an upstream's own is kept unless it is a mere number.
- Tool uses in the model's own protocol are passed on as they are.
- One within a thought does not count.

``ToolUseReader`` finds them in the stream of tokens:

- What looks like a tool use is never text: it has the markup of one, or is an object with a name
  and arguments. It is repaired if possible, otherwise ``unusable``.
- It names an offered tool and has arguments that fit its schema, as far as they can be coerced
  (numbers written as texts, superfluous names).
- Everything else is text, unchanged, and flows at once. Only a possible beginning is held back:
  ``tool_markup.LOOK`` characters, or, if an object begins like a tool use and has no end, at most
  ``LIMIT``.
- After a tool use without a closing tag only further ones are read: what a model writes there is
  a guess at the tool's answer. The same one twice counts once.
"""

import contextlib
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pipelines.engines.base import (
    ChatDelta,
    ChatMessage,
    ToolCallDelta,
    ToolDefinition,
    ToolOffer,
    new_call_id,
)

from .json_schemas import arguments_schema, coerced, fits
from .thoughts import answers
from .tool_markup import Markup, interpreted

LIMIT = 16_384
_CLOSER = re.compile(r"[}\])>`]")
_AT_ONCE = 1024
"""Characters taken together, however many arrive: what is held is copied for each form."""
_SURE = ("tag", "bracket")
"""Kinds that cannot be anything but a tool use."""


class ToolUseReader:
    """Feed text, take text and tool uses; ``flush`` at the end."""

    def __init__(self, offer: ToolOffer, *, formatted: bool = False) -> None:
        """``formatted``: the answer itself is JSON, so that only tags are markup."""
        self.unusable = ""
        """The first text that looked like a tool use but cannot be executed."""
        self.found = 0
        """Tool uses found so far."""
        self.repeats = False
        """Whether a tool use was dropped because the turn has made it already."""
        self._schemas = {tool.name: arguments_schema(tool.parameters) for tool in offer.tools}
        self._markup = _markup(tuple(self._schemas), not formatted)
        self._held = ""
        self._kind: str | None = None
        """The kind of form at the beginning of the held text."""
        self._looked = 0
        self._doubtful = False
        self._start = True
        self._quiet = False
        """Text is dropped: it follows a tool use."""
        self._made: set[tuple[str, str]] = set()

    def made_before(self, calls: Iterable[tuple[str, str]]) -> None:
        """Names and arguments of tool uses that must not be repeated."""
        for name, arguments in calls:
            with contextlib.suppress(ValueError, RecursionError):
                self._made.add((name, _canonical(json.loads(arguments))))

    def feed(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """What ``text`` adds: text to say, and whole tool uses."""
        said: list[str] = []
        calls: list[ToolCallDelta] = []
        for start in range(0, len(text), _AT_ONCE):
            more, new = self._take(text[start : start + _AT_ONCE], last=False)
            said.append(more)
            calls += new
        return "".join(said), calls

    def flush(self) -> tuple[str, list[ToolCallDelta]]:
        """The rest, once the answer is complete."""
        return self._take("", last=True)

    def _take(self, text: str, *, last: bool) -> tuple[str, list[ToolCallDelta]]:
        self._held += text
        said = ""
        calls: list[ToolCallDelta] = []
        while self._held:
            if self._kind is None:
                said += self._text(last=last)
                if self._kind is None:
                    break
            more = self._form(last=last)
            if more is None:
                break
            said += more[0]
            calls += more[1]
        return said, calls

    def _text(self, *, last: bool) -> str:
        """Text up to the next form, without an end that may become the beginning of one."""
        opening = self._markup.opening(self._held)
        if opening is not None:
            self._kind, cut = opening
        else:
            unsure = 0 if last else self._markup.unsure(self._held, at_start=self._start)
            cut = len(self._held) - unsure
        said, self._held = self._held[:cut], self._held[cut:]
        if self._quiet:
            return ""
        self._start = self._start and not said.strip()
        return said

    def _form(self, *, last: bool) -> tuple[str, list[ToolCallDelta]] | None:
        """The form at the beginning of the held text, once it is whole."""
        assert self._kind is not None  # noqa: S101 - the only caller checks
        closes = not self._doubtful and bool(_CLOSER.search(self._held, self._looked))
        self._looked = len(self._held)
        end = self._markup.end(self._kind, self._held) if closes or last else None
        if end is None:
            if not last and len(self._held) <= LIMIT:
                return None
            end = len(self._held)
        form, rest, kind = self._held[:end], self._held[end:], self._kind
        calls, looks = self._read(form)
        if last and looks and not calls and rest:
            calls, _ = self._read(form + rest)
        if self._kind == "named" and not calls and not re.search(r"[{=]", form):
            looks = False
        if looks and not calls and not last and len(self._held) <= LIMIT:
            self._doubtful = True  # a brace may have come too early, the rest follows
            return None
        self._kind, self._looked, self._doubtful = None, 0, False
        if not calls and not looks and kind not in _SURE:
            self._held, self._start = rest, False
            return ("" if self._quiet else form), []
        self._held = rest.lstrip() if kind == "tag" else rest
        stray = re.fullmatch(r"</[^>]*>", form)
        if not calls and not stray:
            self.unusable = self.unusable or form
        self._quiet = self._quiet or not (kind == "tag" and form.endswith(">"))
        return "", [new for call in calls if (new := self._call(*call)) is not None]

    def _read(self, form: str) -> tuple[list[tuple[str, str]], bool]:
        """The tool uses in ``form`` (names and arguments), and whether it looks like one at all."""
        found = interpreted(form, self._schemas)
        return [call for one in found if (call := self._fitting(*one))], bool(found)

    def _fitting(self, name: str, arguments: Any) -> tuple[str, str] | None:
        """The intended tool and its arguments; None if they cannot be made to fit."""
        known = self._known(name)
        if known is None or arguments is None:
            return None
        arguments = coerced(arguments, self._schemas[known])
        if not fits(arguments, self._schemas[known]):
            return None
        return known, json.dumps(arguments, ensure_ascii=False)

    def _call(self, name: str, arguments: str) -> ToolCallDelta | None:
        made = name, _canonical(json.loads(arguments))
        if made in self._made:
            self.repeats = True
            return None
        self._made.add(made)
        index, self.found = self.found, self.found + 1
        return ToolCallDelta(index, new_call_id(), name, arguments)

    def _known(self, name: str) -> str | None:
        """The offered tool that ``name`` stands for."""
        if name in self._schemas:
            return name
        bare = _letters(name.rpartition(".")[2])
        alike = [known for known in self._schemas if _letters(known) == bare]
        return alike[0] if len(alike) == 1 else None


@lru_cache(64)
def _markup(names: tuple[str, ...], bare: bool) -> Markup:
    return Markup(names, bare=bare)


def _canonical(arguments: Any) -> str:
    return json.dumps(arguments, sort_keys=True)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


Ask = Callable[[Sequence[ChatMessage], ToolOffer | None], AsyncGenerator[ChatDelta, None]]

_NUMBERED = re.compile(r"(?:call|tool|tool[_-]?call|function|fc)?[_-]?\d{0,4}", re.IGNORECASE)
"""Ids like "0" or "call_0", which some servers repeat in every answer."""
_MOST_QUOTED = 500


async def checked_answer(
    ask: Ask, messages: Sequence[ChatMessage], offer: ToolOffer | None, *, formatted: bool = False
) -> AsyncGenerator[ChatDelta, None]:
    """The answer of ``ask`` to ``messages``; its last delta has the token counts of all requests.

    ``offer``: the tools of this answer. Tools used in ``messages`` are recognised too, though they
    may not be used now; without any tool the text is passed on unchanged. ``formatted``: the answer
    is JSON."""
    prompt = completion = cached = 0
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
                    prompt += delta.prompt_tokens
                    completion += delta.completion_tokens
                    cached += delta.cached_tokens
                    last = replace(
                        answer.end(delta),
                        prompt_tokens=prompt,
                        completion_tokens=completion,
                        cached_tokens=cached,
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
    """One answer in progress."""

    def __init__(
        self, offer: ToolOffer | None, messages: Sequence[ChatMessage], *, formatted: bool
    ) -> None:
        tools = offer if offer is not None and offer.tools else None
        self._reader = ToolUseReader(tools, formatted=formatted) if tools else None
        if self._reader is not None:
            self._reader.made_before(_uses_in_turn(messages))
        self._names = [tool.name for tool in tools.tools] if tools else []
        self._callable = tools is not None and tools.choice != "none"
        self._native: set[int] = set()
        self._written = 0

    def read(self, delta: ChatDelta) -> ChatDelta | None:
        """``delta`` as it is passed on; None if nothing is left of it."""
        passed = self._passed(delta, last=False)
        has = passed.text or passed.calls or passed.thought or passed.retracts
        return passed if has else None

    def end(self, delta: ChatDelta) -> ChatDelta:
        """The last delta; its finish reason says whether there are tool uses."""
        passed = self._passed(delta, last=True)
        if self._native or self._written:
            return replace(passed, finish_reason="tool_calls")
        return (
            replace(passed, finish_reason="stop") if delta.finish_reason == "tool_calls" else passed
        )

    @property
    def repeated(self) -> bool:
        """Whether the answer is nothing but a tool use whose output it had already."""
        reader = self._reader
        return reader is not None and reader.repeats and not self._native and not self._written

    def question(self) -> list[ChatMessage] | None:
        """The messages with which to ask the model again; None if the answer will do."""
        if self._reader is None or self._native or self._written:
            return None
        if self.repeated:
            return [ChatMessage("user", "You have its output already. Answer in plain words.")]
        if not self._callable and (self._reader.unusable or self._reader.found):
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
            written = []  # an echo of the tool uses that came by protocol
        self._written += len(written)
        return replace(delta, text=text, calls=(*native, *written))

    def _named(self, piece: ToolCallDelta) -> ToolCallDelta:
        """A part of a tool use that came by protocol, with a unique id."""
        index = piece.index + self._written
        if index in self._native:
            return replace(piece, index=index, call_id="")
        self._native.add(index)
        usable = piece.call_id and _NUMBERED.fullmatch(piece.call_id) is None
        return replace(piece, index=index, call_id=piece.call_id if usable else new_call_id())


def _uses_in_turn(messages: Sequence[ChatMessage]) -> list[tuple[str, str]]:
    """Names and arguments of the tool uses after the user's last message."""
    calls: list[tuple[str, str]] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        calls += [(call.name, call.arguments) for call in message.calls]
    return calls
