"""What it costs to have the engines in another process: added latency, and processor time.

    python -m bench.engine_process [--seconds 300]

The engines are scripted and answer at once, so what is measured is the way to them: once in this
process, once in an engine process (a real one, over its Unix socket, on uvloop like the server).

- *added ms*: a request by itself, the median and p95 of both, subtracted. Target: p50 below 3 ms.
- *share of a core*: for what a call asks for while its caller speaks for a second (ten steps of
  partial transcripts, an opinion of the turn detector, a final transcript every third second) and
  while its agent does (eight tokens, four pieces of audio), in each of both processes.
"""

import argparse
import asyncio
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import uvloop

from bench.figures import machine
from media.formats import HEARING_RATE
from pipelines.engines.base import ChatMessage
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.remote.engines import RemoteEngines
from pipelines.engines.remote.server import EngineServer
from pipelines.engines.scripted.live import (
    LoudnessModel,
    ScriptedChatModel,
    ScriptedSpeaker,
    ScriptedTranscriber,
    ScriptedTurnDetector,
)

TENTH, SECOND = bytes(HEARING_RATE // 5), bytes(2 * HEARING_RATE)
HISTORY = tuple(
    ChatMessage(("user", "assistant")[turn % 2], "Some words of a conversation. " * 4)
    for turn in range(20)
)
REQUESTS = 400
SETTINGS = EngineSettings(Path("/nonexistent"))


async def instant(_seconds: float) -> None:
    """No delay, and no turn of the event loop either."""


def declared() -> tuple[Engine, ...]:
    """Engines that answer at once."""
    tokens = " ".join(["token"] * 8)
    made: list[tuple[Role, Any]] = [
        (Role.VAD, LoudnessModel()),
        (Role.TURN, ScriptedTurnDetector(delay=instant)),
        (Role.STREAMING_TRANSCRIPTION, ScriptedTranscriber(delay=instant)),
        (Role.TRANSCRIPTION, ScriptedTranscriber(delay=instant)),
        (Role.CHAT, ScriptedChatModel((tokens,), delay=instant)),
        (Role.SPEECH, ScriptedSpeaker(delay=instant)),
    ]

    def engine(role: Role, one: Any) -> Engine:
        async def load(_settings: EngineSettings) -> Any:
            return one

        return Engine(role=role, id=f"scripted-{role}", load=load)

    return tuple(engine(role, one) for role, one in made)


@asynccontextmanager
async def catalogue(path: Path | None) -> AsyncIterator[Catalogue]:
    """The engines of this process, or those behind ``path``."""
    source = None if path is None else lambda engines: RemoteEngines(SETTINGS, engines, path)
    engines = Catalogue(SETTINGS, engines=declared(), source=source)
    await engines.start()
    try:
        yield engines
    finally:
        await engines.close()


async def serve(path: Path) -> None:
    """The engine process, until it is killed."""
    engines = Catalogue(SETTINGS, engines=declared())
    server = EngineServer(engines.source)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    await server.start(listening)
    await engines.start(server.quiet)
    await asyncio.Event().wait()


# ------------------------------------------------------------------ what is asked


async def partial(engines: Catalogue) -> None:
    """A step of a partial transcript: 100 ms of audio."""
    stream = await engines.streaming_transcriber("default").open()
    await stream.accept(TENTH)
    stream.close()


async def opinion(engines: Catalogue) -> None:
    """Two seconds, judged."""
    await engines.turn_detector.score(2 * SECOND)


async def final(engines: Catalogue) -> None:
    """Three seconds, transcribed."""
    await engines.transcriber("default").transcribe(3 * SECOND)


async def first_token(engines: Catalogue) -> None:
    """The first token of an answer to twenty messages."""
    async with aclosing((await engines.chat("default")).stream(HISTORY)) as deltas:
        await anext(deltas)


async def first_sound(engines: Catalogue) -> None:
    """The first piece of a clause's audio."""
    async with aclosing(engines.speaker("default", "en").speak("One two.")) as audio:
        await anext(audio)


ASKED: dict[str, Callable[[Catalogue], Awaitable[None]]] = {
    "partial (opened, one step)": partial,
    "turn detector": opinion,
    "final transcript": final,
    "first token": first_token,
    "first sound": first_sound,
}


async def latencies(engines: Catalogue) -> dict[str, tuple[float, float]]:
    """Median and p95 of each request, in ms."""
    found = {}
    for name, ask in ASKED.items():
        times = []
        for number in range(REQUESTS + 20):
            began = time.perf_counter()
            await ask(engines)
            if number >= 20:
                times.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.001)
        found[name] = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    return found


async def spoken(engines: Catalogue, seconds: int) -> None:
    """What a call asks for in so many seconds of its caller and as many of its agent."""
    stream = await engines.streaming_transcriber("default").open()
    for second in range(seconds):
        for _ in range(10):
            await stream.accept(TENTH)
        await opinion(engines)
        if second % 3 == 0:
            await final(engines)
        async with aclosing((await engines.chat("default")).stream(HISTORY)) as deltas:
            async for _ in deltas:
                pass
        async with aclosing(engines.speaker("default", "en").speak("a b c d")) as audio:
            async for _ in audio:
                pass
    stream.close()


async def cost(engines: Catalogue, seconds: int, other: int | None) -> tuple[float, float]:
    """Processor seconds of a spoken second, here and in the engine process."""

    def used() -> float:
        return 0.0 if other is None else sum(psutil.Process(other).cpu_times()[:2])

    await spoken(engines, 20)
    here, there = time.process_time(), used()
    await spoken(engines, seconds)
    return (time.process_time() - here) / seconds, (used() - there) / seconds


async def measure(seconds: int) -> None:
    """Both ways, and print."""
    async with catalogue(None) as engines:
        alone, (alone_cost, _) = await latencies(engines), await cost(engines, seconds, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engines.sock"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.engine_process", "--serve", str(path)
        )
        try:
            async with catalogue(path) as engines:
                remote = await latencies(engines)
                here, there = await cost(engines, seconds, child.pid)
        finally:
            child.kill()
            await child.wait()
    print("| request | added ms, p50 | added ms, p95 |\n|---|---|---|")
    for name, (median, high) in remote.items():
        before = alone[name]
        print(f"| {name} | {median - before[0]:.2f} | {high - before[1]:.2f} |")
    print("\n| per spoken second | share of a core |\n|---|---|")
    print(f"| engines in the same process (scripted) | {alone_cost:.2%} |")
    print(f"| gateway process, added | {here - alone_cost:.2%} |")
    print(f"| engine process, added | {there:.2%} |")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        uvloop.run(serve(options.serve))
        return
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}")
    uvloop.run(measure(options.seconds))


if __name__ == "__main__":
    main()
