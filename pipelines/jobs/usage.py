"""Usage: units of work are booked, each once, at the price of the day.

A unit is booked in the transaction that stores what it is for, where there is one, so that neither
is there without the other. Its name makes it one: booking it again changes nothing.
"""

from collections.abc import Sequence
from typing import Any

from store.database import Database
from store.tenants.calls import Calls
from store.tenants.jobs import Job
from store.tenants.turns import NewTurn
from store.tenants.usage import NewUsageEvent, UsageEvents

from .job import Unit
from .prices import Prices

AGENT = "agent"
"""Type of the units that are an agent's turns."""


HEARD_TOKEN_MS, SPOKEN_TOKEN_MS = 100, 50
"""Audio that is one token in OpenAI's usage: of a user's speech, and of the assistant's
(platform.openai.com/docs/guides/realtime-costs)."""


def audio_tokens(milliseconds: int, token_ms: int) -> int:
    """Tokens of so much audio, the last one begun."""
    return -(-milliseconds // token_ms)


class Usage:
    """Books units; may be shared. All methods raise StoreError."""

    def __init__(self, database: Database, prices: Prices) -> None:
        self._database = database
        self._prices = prices

    async def book(self, workspace_id: str, units: Sequence[Unit]) -> None:
        """Book units, all of them or none."""
        async with self._database.transaction() as connection:
            await self.book_in(connection, workspace_id, units)

    async def book_in(self, connection: Any, workspace_id: str, units: Sequence[Unit]) -> None:
        """As ``book``, as part of the transaction that ``connection`` is in."""
        events = UsageEvents(connection)
        for unit in units:
            cost = self._prices.cost(unit)
            event = NewUsageEvent(
                *(unit.name, unit.type, unit.model, unit.tokens, unit.audio_ms, cost)
            )
            await events.insert(workspace_id, event)

    async def hook(self, connection: Any, job: Job, units: tuple[Unit, ...]) -> None:
        """Book what a job took; a FinishHook."""
        await self.book_in(connection, job.workspace_id, units)

    async def book_turn(
        self, connection: Any, workspace_id: str, call_id: str, turn: NewTurn
    ) -> None:
        """Book a turn of a call that stands in the same transaction: the chat model's tokens."""
        tokens = turn.prompt_tokens + turn.completion_tokens
        call = await Calls(connection).get(workspace_id, call_id) if tokens else None
        if call is not None:
            model = str(call.config.get("model") or "default")
            unit = Unit(f"{turn.id}:chat", AGENT, model, tokens)
            await self.book_in(connection, workspace_id, [unit])
