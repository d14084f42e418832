"""The mouth of a session: the replies that are being made, one current and several side replies.

Each is a task (``reply_task``). Cancelling one stops its engines; what of it may still be heard is
the playout's.
"""

import asyncio
import logging
from collections.abc import Callable

from pipelines.engines.base import EngineError
from pipelines.engines.catalogue import Catalogue
from sessions.core.commands import PrepareReply, StartReply
from sessions.core.events import Event

from .listening import Spawn
from .pace import Pace
from .playout import Playout
from .reply_task import ReplyTask, chat_message, offer_of

log = logging.getLogger(__name__)


class Replying:
    """Makes replies for one session."""

    def __init__(
        self,
        engines: Catalogue,
        playout: Playout,
        dispatch: Callable[[Event], None],
        advance: Callable[[], None],
        spawn: Spawn,
    ) -> None:
        """``advance``: sends the audio that is due."""
        self._engines = engines
        self._playout = playout
        self._dispatch = dispatch
        self._advance = advance
        self._spawn = spawn
        self._current: tuple[StartReply, asyncio.Task[None], ReplyTask] | None = None
        self._side: dict[int, asyncio.Task[None]] = {}
        self._hint: asyncio.Task[None] | None = None
        self._pace = Pace()
        self._thinkers: set[str] = set()
        """The chat models that were seen to begin an answer inside a thought."""

    @property
    def current(self) -> StartReply | None:
        """The order of the current reply."""
        return self._current[0] if self._current is not None else None

    def start(self, order: StartReply, rate: int) -> None:
        """Make a reply, with audio at ``rate`` Hz."""
        if not order.side:
            self._playout.start(order.reply, order.reply_id, order.item_id)
        task = ReplyTask(
            order,
            self._engines,
            self._playout,
            rate,
            self._dispatch,
            self._advance,
            self._thinkers,
            None if order.side else self._pace,
        )
        running = self._spawn(task.run())
        if order.side:
            self._side[order.reply] = running
            running.add_done_callback(lambda _: self._side.pop(order.reply, None))
        else:
            self._current = order, running, task

    def speak_filler(self, reply: int, text: str) -> None:
        """Begin the reply with ``text``, if it is the current one."""
        if self._current is not None and self._current[0].reply == reply:
            self._current[2].speak_filler(text)

    def cancel(self, reply: int) -> None:
        """Stop making a reply."""
        if (beside := self._side.pop(reply, None)) is not None:
            beside.cancel()
        elif self._current is not None and self._current[0].reply == reply:
            self._current[1].cancel()
            self._current = None
        self._playout.discard(reply)

    def prepare(self, hint: PrepareReply) -> None:
        """Pass a hint to the chat model, one at a time; hints that come meanwhile are dropped."""
        if self._hint is None or self._hint.done():
            self._hint = self._spawn(self._read_ahead(hint))

    async def _read_ahead(self, hint: PrepareReply) -> None:
        try:
            model = await self._engines.chat(hint.config.model)
            messages = [chat_message(message) for message in hint.history]
            await model.prefill(messages, offer=offer_of(hint.tools, hint.config.tool_choice))
        except EngineError as error:  # the reply itself will report it
            log.debug("a prompt was not read ahead: %s", error.code)
