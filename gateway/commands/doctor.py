"""``blab doctor``: what a voice conversation needs, and what is missing or slow on this machine.

Every check is a function that returns one or more ``Finding``; none changes anything. The engines
are timed one after the other, with nothing else going on, on speech that the embedded voice makes
(noise without a live voice). A figure above ``LIMITS`` is felt in a conversation.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.engines import engine_settings, model_store, wanted_models
from gateway.services import ServiceError, attached_services, running_services
from gateway.settings import Settings
from media.formats import HEARING_RATE, SAMPLE_BYTES
from media.resample import Resampler
from media.vad import CONTEXT, WINDOW
from pipelines.engines.base import ChatMessage, EngineError
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.discovery import installed
from pipelines.engines.engine import DEFAULT, NEEDED, Role
from pipelines.weights.store import State
from store.bus import Bus
from store.database import Database
from store.errors import StoreError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CPU_FLAGS = ("avx2", "fma", "f16c")
MIN_MEMORY = 2_500_000_000
"""Bytes that the small profile, the services and a few calls need."""
MIN_DISK = 2_000_000_000


class Verdict(StrEnum):
    """The state of one thing; only ``FAILED`` and ``MISSING`` keep calls from working."""

    OK = "ok"
    NOTE = "note"
    SLOW = "slow"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    subject: str
    verdict: Verdict
    detail: str

    @property
    def fatal(self) -> bool:
        """Whether calls cannot work because of it."""
        return self.verdict in (Verdict.MISSING, Verdict.FAILED)


def machine() -> list[Finding]:
    """Python, libraries, processor, memory."""
    version = platform.python_version()
    where = "in " + sys.prefix if sys.prefix != sys.base_prefix else "without an environment"
    findings = [Finding("python", Verdict.OK, f"{version} {where}")]
    libraries = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("av", "aiortc", "aiohttp", "onnxruntime", "xllamacpp")
    )
    findings.append(Finding("libraries", Verdict.OK, libraries))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    absent = _missing_cpu_flags()
    detail = f"{platform.machine()}, {cores} cores"
    verdict = Verdict.SLOW if absent else Verdict.OK
    findings.append(
        Finding("cpu", verdict, detail + (f", no {', '.join(absent)}" if absent else ""))
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    verdict = Verdict.OK if memory >= MIN_MEMORY else Verdict.SLOW
    findings.append(Finding("memory", verdict, f"{memory / 1e9:.1f} GB"))
    return findings


def _missing_cpu_flags() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), None)
    return [flag for flag in CPU_FLAGS if flag not in flags] if flags else []


def disk(settings: Settings) -> list[Finding]:
    """Free space and write permission of the data and models directories."""
    findings = []
    places = {"data directory": settings.data_dir, "models directory": settings.models_dir}
    for name, path in places.items():
        existing = path
        while not existing.exists():
            existing = existing.parent
        free = shutil.disk_usage(existing).free
        detail = f"{path}, {free / 1e9:.1f} GB free"
        if not os.access(existing, os.W_OK):
            verdict = Verdict.NOTE if name == "models directory" else Verdict.FAILED
            findings.append(Finding(name, verdict, f"{path} is not writable"))
        elif free < MIN_DISK:
            findings.append(Finding(name, Verdict.SLOW, detail))
        else:
            findings.append(Finding(name, Verdict.OK, detail))
    return findings


def port(settings: Settings) -> list[Finding]:
    """Whether the port is free, or used by the Blab that runs here."""
    running = running_services(settings.data_dir)
    if settings.port == 0:
        return [Finding("port", Verdict.OK, "any free one")]
    try:
        with socket.create_server((settings.host, settings.port)):
            pass
    except OSError as error:
        if running is not None:
            detail = f"{settings.port} in use while blab runs (pid {running.pid})"
            return [Finding("port", Verdict.OK, detail)]
        detail = f"{settings.host}:{settings.port}: {error.strerror}; set BLAB_PORT to another"
        return [Finding("port", Verdict.FAILED, detail)]
    return [Finding("port", Verdict.OK, f"{settings.host}:{settings.port} is free")]


def models(settings: Settings) -> list[Finding]:
    """The weights that the settings ask for."""
    store = model_store(settings)
    findings = []
    for name in (model.name for model in wanted_models(settings)):
        status = store.status(name)
        size = f"{status.model.size / 1e6:.0f} MB, {status.model.licence}"
        if status.state in (State.READY, State.UNVERIFIED):
            findings.append(Finding(f"model {name}", Verdict.OK, f"{status.state}, {size}"))
        else:
            detail = f"{status.state}; `blab models fetch {name}` ({size})"
            findings.append(Finding(f"model {name}", Verdict.MISSING, detail))
    return findings


def plugins() -> list[Finding]:
    """The packages that add engines."""
    return [
        Finding(
            f"plugin {plugin.distribution}",
            Verdict.NOTE if plugin.reason else Verdict.OK,
            plugin.reason or f"adds {', '.join(plugin.engines)}",
        )
        for plugin in installed().plugins
    ]


def browser() -> list[Finding]:
    """Chromium, which only the browser tests need."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return [Finding("chromium", Verdict.OK, found)]
    return [Finding("chromium", Verdict.NOTE, "not installed; only the browser tests need it")]


