"""The REST platform compared with a bare handler that makes the same database queries:

    python -m bench.rest [--seconds 5] [--rounds 3] [--connections 16]

Four requests: list the jobs, create a job, stream speech (until its first audio), and transcribe a
clip of three seconds. The bare server is aiohttp, asyncpg and the same engines in a separate
process, without keys, scopes, limits, validation, envelope or usage records. One client sends
requests to both in turn, on the same machine, so the ratio is what counts. The jobs are not run
meanwhile (BLAB_WORKERS=0).
"""

import argparse
import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import numpy as np
from aiohttp import web

from bench.figures import machine
from bench.server import server
from gateway.services.embedded import present_services
from gateway.settings import Settings
from media.files.encode import Encoder
from pipelines.engines.speech.hibari import HibariSpeaker
from pipelines.engines.transcription.whisper import WhisperTranscriber
from store.ids import new_id
from store.tenants.accounts import LOCAL_WORKSPACE
from tests.support.paths import AUDIO

BARE_PORT = 8498
SPEECH = {"model": "blab-stable", "input": "Good morning. How can I help you today?"}
FIRST_CLAUSE = "Good morning."
CLIP = AUDIO / "joe_q_book.wav"
"""3.2 seconds."""


# ------------------------------------------------------------------ the bare server


