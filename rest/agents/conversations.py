"""Conversations by recordings: each belongs to one caller and is stored as a call with its turns.

Rules
- Conversations of one agent are independent. Turns of one conversation are taken one at a time, on
  whichever node: a lease is held from before the history is read until the turn is stored. It lasts
  ``LEASE_SECONDS`` and is renewed, so a dead node blocks nobody for long.
- A turn is stored with its call and billed in one transaction, or not at all.
- Another workspace's conversation, another agent's, and a live call's count as absent.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rest.http.errors import NotFound, WrongState
from sessions.core.items import Message
from sessions.persistence import BookTurn
from store.bus import Bus
from store.database import Database
from store.errors import BusUnavailable
from store.ids import is_id, new_id
from store.tenants.calls import Calls, NewCall, NewTurn, Turn, Turns

log = logging.getLogger(__name__)

CHANNEL = "rest"
"""Channel of the calls that are such conversations."""
ENDED = "turn_ended"
LEASE_SECONDS = 15.0
WAIT_SECONDS = 10.0
"""How long a turn waits for the one before it."""
HISTORY_TURNS = 12
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, held by one turn. ``turns``: the last ones, in order."""

    id: str
    began: datetime
    turns: tuple[Turn, ...] = ()
    language: str | None = None
    """The caller's, where an earlier turn found it out."""
    caller: bytes | None = None
    """A digest of who speaks, for a new conversation."""

    @property
    def next_number(self) -> int:
        """The number of the next turn."""
        return self.turns[-1].number + 1 if self.turns else 1

    @property
    def history(self) -> tuple[Message, ...]:
        """What the caller said, and what was heard of the replies."""
        said = [
            message
            for turn in self.turns
            for message in (Message("user", turn.user_text), Message("assistant", turn.heard_text))
        ]
        return tuple(message for message in said if message.content.strip())


class Conversations:
    """Starts and continues conversations. ``node_id``: as in the calls table."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        node_id: str,
        book: BookTurn,
        *,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._database = database
        self._bus = bus
        self._node_id = node_id
        self._book = book
        self._wait_seconds = wait_seconds

    @contextlib.asynccontextmanager
    async def turn(
        self, workspace_id: str, agent_id: str, conversation_id: str | None
    ) -> AsyncIterator[Conversation]:
        """Hold a conversation; a new one where no id is given.

        Raises NotFound, WrongState (another turn of it takes too long), StoreUnavailable."""
        if not conversation_id:
            yield Conversation(new_id("call"), datetime.now(UTC))
            return
        call = None
        if is_id(conversation_id):
            call = await Calls(self._database).get(workspace_id, conversation_id)
        if call is None or call.agent_id != agent_id or call.channel != CHANNEL:
            raise NotFound("This agent has no such conversation.", param="conversationId")
        async with self._lease(call.id):
            turns = Turns(self._database)
            last = await turns.latest_of_call(workspace_id, call.id, HISTORY_TURNS)
            language = call.config["language"] if call.config.get("language_known") else None
            yield Conversation(call.id, call.started_at, tuple(last), language)

    async def store(
        self,
        workspace_id: str,
        agent_id: str,
        conversation: Conversation,
        turn: NewTurn,
        config: dict[str, Any],
    ) -> None:
        """Store and bill a turn; ``config``: the session's, as JSON, for a new conversation, or for
        one whose language it found out. Raises NotFound where it was erased meanwhile."""
        now = datetime.now(UTC)
        async with self._database.transaction() as connection:
            calls = Calls(connection)
            if not conversation.turns:
                began = conversation.began
                new = NewCall(
                    id=conversation.id,
                    agent_id=agent_id,
                    node_id=self._node_id,
                    channel=CHANNEL,
                    config=config,
                    started_at=began,
                    caller=conversation.caller,
                    agent_version=turn.agent_version,
                )
                await calls.open(workspace_id, new)
                await calls.close(workspace_id, conversation.id, ENDED, now)
            elif config.get("language_known") and config["language"] != conversation.language:
                await calls.reconfigure(workspace_id, conversation.id, config)
            if not await calls.prolong(workspace_id, conversation.id, now):
                raise NotFound("The conversation was erased meanwhile.", param="conversationId")
            await Turns(connection).insert(workspace_id, conversation.id, turn)
            await self._book(connection, workspace_id, conversation.id, turn)

    @contextlib.asynccontextmanager
    async def _lease(self, conversation_id: str) -> AsyncIterator[None]:
        key, holder = f"conversation:{conversation_id}:turn", new_id("turn")
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._wait_seconds
        while not await self._bus.lease_acquire(key, holder, LEASE_SECONDS):
            if loop.time() >= give_up:
                raise WrongState(
                    "Another turn of this conversation is still running: send this one after it.",
                    reason="conversation_busy",
                    retry_after=1,
                )
            await asyncio.sleep(_LOOK_SECONDS)
        keeper = asyncio.create_task(self._keep(key, holder))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            with contextlib.suppress(BusUnavailable):  # then it expires
                await self._bus.lease_release(key, holder)

    async def _keep(self, key: str, holder: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await self._bus.lease_renew(key, holder, LEASE_SECONDS)
            except BusUnavailable as error:
                log.warning("the lease of a conversation was not renewed: %s", error)