def exit_code(findings: Sequence[Finding]) -> int:
    """1 if something keeps calls from working."""
    return 1 if any(finding.fatal for finding in findings) else 0


# ------------------------------------------------------------------ engines, timed

PROBE = "What is the capital of France?"
LIMITS = {
    Role.VAD: 0.005,
    Role.TURN: 0.15,
    Role.STREAMING_TRANSCRIPTION: 0.5,
    Role.TRANSCRIPTION: 0.5,
    Role.CHAT: 1.0,
    Role.SPEECH: 0.2,
}
"""Seconds: a window, a judgement, an utterance, an utterance, a first token, a first sound."""
MEANING = {
    Role.VAD: "for a window of 32 ms",
    Role.TURN: "for a judgement",
    Role.STREAMING_TRANSCRIPTION: "for an utterance, all of it at once",
    Role.TRANSCRIPTION: "for an utterance",
    Role.CHAT: "to the first token",
    Role.SPEECH: "to the first sound",
}
DEADLINE = 60.0


async def time_engines(engines: Catalogue) -> list[Finding]:
    """A finding for each of ``engines``, which are loaded and closed here."""
    try:
        await engines.start()
        await engines.complete()
        pcm = await _probe(engines)
        seconds = {role: await _timed(role, engines, pcm) for role in LIMITS}
        return _findings(engines, seconds)
    finally:
        await engines.close()


def _findings(engines: Catalogue, seconds: dict[Role, float | None]) -> list[Finding]:
    findings = []
    timed: set[Role] = set()
    for status in engines.statuses():
        subject = f"engine {status.model_id}"
        role = str(status.role).replace("_", " ")
        if not status.live:
            needed = status.role in NEEDED and not any(
                other.live for other in engines.statuses() if other.role is status.role
            )
            verdict = Verdict.MISSING if needed else Verdict.NOTE
            findings.append(Finding(subject, verdict, f"{role}: {status.reason}"))
            continue
        detail = f"{role}, live" if status.loaded else f"{role}, loaded when a job needs it"
        verdict = Verdict.OK
        skip = status.role in timed or status.upstream or not status.loaded
        taken = None if skip else seconds.get(status.role)
        timed.add(status.role)
        if taken is not None:
            detail += f", {taken * 1000:.1f} ms {MEANING[status.role]}"
            verdict = Verdict.SLOW if taken > LIMITS[status.role] else Verdict.OK
        if status.load_seconds:
            detail += f", loaded in {status.load_seconds:.1f} s"
        if status.note:
            detail += f". {status.note}"
        findings.append(Finding(subject, verdict, detail))
    return findings


async def _timed(role: Role, engines: Catalogue, pcm: bytes) -> float | None:
    """The better of two runs; None where there is nothing to time."""
    work: dict[Role, Callable[[Catalogue, bytes], Awaitable[float]]] = {
        Role.VAD: _vad,
        Role.TURN: _turn,
        Role.STREAMING_TRANSCRIPTION: _hearing,
        Role.TRANSCRIPTION: _transcription,
        Role.CHAT: _chat,
        Role.SPEECH: _speech,
    }
    try:
        async with asyncio.timeout(DEADLINE):
            return min([await work[role](engines, pcm) for _ in range(2)])
    except (EngineError, TimeoutError):
        return None


async def _probe(engines: Catalogue) -> bytes:
    try:
        speaker = engines.speaker(DEFAULT, "en")
        async with aclosing(speaker.speak(PROBE)) as speech:
            pcm = b"".join([bytes(piece) async for piece in speech])
        return bytes(Resampler(speaker.sample_rate, HEARING_RATE).push(pcm))
    except EngineError:
        noise = np.random.default_rng(1).standard_normal(2 * HEARING_RATE) * 2000
        return noise.astype("<i2").tobytes()


