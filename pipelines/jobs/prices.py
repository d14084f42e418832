"""Prices: what a unit of work costs, by the operator's table. Pure.

The table is JSON: type of work → model → price; ``*`` stands for every type or model that has no
entry of its own::

    {
      "tts":   {"blab-expressive": {"perThousandTokens": 0.03}, "*": {"perThousandTokens": 0.015}},
      "stt":   {"*": {"perAudioMinute": 0.006}},
      "agent": {"*": {"perThousandTokens": 0.0006}}
    }

The currency is the operator's. Without a table everything costs nothing, which is true of engines
of one's own. A change of the table changes nothing that has been booked.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import msgspec
from msgspec import Struct

from .job import Unit

ANY = "*"
MAX_PRICE = Decimal(10_000)
_SMALLEST = Decimal("0.00000001")
"""What the cost of a unit is rounded to."""


class PricesError(ValueError):
    """The price table cannot be used; the message says why."""


class Price(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Of one model: for 1,000 tokens (of speech: characters), and for a minute of audio."""

    per_thousand_tokens: Decimal = Decimal(0)
    per_audio_minute: Decimal = Decimal(0)


Table = Mapping[str, Mapping[str, Price]]


class Prices:
    """A price table."""

    def __init__(self, table: Table | None = None) -> None:
        """Raises PricesError for prices below 0, above ``MAX_PRICE`` or that are no numbers."""
        self._table = table or {}
        for type, models in self._table.items():
            for model, price in models.items():
                for amount in (price.per_thousand_tokens, price.per_audio_minute):
                    if not (amount.is_finite() and 0 <= amount <= MAX_PRICE):
                        raise PricesError(f"{type}.{model}: a price is from 0 to {MAX_PRICE}.")

    @classmethod
    def read(cls, path: Path | None) -> "Prices":
        """The table in a file; without one everything costs nothing. Raises PricesError."""
        if path is None:
            return cls()
        try:
            return cls(msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Price]]))
        except OSError as error:
            raise PricesError(f"{path} cannot be read: {error.strerror}.") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise PricesError(f"{path} is not a price table: {error}.") from error

    def cost(self, unit: Unit) -> Decimal:
        """What ``unit`` costs, to 8 decimals."""
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
