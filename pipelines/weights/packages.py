"""Packages of PyPI and npm, fetched with the machine's own client (pip, npm) and configuration, so
that mirrors and proxies work as they do for any install.

Rules
- Exact versions, no dependencies. Nothing is installed or imported, and no script of a package
  runs: wheels only, for a source package would run its own code.
- A client works in a folder of its own, which holds its log, its temporary files and what it
  fetches: killed at any time it leaves nothing anywhere else, and no second copy in a cache.
- Without npm, a tarball comes from the registry that the user's ``.npmrc`` names.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from . import http
from .errors import FetchStopped, SourceFailed
from .model import NpmPackage, Package

ATTEMPTS = 3
DEADLINE = 3600.0
"""Seconds one package may take."""

POLL = 0.2
"""Seconds between two looks at a running client."""
NPM_FINAL = ("E404", "ETARGET")
"""What npm says of packages and versions that do not exist."""


def fetch_wheel(
    package: Package,
    folder: Path,
    report: Callable[[int], None],
    stop: Callable[[], bool],
    *,
    pause: float = 1.0,
) -> Path:
    """Download the wheel of ``package`` into ``folder``, which is emptied first.

    Raises SourceFailed, FetchStopped; see ``run_client``."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), package.requirement]
    return run_client(command, folder, ".whl", report, stop, final=_no_such_wheel, pause=pause)


def _no_such_wheel(complaint: str) -> bool:
    """Whether the registry answers that it has no such package."""
    return "No matching distribution" in complaint


def fetch_tarball(
    package: NpmPackage,
    folder: Path,
    report: Callable[[int], None],
    stop: Callable[[], bool],
    *,
    pause: float = 1.0,
) -> Path:
    """Download the tarball of ``package`` into ``folder``. Raises SourceFailed, FetchStopped."""
    npm = shutil.which("npm")
    if npm is None:
        return _download_tarball(package, folder, report, stop, pause)
    command = [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts"]
    command += ["--pack-destination", str(folder), "--cache", str(folder / "cache")]
    command += ["--no-update-notifier"]

    def final(complaint: str) -> bool:
        return any(code in complaint for code in NPM_FINAL)

    return run_client(command, folder, ".tgz", report, stop, final=final, pause=pause)


def registry_url() -> str:
    """The registry of the user's .npmrc; raises SourceFailed where it names none."""
    with suppress(OSError):
        settings = (Path.home() / ".npmrc").read_text(errors="replace")
        if found := re.search(r"^\s*registry\s*=\s*(\S+)", settings, re.MULTILINE):
            return found[1].rstrip("/")
    raise SourceFailed("npm is not installed here, and no registry is named in ~/.npmrc")


def _download_tarball(
    package: NpmPackage,
    folder: Path,
    report: Callable[[int], None],
    stop: Callable[[], bool],
    pause: float,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    plain = package.name.rpartition("/")[2]
    target = folder / f"{plain}-{package.version}.tgz"
    url = f"{registry_url()}/{package.name}/-/{target.name}"
    http.download(url, target, None, report, stop, pause=pause)
    return target


def run_client(
    command: Sequence[str],
    folder: Path,
    suffix: str,
    report: Callable[[int], None],
    stop: Callable[[], bool],
    *,
    final: Callable[[str], bool],
    pause: float,
) -> Path:
    """The one file with ``suffix`` that ``command`` leaves in the emptied ``folder``.

    ``report`` is called with the bytes that have arrived so far; ``final`` says whether it is
    useless to try again after a complaint. Raises SourceFailed with the client's last words after
    ATTEMPTS attempts ``pause * 2**n`` seconds apart, FetchStopped."""
    for attempt in range(1, ATTEMPTS + 1):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        complaint = _run(command, folder, report, stop)
        found = list(folder.glob(f"*{suffix}"))
        if complaint is None and len(found) == 1:
            return found[0]
        if attempt == ATTEMPTS or final(complaint or ""):
            break
        time.sleep(pause * 2 ** (attempt - 1))
    raise SourceFailed(complaint or f"no {suffix} came")


def _run(
    command: Sequence[str], folder: Path, report: Callable[[int], None], stop: Callable[[], bool]
) -> str | None:
    """Run the client to its end; None, or its complaint."""
    log = folder / "client.log"
    expires = time.monotonic() + DEADLINE
    with log.open("wb") as output:
        client = subprocess.Popen(
            ["/usr/bin/env", f"TMPDIR={folder}", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    code = client.wait(POLL)
                    break
                report(_bytes_in(folder))
                if stop():
                    raise FetchStopped("stopped")
                if time.monotonic() > expires:
                    return f"{Path(command[0]).name} was not done within {DEADLINE:.0f} s"
        finally:
            if client.poll() is None:
                client.kill()
                client.wait(10)
    if code == 0:
        return None
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "ERR" in line.upper()]
    return (errors or [f"the client ended with code {code}"])[-1].strip()


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # a client moves its files while they are counted
            total += path.stat().st_size if path.is_file() else 0
    return total
