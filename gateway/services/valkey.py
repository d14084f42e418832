"""The embedded Valkey: what may be lost (events, leases, ephemeral keys), kept in memory only.

It writes nothing to disk, listens on a unix socket alone, and is bounded: at ``MAX_MEMORY`` it
evicts what carries a TTL and was not used for longest (all keys of ours carry one). A renewed
lease is never the oldest, an event stream nobody reads is.
"""

import signal
import socket
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from .child import Runner

SOCKET = "valkey.sock"
MAX_MEMORY = "64mb"


class Valkey:
    """Program of the embedded Valkey."""

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
        return f"unix://{quote(str(self._run_dir / SOCKET))}?db=0"

    def prepare(self, run: Runner) -> None:
        """Nothing to prepare: no files."""

    def command(self) -> tuple[list[str], Path]:
        """See valkey.conf of release 9 for each directive."""
        settings = {
            "port": "0",
            "unixsocket": str(self._run_dir / SOCKET),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory": MAX_MEMORY,
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
                probe.connect(str(self._run_dir / SOCKET))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
            except OSError:
                return False
