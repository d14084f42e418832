"""The polish of takes: loudness right, the loop free meanwhile, stopped when it is cancelled."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest

from pipelines.speech.polish import polish
from tests.support.media_files import tone

RATE = 16_000


async def test_a_take_is_polished(tmp_path: Path, audio: Callable[[str], bytes]) -> None:
    raw, made = tmp_path / "raw.pcm", tmp_path / "polished.pcm"
    raw.write_bytes(audio("lv_0890"))
    await polish(raw, made, RATE)
    samples = np.frombuffer(made.read_bytes(), "<i2")
    assert len(samples) * 2 == raw.stat().st_size
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(samples / 32768)
    assert loudness == pytest.approx(-16, abs=0.5)


async def test_cancelling_stops_it_at_once(tmp_path: Path) -> None:
    raw, made = tmp_path / "raw.pcm", tmp_path / "polished.pcm"
    raw.write_bytes(tone(1, rate=RATE).tobytes() * 3600)
    task = asyncio.create_task(polish(raw, made, RATE))
    await asyncio.wait({task}, timeout=0.05)
    loop = asyncio.get_running_loop()
    asked = loop.time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.time() - asked < 1
