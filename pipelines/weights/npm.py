"""Tarballs of npm packages: fetched with npm where there is one, else from the registry that the
user's ``.npmrc`` names.

Rules: exact versions, nothing is installed, no script of a package is run, no second copy in
npm's cache.
"""

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from . import http
from .client import bring
from .errors import SourceFailed
from .sources import NpmPackage

FINAL = ("E404", "ETARGET")
"""What npm says of packages and versions that do not exist."""


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
        return _download(package, folder, report, stop, pause)
    command = [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts"]
    command += ["--pack-destination", str(folder), "--cache", str(folder / "cache")]
    command += ["--no-update-notifier"]

    def final(complaint: str) -> bool:
        return any(code in complaint for code in FINAL)

    return bring(command, folder, ".tgz", report, stop, final=final, pause=pause)


def registry_url() -> str:
    """The registry of the user's .npmrc; raises SourceFailed where it names none."""
    with suppress(OSError):
        settings = (Path.home() / ".npmrc").read_text(errors="replace")
        if found := re.search(r"^\s*registry\s*=\s*(\S+)", settings, re.MULTILINE):
            return found[1].rstrip("/")
    raise SourceFailed("npm is not installed here, and no registry is named in ~/.npmrc")


def _download(
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
