"""Working ahead of the end of a turn: the prompt is read, and a reply begun, while it is uncertain.

Rules
- Reading ahead is a hint. The instructions are read when a call begins and when they change; the
  caller's words as they come, a few at a time and never the last one, which may still change. None
  is given once the caller falls silent: the real prompt is near then, and must not wait for one.
- A reply is started speculatively when the text is a whole and the melody does not speak against an
  end, else shortly before patience runs out; ``SPECULATIONS`` times for each turn, one at a time.
"""

import re

from sessions.core.call import Call
from sessions.core.commands import PrepareReply
from sessions.core.config import SessionKind, TurnMode
from sessions.core.items import Message
from sessions.core.prompt import composed
from sessions.core.replies.replies import Replies
from sessions.core.tools.tool_uses import ToolUses

from .endpointing import COMPLETE, Ending, patience, samples
from .input_audio import InputAudio, Utterance

HEAD_START_MS = 450
"""How long before the end of patience a reply is begun: about what its first audio takes."""
SPECULATIONS = 3
"""Replies begun for one turn before its end is certain, at most."""

_WORDS_AT_ONCE = 3
_I = re.compile(r"\bi\b")


class Speculation:
    """Decides what is read and begun ahead, and when."""

    def __init__(self, call: Call, audio: InputAudio, replies: Replies, tools: ToolUses) -> None:
        self._call = call
        self._audio = audio
        self._replies = replies
        self._tools = tools
        self._read: tuple[int, int] = (0, 0)
        """(turn, words) of the last hint."""
        self._begins: tuple[str, str] | None = None
        """Instructions and model of which the beginning was read."""

    def read_instructions(self) -> None:
        """The prompt's beginning is known: the instructions and what has been said so far."""
        config = self._call.config
        begins = composed(config), config.model
        if config.kind is SessionKind.REALTIME and begins != self._begins:
            self._begins = begins
            self._read_ahead(())

    def read_words(self, utterance: Utterance) -> None:
        """The caller's words so far are likely to be the prompt's next part."""
        if not self._call.config.answers:
            return
        words = utterance.partial.split()[:-1]
        turn, read = self._read
        known = read if turn == utterance.turn else 0
        if len(words) < known + _WORDS_AT_ONCE or self._audio.gate.silence:
            return
        self._read = utterance.turn, len(words)
        self._read_ahead((Message("user", _written(words)),))

    def begin_reply(self, utterance: Utterance) -> None:
        """Start the reply to ``utterance``, which has a text, if its end is likely or near."""
        if (
            not (utterance.final or "").strip()
            or not self._call.config.answers
            or self._replies.current is not None
            or not self._replies.settled
            or utterance.speculations >= SPECULATIONS
            or not self._likely_over(utterance)
        ):
            return
        utterance.speculations += 1
        said = Message("user", utterance.text)
        self._replies.start(utterance.turn, utterance.text, utterance.moments, extra=(said,))

    def patience(self, utterance: Utterance) -> int:
        """Samples of silence that end the open ``utterance``, as far as is known of it."""
        detection = self._call.detection
        wordless = utterance.final is not None and not utterance.final.strip()
        return patience(detection, utterance.ending, utterance.probability, wordless=wordless)

    def _likely_over(self, utterance: Utterance) -> bool:
        by_melody = utterance.probability is None or utterance.probability >= COMPLETE
        if self._call.detection.mode is TurnMode.SERVER_VAD:
            by_melody = True
        if by_melody and utterance.ending is Ending.CLOSED:
            return True
        missing = self.patience(utterance) - self._audio.gate.silence
        return missing <= samples(HEAD_START_MS)

    def _read_ahead(self, extra: tuple[Message, ...]) -> None:
        call = self._call
        history = call.transcript.beginning(composed(call.config), extra)
        if history:
            call.order(PrepareReply(history, call.config, self._tools.offered(call.config)))


def _written(words: list[str]) -> str:
    """Recognised words as the final transcript is likely to write them."""
    text = _I.sub("I", " ".join(words))
    return text[:1].upper() + text[1:]
