"""Reading ahead: the chat model evaluates the next prompt while the caller still speaks.

Rules: hints only. The instructions are read when a call begins and when they change; the
caller's words as they come, a few at a time and never the last one, which may still change. None
is given once the caller falls silent: the real prompt is near then, and must not wait for one.
"""

import re

from sessions.core.call import Call
from sessions.core.commands import PrepareReply
from sessions.core.config import SessionKind
from sessions.core.items import Message
from sessions.core.prompt import composed
from sessions.core.tools.tool_calls import ToolUses

from .hearing import Hearing
from .utterance import Utterance

_WORDS_AT_ONCE = 3
_I = re.compile(r"\bi\b")


class Preparation:
    """Decides what the chat model reads ahead, and when."""

    def __init__(self, call: Call, hearing: Hearing, tools: ToolUses) -> None:
        self._call = call
        self._tools = tools
        self._hearing = hearing
        self._read: tuple[int, int] = (0, 0)
        """(turn, words) of the last hint."""
        self._begins: tuple[str, str] | None = None
        """Instructions and model of which the beginning was read."""

    def configured(self) -> None:
        """The prompt's beginning is known: the instructions and what has been said so far."""
        config = self._call.config
        begins = composed(config), config.model
        if config.kind is SessionKind.REALTIME and begins != self._begins:
            self._begins = begins
            self._order(())

    def read_words(self, utterance: Utterance) -> None:
        """The caller's words so far are likely to be the prompt's next part."""
        if not self._call.config.answers:
            return
        words = utterance.partial.split()[:-1]
        turn, read = self._read
        known = read if turn == utterance.turn else 0
        if len(words) < known + _WORDS_AT_ONCE:
            return
        if self._hearing.gate.silence:
            return
        self._read = utterance.turn, len(words)
        self._order((Message("user", _written(words)),))

    def _order(self, extra: tuple[Message, ...]) -> None:
        call = self._call
        history = call.transcript.beginning(composed(call.config), extra)
        if history:
            call.order(PrepareReply(history, call.config, self._tools.offered(call.config)))


def _written(words: list[str]) -> str:
    """Recognised words as the final transcript is likely to write them."""
    text = _I.sub("I", " ".join(words))
    return text[:1].upper() + text[1:]