async def bare(port: int) -> None:
    """Serve the four requests and nothing else."""
    urls = present_services(Settings.read(os.environ))
    pool = await asyncpg.create_pool(urls.database_url, min_size=1, max_size=10)
    voice = await HibariSpeaker.load()
    models = Path(os.environ["BLAB_MODELS_DIR"])
    ears = await WhisperTranscriber.load(
        models / "whisper-base", models / "silero-vad" / "silero_vad.onnx"
    )

    async def jobs(_request: web.Request) -> web.Response:
        rows = await pool.fetch(
            "SELECT * FROM jobs WHERE workspace_id = $1 AND parent_id IS NULL"
            " ORDER BY id DESC LIMIT 21",
            LOCAL_WORKSPACE,
        )
        return web.json_response([{k: str(v) for k, v in dict(row).items()} for row in rows])

    async def create(request: web.Request) -> web.Response:
        asked = await request.json()
        job_id = new_id("job")
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO jobs (id, workspace_id, type, input) VALUES ($1, $2, 'tts', $3)",
                *(job_id, LOCAL_WORKSPACE, json.dumps(asked)),
            )
            await connection.execute(
                "INSERT INTO pgqueuer (priority, created, updated, status, entrypoint, dedupe_key)"
                " VALUES (0, now(), now(), 'queued', 'bench', $1)",
                job_id,
            )
        return web.json_response({"jobId": job_id}, status=202)

    async def speak(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=await _first_audio(voice))

    async def hear(request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        return web.json_response({"text": await _text(ears, file.file.read())})

    app = web.Application()
    app.add_routes([web.get("/jobs", jobs), web.post("/jobs", create)])
    app.add_routes([web.post("/speech", speak), web.post("/hear", hear)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _first_audio(voice: HibariSpeaker) -> bytes:
    encoder = Encoder("mp3", voice.sample_rate)
    stream = voice.speak(FIRST_CLAUSE)
    try:
        async for pcm in stream:
            if data := await asyncio.to_thread(encoder.push, pcm):
                return data
    finally:
        await stream.aclose()
    return encoder.finish()


async def _text(ears: WhisperTranscriber, file: bytes) -> str:
    async def pieces() -> AsyncIterator[bytes]:
        with wave.open(io.BytesIO(file)) as clip:
            yield clip.readframes(clip.getnframes())

    hearings = ears.transcribe_file(pieces())
    return " ".join([one.segment.text async for one in hearings if one.segment])


@asynccontextmanager
async def bare_server(port: int = BARE_PORT) -> AsyncIterator[str]:
    """The URL of the bare server, in a separate process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.rest", "--bare", str(port)), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while await process.stdout.readline() != b"ready\n":
                assert process.returncode is None, "the bare server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


# ------------------------------------------------------------------ the client


@dataclass
class Load:
    """Figures of one kind of request: ms of each, and requests per second of each round."""

    milliseconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


Ask = Callable[[aiohttp.ClientSession], Awaitable[None]]


async def press(load: Load, ask: Ask, seconds: float, connections: int) -> None:
    """Repeat the request over that many connections, for that long."""
    end = time.monotonic() + seconds
    done = 0

    async def one(http: aiohttp.ClientSession) -> None:
        nonlocal done
        while time.monotonic() < end:
            began = time.monotonic()
            await ask(http)
            load.milliseconds.append((time.monotonic() - began) * 1000)
            done += 1

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one(http))
    load.rates.append(done / seconds)


def listing(url: str, headers: dict[str, str]) -> Ask:
    """GET the list."""

    async def ask(http: aiohttp.ClientSession) -> None:
        async with http.get(url, headers=headers) as answer:
            await answer.read()
            assert answer.status == 200, answer.status

    return ask


def making(url: str, headers: dict[str, str]) -> Ask:
    """POST a job."""

    async def ask(http: aiohttp.ClientSession) -> None:
        async with http.post(url, json=SPEECH, headers=headers) as answer:
            await answer.read()
            assert answer.status == 202, answer.status

    return ask


def transcribing(url: str, headers: dict[str, str]) -> Ask:
    """POST the clip and read the transcript."""
    clip = CLIP.read_bytes()

    async def ask(http: aiohttp.ClientSession) -> None:
        form = aiohttp.FormData({"model": "whisper-1"})
        form.add_field("file", clip, filename=CLIP.name, content_type="audio/wav")
        async with http.post(url, data=form, headers=headers) as answer:
            assert answer.status == 200, answer.status
            assert "book a table" in (await answer.json())["text"]

    return ask


def hearing(url: str, headers: dict[str, str]) -> Ask:
    """POST a text and disconnect at its first audio."""

    async def ask(http: aiohttp.ClientSession) -> None:
        async with http.post(url, json=SPEECH, headers=headers) as answer:
            assert answer.status == 200, answer.status
            await answer.content.readany()

    return ask


async def measure(seconds: float, rounds: int, connections: int) -> None:
    """Print the table."""
    print(machine(), flush=True)
    async with server(None) as (url, _), bare_server() as plain:
        key = await asyncio.to_thread(new_key)
        headers = {"Authorization": f"Bearer {key}"}
        pairs: dict[str, tuple[Ask, Ask, int]] = {
            "POST /api/tts": (
                making(f"{url}/api/tts", headers), making(f"{plain}/jobs", {}), connections
            ),
            "GET /api/jobs": (
                listing(f"{url}/api/jobs", headers), listing(f"{plain}/jobs", {}), connections
            ),
            "POST /api/tts/stream, first audio": (
                hearing(f"{url}/api/tts/stream", headers), hearing(f"{plain}/speech", {}), 1
            ),
            "POST /v1/audio/transcriptions, 3 s": (
                transcribing(f"{url}/v1/audio/transcriptions", headers),
                transcribing(f"{plain}/hear", {}),
                1,
            ),
        }  # fmt: skip
        print("| request | 1/s | p50 ms | p99 ms | bare 1/s | p50 ms | p99 ms | 1/s, ratio |")
        print("|---|---|---|---|---|---|---|---|")
        for name, (ours, theirs, many) in pairs.items():
            for ask in (ours, theirs):  # what is loaded at first use
                await press(Load(), ask, 0.1, 1)
            loads = Load(), Load()
            for _ in range(rounds):
                await press(loads[0], ours, seconds, many)
                await press(loads[1], theirs, seconds, many)
            print(f"| {name} | {' | '.join(map(_shown, loads))} | {_ratio(*loads)} |", flush=True)


def _shown(load: Load) -> str:
    p50, p99 = np.percentile(load.milliseconds, 50), np.percentile(load.milliseconds, 99)
    return f"{np.median(load.rates):.0f} | {p50:.1f} | {p99:.1f}"


def _ratio(ours: Load, theirs: Load) -> str:
    pairs = [a / b for a, b in zip(ours.rates, theirs.rates, strict=True)]
    return f"{np.median(pairs):.2f} ({min(pairs):.2f}–{max(pairs):.2f})"


def new_key() -> str:
    """A key for the server that runs on the data directory."""
    command = [str(Path(sys.executable).with_name("blab")), "key", "--name", "bench"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Measure, in a separate data directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--bare", type=int, metavar="PORT", help="run as the bare server")
    options = parser.parse_args()
    if options.bare:
        asyncio.run(bare(options.bare))
        return
    models = Settings.read(os.environ).models_dir
    with tempfile.TemporaryDirectory(prefix="blab-bench-", dir="/tmp") as made:
        Path(made).chmod(0o711)
        os.environ |= {
            "BLAB_DATA_DIR": made,
            "BLAB_MODELS_DIR": str(models),
            "BLAB_WORKERS": "0",
            "BLAB_RATE_LIMIT": "0",
            "BLAB_LOG_LEVEL": "warning",
        }
        asyncio.run(measure(options.seconds, options.rounds, options.connections))


if __name__ == "__main__":
    main()
