import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from pipelines.engines.base import EngineBusy, EngineFailed, EngineTimeout
from pipelines.engines.speech.pico import PicoSpeaker

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREETINGS = {
    "de": "Guten Tag, wie kann ich Ihnen helfen?",
    "es": "Hola, ¿en qué puedo ayudarle?",
    "fr": "Bonjour, comment puis-je vous aider ?",
    "it-IT": "Buongiorno, come posso aiutarla?",
    "en-GB": "Hello, how can I help you?",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def speaker() -> AsyncIterator[PicoSpeaker]:
    speaker = await PicoSpeaker.load()
    yield speaker
    await speaker.close()


async def length(speaker: PicoSpeaker, text: str, language: str = "de", speed: float = 1.0) -> int:
    return sum([len(c) async for c in speaker.speak(text, language=language, speed=speed)])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def child_pid(speaker: PicoSpeaker) -> int:
    assert speaker._child is not None
    return speaker._child.pid


@pytest.mark.parametrize("language", list(GREETINGS))
async def test_every_language_is_spoken(speaker: PicoSpeaker, language: str) -> None:
    chunks = [c async for c in speaker.speak(GREETINGS[language], language=language)]
    samples = np.frombuffer(b"".join(chunks), "<i2")
    assert 16_000 < len(samples) < 64_000
    assert np.abs(samples[: 16_000 // 50]).max() > 80
    assert np.abs(samples.astype(int)).max() > 2000


async def test_speed_shortens_speech(speaker: PicoSpeaker) -> None:
    text = GREETINGS["de"]
    assert await length(speaker, text, speed=1.5) < 0.9 * await length(speaker, text)
    assert await length(speaker, text, speed=0.5) > 1.5 * await length(speaker, text)


@pytest.mark.parametrize("text", ["", "...", "<>"])
async def test_nothing_to_speak_yields_nothing(speaker: PicoSpeaker, text: str) -> None:
    assert await length(speaker, text) == 0


async def test_markup_in_the_text_is_not_interpreted(speaker: PicoSpeaker) -> None:
    assert await length(speaker, "</speed> a < b") > 0


async def test_unknown_languages_and_voices_are_refused(speaker: PicoSpeaker) -> None:
    with pytest.raises(EngineFailed, match="no voice for language 'ja'"):
        await length(speaker, "hello", "ja")
    with pytest.raises(EngineFailed, match="no voice 'heart'; it has"):
        async for _ in speaker.speak("hello", voice="heart"):
            pass


async def test_phrases_at_once_do_not_mix(speaker: PicoSpeaker) -> None:
    texts = ["Ja.", GREETINGS["de"] * 2, "Nein, danke."]
    short, long, middle = await asyncio.gather(*(length(speaker, text) for text in texts))
    assert short < middle < long


DIES_ONCE = """
import json, pathlib, sys
mark = pathlib.Path(__file__).with_suffix(".died")
for line in sys.stdin:
    if not mark.exists():
        mark.touch()
        sys.exit(1)
    print(json.dumps({"bytes": 3200}), flush=True)
    sys.stdout.buffer.write(b"\\x00\\x20" * 1600)
    sys.stdout.flush()
"""


async def test_a_child_that_dies_costs_one_phrase(tmp_path: Path) -> None:
    worker = tmp_path / "dies.py"
    worker.write_text(DIES_ONCE)
    speaker = PicoSpeaker(worker=worker)
    with pytest.raises(EngineFailed, match="stopped working"):
        await length(speaker, "Guten Tag.")
    assert await length(speaker, "Guten Tag.") == 3200
    await speaker.close()


async def test_a_killed_child_is_replaced(speaker: PicoSpeaker) -> None:
    assert speaker._child is not None
    os.kill(speaker._child.pid, signal.SIGKILL)
    await speaker._child.wait()
    assert await length(speaker, "Guten Tag.") > 0


async def test_an_abandoned_phrase_does_not_confuse_the_next(speaker: PicoSpeaker) -> None:
    task = asyncio.create_task(length(speaker, GREETINGS["de"] * 4))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < await length(speaker, "Ja.") < 64_000


async def test_a_child_that_hangs_is_ended(tmp_path: Path) -> None:
    worker = tmp_path / "hangs.py"
    worker.write_text("import sys\nfor line in sys.stdin: pass\n")
    speaker = PicoSpeaker(worker=worker, deadline=0.5, queue_limit=1)
    tasks = [asyncio.create_task(length(speaker, "Ja.")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(EngineBusy):
        await length(speaker, "Ja.")
    for task in tasks:
        with pytest.raises(EngineTimeout, match=r"no audio in 0\.5 s"):
            await task
    await speaker.close()


async def test_close_ends_the_child() -> None:
    speaker = await PicoSpeaker.load()
    pid = child_pid(speaker)
    await speaker.close()
    assert not alive(pid)
    with pytest.raises(EngineFailed, match="shut down"):
        await length(speaker, "Ja.")
