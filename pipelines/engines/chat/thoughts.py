"""Thoughts: what a reasoning model writes before it answers, separated from the answer.

Servers that know their model send thoughts separately (``reasoning_content``); others leave them
in the text, as ``<think>…</think>`` and its many relatives. ``answers`` wraps a chat model's
stream, so that whatever shows, speaks, stores or parses an answer gets the answer only.

Rules
- A span that is never closed is a thought to its end.
- A closing tag without an opening one ends a thought too: the chat templates of DeepSeek-R1 and
  QwQ put the opening tag into the prompt. By then the text before it was passed on as the answer;
  ``retracts`` says so, and the consumer drops what it still can. ``thinking=True`` starts within a
  thought, for a model that is known to do this.
- The answer flows on at once: only a possible tag is held back, at most ``LONGEST`` characters. The
  output does not depend on how the text was cut into deltas.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from pipelines.engines.base import ChatDelta

LONGEST = 80
"""Characters of a tag with its attributes; anything longer is text."""

_NAMES = tuple(
    (
        "think thinking thought thoughts reason reasoning reflect reflection reflections"
        " scratchpad analysis monologue inner_monologue internal_monologue inner_thoughts"
        " internal_thoughts deliberation chain_of_thought cot rationale planning seed:think"
    ).split()
)
_FIXED = {
    "[THINK]": True,
    "[/THINK]": False,  # Magistral
    "◁think▷": True,
    "◁/think▷": False,  # Kimi
    "<|begin_of_thought|>": True,
    "<|end_of_thought|>": False,
    "<|channel|>analysis<|message|>": True,
    "<|channel|>final<|message|>": False,  # gpt-oss, whose roles between the two are dropped too
}
"""Tags spelled differently from ``<name>``; True opens a thought."""
_NAME = "|".join(sorted(_NAMES, key=len, reverse=True))
_TAG = re.compile(
    rf"<[ ]?(?P<closes>/?)[ ]?(?:{_NAME})(?:\s[^<>]{{0,48}})?>"
    + "".join(f"|{re.escape(tag)}" for tag in _FIXED),
    re.IGNORECASE,
)
_UNFINISHED = re.compile(r"<[ ]?/?[ ]?(?P<name>[a-z_:]*)(?P<more>\s[^<>]*)?", re.IGNORECASE)
_FIXED_OPENS = {tag.lower(): opens for tag, opens in _FIXED.items()}


class ThoughtFilter:
    """Feed text, take (answer, thought); ``flush`` at the end."""

    def __init__(self, *, thinking: bool = False) -> None:
        self.retracts = False
        """Set by a ``feed`` that reveals that the whole answer before it was a thought."""
        self._assumed = thinking
        """Within a thought whose opening tag was not seen: it may turn out to be the answer."""
        self._within = thinking
        self._held = ""
        self._assumed_texts: list[str] = []
        self._blank = True
        """The answer is empty so far, or ends in a blank."""
        self._trims = False
        """After a thought: blanks are dropped if the answer had one before it."""

    def feed(self, text: str) -> tuple[str, str]:
        """What ``text`` adds to the answer, and to the thoughts."""
        self.retracts = False
        self._held += text
        return self._take(last=False)

    def flush(self) -> tuple[str, str]:
        """The rest, once the text is complete."""
        self.retracts = False
        answer, thought = self._take(last=True)
        if self._assumed:
            answer = self._take_assumed().lstrip() + answer
        return answer, thought

    def end_thought(self) -> str:
        """An earlier filter found that all text so far was a thought; returns the held part."""
        thought, self._held = self._take_assumed() + self._held, ""
        self.retracts = not self._assumed
        self._assumed = self._within = False
        self._blank = self._trims = True
        return thought

    def _take(self, *, last: bool) -> tuple[str, str]:
        held, place = self._held, 0
        answer: list[str] = []
        thought: list[str] = []
        for tag in _TAG.finditer(held):
            self._sort(held[place : tag.start()], answer, thought)
            place = tag.end()
            opens = _FIXED_OPENS.get(tag[0].lower(), not tag["closes"])
            if not opens and not self._within:
                self.retracts = self._blank = True
                thought += answer
                answer.clear()
            elif not opens and self._assumed:
                thought.append(self._take_assumed())
            self._assumed = self._assumed and opens
            self._within, self._trims = opens, self._blank
        cut = len(held) - (0 if last else _unfinished(held[place:]))
        self._sort(held[place:cut], answer, thought)
        self._held = held[cut:]
        return "".join(answer), "".join(thought)

    def _sort(self, text: str, answer: list[str], thought: list[str]) -> None:
        if self._assumed:
            self._assumed_texts.append(text)
        elif self._within:
            thought.append(text)
        else:
            if self._trims:
                text = text.lstrip()
            if text:
                self._blank, self._trims = text[-1].isspace(), False
            answer.append(text)

    def _take_assumed(self) -> str:
        text = "".join(self._assumed_texts)
        self._assumed_texts.clear()
        return text


async def answers(
    stream: AsyncGenerator[ChatDelta, None], *, thinking: bool = False
) -> AsyncGenerator[ChatDelta, None]:
    """``stream`` with the thoughts moved from ``text`` to ``thought``; closes it at the end.

    May be applied twice: what an inner one retracts, the outer one does too, unless it has not
    passed it on."""
    thoughts = ThoughtFilter(thinking=thinking)
    ended = False
    async with aclosing(stream):
        async for delta in stream:
            held = thoughts.end_thought() if delta.retracts else ""
            retracts = delta.retracts and thoughts.retracts
            text, thought = thoughts.feed(delta.text)
            thought, retracts = held + thought, retracts or thoughts.retracts
            if delta.finish_reason is not None:
                rest, thought_left = thoughts.flush()
                text, thought, ended = text + rest, thought + thought_left, True
            yield replace(delta, text=text, thought=delta.thought + thought, retracts=retracts)
    if not ended:
        text, thought = thoughts.flush()
        if text or thought:
            yield ChatDelta(text, thought=thought)


def _unfinished(text: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of a tag."""
    for start in range(max(0, len(text) - LONGEST + 1), len(text)):
        if text[start] in "<[◁" and _may_begin(text[start:].lower()):
            return len(text) - start
    return 0


def _may_begin(text: str) -> bool:
    if any(tag.startswith(text) for tag in _FIXED_OPENS):
        return True
    found = _UNFINISHED.fullmatch(text)
    if found is None:
        return False
    if found["more"] is not None:
        return found["name"] in _NAMES
    return any(name.startswith(found["name"]) for name in _NAMES)
