"""Package clients (pip, npm) run as children, with this machine's own configuration, so that
mirrors and proxies work as they do for any install.

A client works in a folder of its own, which holds its log, its temporary files and what it
brings: killed at any time it leaves nothing anywhere else.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .errors import FetchStopped, SourceFailed

ATTEMPTS = 3
DEADLINE = 3600.0
"""Seconds one package may take."""

POLL = 0.2
"""Seconds between two looks at a running client."""


def bring(
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

    ``report`` is told the bytes that have arrived so far; ``final`` says of a complaint whether
    trying again is senseless. Raises SourceFailed with the client's last words after ATTEMPTS
    attempts ``pause * 2**n`` seconds apart, FetchStopped."""
    for attempt in range(1, ATTEMPTS + 1):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        complaint = _run(command, folder, report, stop)
        brought = list(folder.glob(f"*{suffix}"))
        if complaint is None and len(brought) == 1:
            return brought[0]
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
