"""The embedded Postgres: a private cluster in the data directory, reached by unix socket only.

Rules
- The cluster appears by rename of a finished ``initdb``: a start killed in the middle leaves
  only litter that the next one removes.
- Authentication is the socket's directory: mode 0700, owned by the service account.
- Statements and their values never reach the log: it takes LOG, FATAL and PANIC, tersely.
- Where the account cannot walk to the cluster (a data directory under ``/root``), it is named
  ``/proc/self/cwd``: the launcher entered it while privileged, and every process of Postgres
  works in its data directory. Linux only; elsewhere the data directory must be reachable.
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from .account import Account, make_private
from .child import Runner
from .errors import ServiceFailed

USER = "blab"
DATABASE = "postgres"
PORT_SUFFIX = 5432
"""Names the socket file; no TCP port is opened."""
SOCKET = f".s.PGSQL.{PORT_SUFFIX}"
SETTINGS = {
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
"""Given on the command line, so that the cluster's own files stay as initdb made them."""


class Postgres:
    """Program of the embedded Postgres."""

    name: ClassVar[str] = "postgres"
    death_signal: ClassVar[signal.Signals] = signal.SIGINT
    """Fast shutdown: sessions are cut, what was committed is kept."""
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
        """Make the cluster unless it exists; clear the pid of a server that is gone."""
        if (self._cluster / "PG_VERSION").exists():
            self._check_version()
            self._forget_dead_server()
            return
        if self._unfinished.exists():
            shutil.rmtree(self._unfinished)
        make_private(self._unfinished, self._account)
        argv = [
            *(str(self._programs / "initdb"), "-D", self._spelled(self._unfinished)),
            *("-U", USER, "-E", "UTF8", "--no-locale", "--no-instructions"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth-local=trust", "--auth-host=reject"),
        ]
        run(argv, self._unfinished)
        self._unfinished.rename(self._cluster)

    def command(self) -> tuple[list[str], Path]:
        """The postmaster, in its cluster."""
        settings = SETTINGS | {"unix_socket_directories": str(self._run_dir)}
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
                f"{installed}; dump it with the old version, or move it away to begin anew"
            )

    def _forget_dead_server(self) -> None:
        """Remove pid files whose pid now is somebody else's.

        The caller holds the server's lock, so the server that wrote them is gone; Postgres
        itself clears them (and the old shared memory) unless it takes the stranger for it."""
        for stale in (self._cluster / "postmaster.pid", self._run_dir / f"{SOCKET}.lock"):
            try:
                os.kill(int(stale.read_text().split("\n", 1)[0]), 0)
            except (FileNotFoundError, ProcessLookupError):
                continue
            except (PermissionError, ValueError):
                pass
            stale.unlink()