async def _vad(engines: Catalogue, pcm: bytes) -> float:
    model = engines.vad_model
    samples = np.frombuffer(pcm, "<i2")[: 20 * (CONTEXT + WINDOW)]
    windows = samples.astype(np.float32) / np.float32(32768)
    state = model.initial_state()
    began = time.perf_counter()
    for window in windows.reshape(-1, 1, CONTEXT + WINDOW):
        _, state = model.run(window, state)
    return (time.perf_counter() - began) / 20


async def _turn(engines: Catalogue, pcm: bytes) -> float:
    began = time.perf_counter()
    await engines.turn_detector.score(pcm)
    return time.perf_counter() - began


async def _hearing(engines: Catalogue, pcm: bytes) -> float:
    step = HEARING_RATE // 10 * SAMPLE_BYTES
    stream = await engines.streaming_transcriber(DEFAULT).open()
    try:
        began = time.perf_counter()
        for begin in range(0, len(pcm), step):
            await stream.accept(pcm[begin : begin + step])
        await stream.finish()
        return time.perf_counter() - began
    finally:
        stream.close()


async def _transcription(engines: Catalogue, pcm: bytes) -> float:
    began = time.perf_counter()
    await engines.transcriber(DEFAULT).transcribe(pcm)
    return time.perf_counter() - began


async def _chat(engines: Catalogue, pcm: bytes) -> float:  # noqa: ARG001 - one signature for all
    began = time.perf_counter()
    answer = (await engines.chat(DEFAULT)).stream((ChatMessage("user", PROBE),), max_tokens=8)
    async with aclosing(answer):
        async for delta in answer:
            if delta.text:
                break
    return time.perf_counter() - began


async def _speech(engines: Catalogue, pcm: bytes) -> float:  # noqa: ARG001 - one signature for all
    began = time.perf_counter()
    async with aclosing(engines.speaker(DEFAULT, "en").speak(PROBE)) as speech:
        async for _ in speech:
            break
    return time.perf_counter() - began


# ---------------------------------------------------------------------- the command


COLOURS = {
    Verdict.OK: "green",
    Verdict.NOTE: "cyan",
    Verdict.SLOW: "yellow",
    Verdict.MISSING: "red",
    Verdict.FAILED: "red",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab doctor`` accepts."""
    parser.add_argument("--quick", action="store_true", help="do not load and time the engines")
    parser.add_argument("--json", action="store_true", help="print findings as JSON lines")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """1 if something keeps calls from working."""
    findings = [
        *machine(),
        *disk(settings),
        *port(settings),
        *models(settings),
        *plugins(),
        *asyncio.run(services(settings)),
    ]
    if not options.quick:
        findings += asyncio.run(time_engines(Catalogue(engine_settings(settings))))
    findings += browser()
    if options.json:
        for finding in findings:
            print(json.dumps(asdict(finding)))
    else:
        _print(findings)
    return exit_code(findings)


async def services(settings: Settings) -> list[Finding]:
    """Whether Postgres and Redis answer; embedded ones are started for this if none run."""
    try:
        async with attached_services(settings) as urls:
            return [
                await _postgres(Database(urls.database_url), settings.database_url is None),
                await _redis(Bus(urls.redis_url), settings.redis_url is None),
            ]
    except ServiceError as error:
        return [Finding("services", Verdict.FAILED, str(error))]


async def _postgres(database: Database, embedded: bool) -> Finding:
    try:
        await database.connect()
        version = str(await database.fetchval("SHOW server_version"))
    except StoreError as error:
        return Finding("postgres", Verdict.FAILED, str(error))
    finally:
        await database.close()
    return Finding("postgres", Verdict.OK, f"{version}, {'embedded' if embedded else 'external'}")


async def _redis(bus: Bus, embedded: bool) -> Finding:
    try:
        await bus.ping()
    except StoreError as error:
        return Finding("redis", Verdict.FAILED, str(error))
    finally:
        await bus.close()
    return Finding("redis", Verdict.OK, "embedded Valkey" if embedded else "external")


def _print(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        colour = COLOURS[finding.verdict]
        table.add_row(f"[{colour}]{finding.verdict}[/]", finding.subject, escape(finding.detail))
    Console(highlight=False).print(table)
