"""Prices: exact costs by the operator's table."""

from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.jobs.job import Unit
from pipelines.jobs.prices import Price, Prices, PricesError

TABLE = """{
  "tts": {"blab-expressive": {"perThousandTokens": 0.03}, "*": {"perThousandTokens": 0.015}},
  "stt": {"*": {"perAudioMinute": 0.006}},
  "agent": {"small": {"perThousandTokens": 0.1, "perAudioMinute": 1}},
  "*": {"house": {"perThousandTokens": 7}}
}"""


@pytest.mark.parametrize(
    ("unit", "cost"),
    [
        (Unit("u", "tts", "blab-expressive", tokens=1000), "0.03"),
        (Unit("u", "tts", "blab-stable", tokens=1, audio_ms=90_000), "0.000015"),
        (Unit("u", "stt", "whisper", tokens=500, audio_ms=1), "0.0000001"),
        (Unit("u", "stt", "whisper", audio_ms=90_000), "0.009"),
        (Unit("u", "agent", "small", tokens=3, audio_ms=30_000), "0.5003"),
        (Unit("u", "agent", "large", tokens=1000), "0"),
        (Unit("u", "voice_clone", "house", tokens=1000), "7"),
        (Unit("u", "voice_clone", "other", tokens=1000), "0"),
    ],
)
def test_the_nearest_entry_counts(tmp_path: Path, unit: Unit, cost: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(TABLE)
    assert Prices.read(path).cost(unit) == Decimal(cost)


def test_without_a_table_everything_costs_nothing() -> None:
    assert Prices.read(None).cost(Unit("u", "tts", "m", 10**9, 10**9)) == 0


def test_costs_are_rounded_to_what_is_stored() -> None:
    prices = Prices({"tts": {"*": Price(per_thousand_tokens=Decimal("0.000005"))}})
    assert prices.cost(Unit("u", "tts", "m", tokens=1)) == Decimal("0.00000001")
    assert prices.cost(Unit("u", "tts", "m", tokens=1)).as_tuple().exponent == -8


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a price table"),
        ("[]", "not a price table"),
        ('{"tts": {"*": 1}}', "not a price table"),
        ('{"tts": {"*": {"perAudioMinutes": 1}}}', "perAudioMinutes"),
        ('{"tts": {"*": {"perAudioMinute": -1}}}', r"tts\.\*"),
        ('{"tts": {"*": {"perAudioMinute": 1e9}}}', r"tts\.\*"),
        ('{"tts": {"*": {"perAudioMinute": "NaN"}}}', r"tts\.\*"),
        ('{"tts": {"*": {"perAudioMinute": "much"}}}', "not a price table"),
        ("\xff", "not a price table"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(PricesError, match=why):
        Prices.read(path)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match="cannot be read"):
        Prices.read(tmp_path / "absent.json")
