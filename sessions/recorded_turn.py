"""RecordedTurn: what is published of a call that is one turn long, kept instead of sent.

It is the call's wire format and its journal: nothing of such a call goes over a wire, and its one
turn is stored by whoever asked for it. ``over`` is set as soon as the turn's fate is known: the
reply has ended, an engine has failed, or not a word was understood.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sessions.core.commands import RecordTurn
from sessions.core.config import SessionConfig
from sessions.core.notices import (
    Fault,
    InputCommitted,
    Notice,
    ReplyCreated,
    ReplyDone,
    TranscriptFailed,
    TranscriptFinal,
)

from .channel import ClientFault, ServerEvent
from .persistence import OpenedCall


class RecordedTurn:
    """The turn as it unfolds; read it when the call has ended."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.fault: Fault | None = None
        """Why there is no reply, where an engine or the server failed."""
        self.response_id: str | None = None
        """The reply's; None before there is one."""
        self.reply: RecordTurn | None = None
        """Of the reply; None where there was none, or not to its end."""
        self._ended = False
        """All of the recording has been heard."""
        self._replied = False
        self._texts: list[str] = []
        self._awaited = 0
        """Texts that are not there yet."""
        self._none_awaited = asyncio.Event()
        self._none_awaited.set()

    @property
    def user_text(self) -> str:
        """What the caller said. A long recording comes in several texts."""
        return " ".join(text for text in self._texts if text.strip())

    async def texts_came(self) -> None:
        """Wait for the texts of all that has been committed."""
        await self._none_awaited.wait()

    def input_ended(self) -> None:
        """All of the recording was given to the session."""
        self._ended = True

    # ------------------------------------------------------------------ channel.WireFormat

    def parse(
        self,
        message: Mapping[str, Any],  # noqa: ARG002
        config: SessionConfig,  # noqa: ARG002
        *,
        by_caller: bool = True,  # noqa: ARG002
    ) -> NoReturn:
        """There is no client: raises ClientFault."""
        raise ClientFault("unknown_event", "A recorded turn takes no events.")

    def render(self, notice: Notice) -> Sequence[ServerEvent]:
        """Keep what matters; nothing is ever sent."""
        match notice:
            case InputCommitted():
                self._awaited += 1
                self._none_awaited.clear()
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
        """Not stored: the conversation is the call that has a record."""

    def record(self, _workspace_id: str, _call_id: str, turn: RecordTurn) -> None:
        """The core orders a reply's record right after it has published its end."""
        if self._replied and self.reply is None:
            self.reply = turn

    def closed(self, workspace_id: str, call_id: str, reason: str) -> None:
        """Not stored."""
