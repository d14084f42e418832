"""How loud each embedded voice is by itself, as ``measure_gains`` has found it."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("voice_gains.json")


def gain_of(engine: str, voice: str) -> float:
    """The gain in dB that brings a voice to ``media.level.TARGET_LUFS``; 0 for an unknown one,
    whose phrases are corrected as far as that goes."""
    return _table().get(engine, {}).get(voice, 0.0)


def gain_of_mix(engine: str, weights: Mapping[str, float]) -> float:
    """The gain of a mix of voices."""
    total = sum(weights.values())
    shares = ((gain_of(engine, voice), weight) for voice, weight in weights.items())
    return sum(gain * weight for gain, weight in shares) / total if total else 0.0


@cache
def _table() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(FILE.read_text())
    return found
