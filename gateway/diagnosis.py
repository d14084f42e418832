"""Diagnosis of the machine: what a voice conversation needs, and how much of it is here.

Every check is a function that returns one or more ``Finding``; none changes anything.
"""

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.services import running_services
from gateway.settings import Settings
from gateway.staged_engines import wanted_models
from pipelines.weights.store import ModelStore, State

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CPU_FLAGS = ("avx2", "fma", "f16c")
MIN_MEMORY = 2_500_000_000
"""Bytes that the small profile, the services and a few calls need."""
MIN_DISK = 2_000_000_000


class Verdict(StrEnum):
    """How it stands with one thing; only ``FAILED`` and ``MISSING`` keep calls from working."""

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
    """Whether the port is free, or held by the Blab that runs here."""
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
    store = ModelStore(settings.models_dir)
    findings = []
    for name in wanted_models(settings):
        status = store.status(name)
        size = f"{status.model.size / 1e6:.0f} MB, {status.model.licence}"
        if status.state in (State.READY, State.UNVERIFIED):
            findings.append(Finding(f"model {name}", Verdict.OK, f"{status.state}, {size}"))
        else:
            detail = f"{status.state}; `blab models fetch {name}` ({size})"
            findings.append(Finding(f"model {name}", Verdict.MISSING, detail))
    return findings


def browser() -> list[Finding]:
    """Chromium, which only the browser tests need."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return [Finding("chromium", Verdict.OK, found)]
    return [Finding("chromium", Verdict.NOTE, "not installed; only the browser tests need it")]


def exit_code(findings: Sequence[Finding]) -> int:
    """1 where something keeps calls from working."""
    return 1 if any(finding.fatal for finding in findings) else 0
