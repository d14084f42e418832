"""What this machine has: Python, processor, space, weights, the port, the services."""

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from pathlib import Path

from gateway.engines import model_store, wanted_models
from gateway.services import ServiceError, attached_services, running_services
from gateway.settings import Settings
from pipelines.engines.discovery import installed
from pipelines.engines.resources import usable_cores, usable_memory
from pipelines.weights.store import State
from store.bus import Bus
from store.database import Database
from store.errors import StoreError

from .findings import Finding, Verdict

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CPU_FLAGS = ("avx2", "fma", "f16c")
MIN_MEMORY = 2_500_000_000
"""Bytes that the small profile, the services and a few calls need."""
MIN_DISK = 2_000_000_000


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
    absent = _missing_cpu_flags()
    detail = f"{platform.machine()}, {usable_cores()} cores"
    verdict = Verdict.SLOW if absent else Verdict.OK
    findings.append(
        Finding("cpu", verdict, detail + (f", no {', '.join(absent)}" if absent else ""))
    )
    memory = usable_memory()
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


def processes(settings: Settings) -> list[Finding]:
    """What ``blab serve`` starts for calls."""
    if settings.processes == 1:
        return [Finding("processes", Verdict.OK, "one, with the engines in it")]
    detail = f"{settings.processes} gateway processes and an engine process"
    return [Finding("processes", Verdict.OK, detail)]


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
