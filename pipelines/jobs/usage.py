"""Usage: units of work are booked, each once, at the price of the day.

A unit is booked in the transaction that stores its result, if there is one, so that neither exists
without the other. Its name makes it unique: booking it again changes nothing.

The operator's price table is JSON: type of work → model → price; ``*`` stands for every type or
model without an entry of its own::

    {
      "tts":   {"blab-expressive": {"perThousandTokens": 0.03}, "*": {"perThousandTokens": 0.015}},
      "stt":   {"*": {"perAudioMinute": 0.006}},
      "agent": {"*": {"perThousandTokens": 0.0006}}
    }

The currency is the operator's. Without a table everything costs nothing, which is right for engines
of one's own. Changing the table does not change what has been booked.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from store.database import Database
from store.tenants.calls import Calls, NewTurn
from store.tenants.jobs import Job
from store.tenants.usage import NewUsageEvent, UsageEvents

from .job import Unit

ANY = "*"
MAX_PRICE = Decimal(10_000)
_SMALLEST = Decimal("0.00000001")
"""To which the cost of a unit is rounded."""


class PricesError(ValueError):
    """The price table is invalid; the message says why."""


class Price(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The price of one model: per 1,000 tokens (characters, for speech) and per minute of audio."""

    per_thousand_tokens: Decimal = Decimal(0)
    per_audio_minute: Decimal = Decimal(0)


Table = Mapping[str, Mapping[str, Price]]


class Prices:
    """A price table."""

    def __init__(self, table: Table | None = None) -> None:
        """Raises PricesError for prices below 0, above ``MAX_PRICE`` or not finite."""
        self._table = table or {}
        for type, models in self._table.items():
            for model, price in models.items():
                for amount in (price.per_thousand_tokens, price.per_audio_minute):
                    if not (amount.is_finite() and 0 <= amount <= MAX_PRICE):
                        raise PricesError(f"{type}.{model}: a price is from 0 to {MAX_PRICE}.")

    @classmethod
    def read(cls, path: Path | None) -> "Prices":
        """Read a table; without a file everything costs nothing. Raises PricesError."""
        if path is None:
            return cls()
        try:
            return cls(msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Price]]))
        except OSError as error:
            raise PricesError(f"{path} cannot be read: {error.strerror}.") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise PricesError(f"{path} is not a price table: {error}.") from error

    def cost(self, unit: Unit) -> Decimal:
        """The cost of ``unit``, to 8 decimals."""
        price = self._price(unit.type, unit.model)
        tokens = price.per_thousand_tokens * unit.tokens / 1000
        audio = price.per_audio_minute * unit.audio_ms / 60_000
        return (tokens + audio).quantize(_SMALLEST, ROUND_HALF_UP)

    def _price(self, type: str, model: str) -> Price:
        for models in (self._table.get(type), self._table.get(ANY)):
            if models is not None:
                for name in (model, ANY):
                    if name in models:
                        return models[name]
        return Price()


AGENT = "agent"
"""Type of the units for an agent's turns."""


HEARD_TOKEN_MS, SPOKEN_TOKEN_MS = 100, 50
"""Milliseconds of audio per token in OpenAI's usage: of the user's speech, and of the assistant's
(platform.openai.com/docs/guides/realtime-costs)."""


def audio_tokens(milliseconds: int, token_ms: int) -> int:
    """Tokens in ``milliseconds`` of audio, rounded up."""
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
        events = [(workspace_id, self._event(unit)) for unit in units]
        await UsageEvents(connection).insert(events)

    async def hook(self, connection: Any, ended: Sequence[tuple[Job, tuple[Unit, ...]]]) -> None:
        """Book the units of jobs; a FinishHook."""
        events = [(job.workspace_id, self._event(unit)) for job, units in ended for unit in units]
        await UsageEvents(connection).insert(events)

    def _event(self, unit: Unit) -> NewUsageEvent:
        return NewUsageEvent(
            unit=unit.name,
            type=unit.type,
            model=unit.model,
            tokens=unit.tokens,
            audio_ms=unit.audio_ms,
            cost=self._prices.cost(unit),
        )

    async def book_turn(
        self, connection: Any, workspace_id: str, call_id: str, turn: NewTurn
    ) -> None:
        """Book the chat model's tokens for a turn of a call, stored in the same transaction."""
        tokens = turn.prompt_tokens + turn.completion_tokens
        call = await Calls(connection).get(workspace_id, call_id) if tokens else None
        if call is not None:
            model = str(call.config.get("model") or "default")
            unit = Unit(f"{turn.id}:chat", AGENT, model, tokens)
            await self.book_in(connection, workspace_id, [unit])
