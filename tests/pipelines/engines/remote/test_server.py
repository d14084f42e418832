"""The engine process among several gateway processes: fair, bounded, not to be broken by one."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from media.formats import HEARING_RATE
from pipelines.engines.base import EngineBusy, Transcription
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.fair_queue import FLOW
from pipelines.engines.remote import server
from pipelines.engines.remote.client import URL
from pipelines.engines.scripted.live import ScriptedTranscriber
from tests.support.pipelines.engine_process import EngineProcess

SECOND = bytes(2 * HEARING_RATE)


class OneAtATime(ScriptedTranscriber):
    """Hears on one thread, and keeps whom it has heard."""

    def __init__(self) -> None:
        super().__init__()
        self.executor = EngineExecutor("test-remote", 1, 8)
        self.entered, self.gate = threading.Event(), threading.Event()
        self.order: list[str] = []

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:
        await self.executor.run(self._hear, language, deadline=5)
        return Transcription(language)

    def _hear(self, name: str) -> None:
        self.entered.set()
        self.gate.wait(5)
        self.order.append(name)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[EngineProcess]:
    made = EngineProcess(tmp_path)
    made.engines.ears = OneAtATime()
    await made.start()
    yield made
    await made.stop()
    made.close()


async def test_neither_a_call_nor_a_process_that_floods_delays_the_others(
    process: EngineProcess,
) -> None:
    ears = process.engines.ears
    assert isinstance(ears, OneAtATime)
    async with process.gateway() as first, process.gateway() as second:

        async def hear(gateway: Catalogue, flow: str, name: str) -> None:
            FLOW.set(flow)
            await gateway.transcriber("default").transcribe(SECOND, name)

        flood = [asyncio.create_task(hear(first, "call_1", "flood 0"))]
        assert await asyncio.to_thread(ears.entered.wait, 5)
        flood += [asyncio.create_task(hear(first, "call_1", f"flood {n}")) for n in range(1, 9)]
        while ears.executor.pending < 9:
            await asyncio.sleep(0.001)
        own = asyncio.create_task(hear(first, "call_2", "another call"))
        other = asyncio.create_task(hear(second, "call_1", "another process"))
        outcomes = await asyncio.gather(*flood[7:], return_exceptions=True)
        assert [type(one) for one in outcomes] == [EngineBusy, EngineBusy]
        ears.gate.set()
        await asyncio.gather(own, other, *flood[:7])
    assert ears.order[:2] == ["flood 0", "flood 1"]
    assert set(ears.order[2:4]) == {"another call", "another process"}
    await ears.executor.close()


async def test_one_process_has_a_bounded_number_of_requests(
    process: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_REQUESTS", 2)
    ended = asyncio.Event()

    async def hold(_seconds: float) -> None:
        await ended.wait()

    process.engines.detector.delay = hold
    async with process.gateway() as gateway:
        waiting = [asyncio.create_task(gateway.turn_detector.score(SECOND)) for _ in range(2)]
        while len(process.engines.detector.heard) < 2:
            await asyncio.sleep(0.001)
        with pytest.raises(EngineBusy, match="try later"):
            await gateway.turn_detector.score(SECOND)
        ended.set()
        assert await asyncio.gather(*waiting) == [1.0, 1.0]


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x93\xa5Audio\x01"])
async def test_a_process_that_breaks_the_protocol_is_cut_off_and_others_notice_nothing(
    process: EngineProcess, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with process.gateway() as gateway:
        connector = aiohttp.UnixConnector(path=str(process.path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(URL) as ws,
        ):
            await ws.send_bytes(data)
            async with asyncio.timeout(5):
                kinds = [message.type async for message in ws]
        assert kinds == [aiohttp.WSMsgType.BINARY] * 2, "its state, and its loads"
        assert "broke the protocol" in caplog.text
        assert await gateway.turn_detector.score(SECOND) == 1.0
