"""Wheels from the package registry, fetched with pip.

Rules: exact versions, no dependencies, wheels only (a source package would run its own code),
nothing is installed, nothing imported, no second copy in pip's cache.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from .client import bring
from .sources import Package


def fetch_wheel(
    package: Package,
    folder: Path,
    report: Callable[[int], None],
    stop: Callable[[], bool],
    *,
    pause: float = 1.0,
) -> Path:
    """Download the wheel of ``package`` into ``folder``, which is emptied first.

    Raises SourceFailed, FetchStopped; see ``client.bring``."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), package.requirement]
    return bring(command, folder, ".whl", report, stop, final=_is_final, pause=pause)


def _is_final(complaint: str) -> bool:
    """Whether the registry answers that it has no such package."""
    return "No matching distribution" in complaint
