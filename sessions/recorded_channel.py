"""A call of one turn, whose caller is a recording and whose channel is a buffer.

``RecordedChannel`` plays the recording to the session: one turn, ended by a commit (with
``RECORDED`` as turn detection), after the earlier turns of the conversation, which become the
history. A long recording comes in parts, each transcribed before the next is heard. Nobody listens
in real time: audio counts as heard as soon as it is played, and the call ends with its turn.

``RecordedTurn`` is the call's wire format and journal. Nothing of such a call goes over a wire, and
the user of this module stores its one turn, so it only keeps what is published. ``over`` is set as
soon as the outcome is known: the reply has ended, an engine has failed, or no word was understood.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn

from media.formats import HEARING_RATE, SAMPLE_BYTES
from sessions.core.commands import RecordTurn
from sessions.core.config import SessionConfig, TurnDetection, TurnMode
from sessions.core.events import AddItem, CommitInput, RequestReply
from sessions.core.items import Message
from sessions.core.notices import (
    Fault,
    InputCommitted,
    LanguageChanged,
    Notice,
    ReplyCreated,
    ReplyDone,
    TranscriptFailed,
    TranscriptFinal,
)

from .channel import ClientFault, Incoming, Piece, ServerEvent
from .persistence import OpenedCall

RECORDED = TurnDetection(mode=TurnMode.NONE)
OUTPUT_RATE = 24_000
"""Hz of the reply's audio."""
_SLICE_BYTES = HEARING_RATE * SAMPLE_BYTES


class RecordedTurn:
    """What is known of the turn; read it when the call has ended."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.fault: Fault | None = None
        """Why there is no reply, if an engine or the server failed."""
        self.response_id: str | None = None
        """The reply's id; None before there is one."""
        self.reply: RecordTurn | None = None
        """The record of the reply; None if there was none, or it did not end."""
        self.language: str | None = None
        """The language that the caller turned out to speak; None where it was the one assumed."""
        self._ended = False
        """The whole recording has been heard."""
        self._replied = False
        self._texts: list[str] = []
        self._awaited = 0
        """How many texts are still awaited."""
        self._none_awaited = asyncio.Event()
        self._none_awaited.set()

    @property
    def user_text(self) -> str:
        """What the caller said. A long recording has several texts."""
        return " ".join(text for text in self._texts if text.strip())

    async def texts_came(self) -> None:
        """Wait for the texts of everything committed so far."""
        await self._none_awaited.wait()

    def input_ended(self) -> None:
        """The whole recording was passed to the session."""
        self._ended = True

    # ------------------------------------------------------------------ channel.WireFormat

    def parse(
        self,
        message: Mapping[str, Any],  # noqa: ARG002
        config: SessionConfig,  # noqa: ARG002
        *,
        by_caller: bool = True,  # noqa: ARG002
    ) -> NoReturn:
        """Raise ClientFault: there is no client."""
        raise ClientFault("unknown_event", "A recorded turn accepts no client events.")

    def render(self, notice: Notice) -> Sequence[ServerEvent]:
        """Keep what matters; nothing is sent."""
        match notice:
            case InputCommitted():
                self._awaited += 1
                self._none_awaited.clear()
            case LanguageChanged():
                self.language = notice.config.language
            case TranscriptFinal():
                self._texts.append(notice.text)
                self._text_came()
            case TranscriptFailed():
                self._text_came()
                self._fail(Fault(notice.code, notice.message, server=True))
            case ReplyCreated():
                self.response_id = self.response_id or notice.reply_id
            case ReplyDone(reply_id=reply_id) if reply_id == self.response_id:
                self._replied = not self.over.is_set()
                self.over.set()
            case Fault(server=True):
                self._fail(notice)
        return ()

    def _text_came(self) -> None:
        self._awaited -= 1
        if self._awaited:
            return
        self._none_awaited.set()
        if self._ended and not any(c.isalnum() for c in self.user_text):
            self.over.set()

    def _fail(self, fault: Fault) -> None:
        self.fault = self.fault or fault
        self.over.set()

    # ------------------------------------------------------------------ host.Journal

    def opened(self, call: OpenedCall) -> None:
        """Not stored: the conversation it belongs to has its own record."""

    def record(self, _workspace_id: str, _call_id: str, turn: RecordTurn) -> None:
        """Keep the record of the reply, which the core orders right after the reply's end."""
        if self._replied and self.reply is None:
            self.reply = turn

    def closed(self, workspace_id: str, call_id: str, reason: str) -> None:
        """Not stored."""


class RecordedChannel:
    """Implements channel.Channel. ``parts``: the recording, PCM16 mono at HEARING_RATE, not empty,
    each part at most a minute long."""

    name = "rest"
    input_rate = HEARING_RATE
    output_rate = OUTPUT_RATE
    lead_ms = 24 * 3_600_000
    """Audio leaves as soon as it exists."""
    dropped = False
    missed = 0

    def __init__(
        self, parts: Sequence[bytes], history: Sequence[Message], turn: RecordedTurn
    ) -> None:
        self._parts = parts
        self._history = history
        self._turn = turn
        self._played = 0
        self.reply = bytearray()
        """The reply's audio, PCM16 mono at OUTPUT_RATE."""

    async def incoming(self) -> AsyncIterator[Incoming]:
        """Yield the history, the recording and its end; then wait until the turn is over."""
        for message in self._history:
            if message.role != "tool":
                yield AddItem(message.role, message.content)
        for pcm in self._parts:
            await self._turn.texts_came()
            if self._turn.over.is_set():  # it could not be transcribed
                return
            for start in range(0, len(pcm), _SLICE_BYTES):
                yield pcm[start : start + _SLICE_BYTES]
            yield CommitInput()
        self._turn.input_ended()
        yield RequestReply()
        await self._turn.over.wait()

    def configure(self, config: SessionConfig) -> None:
        """Formats are fixed."""

    def play(self, piece: Piece) -> None:
        """Keep the audio of the reply, but not of an apology after a failure."""
        self._played += len(piece.pcm) // SAMPLE_BYTES
        if piece.response_id == self._turn.response_id:
            self.reply += piece.pcm

    def flush(self) -> None:
        """Nothing to drop: whatever was played has been heard."""

    def played(self) -> int:
        """Everything that was played."""
        return self._played

    def send(self, event: ServerEvent) -> None:
        """Never called: RecordedTurn renders no events."""

    async def close(self, reason: str) -> None:
        """Nothing to release."""
