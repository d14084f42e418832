"""The embedded services as one thing: started together, stopped together, one per data directory.

Layout below the data directory::

    blab.lock             flock'ed by the running blab, holds its pid and the services' URLs
    services/             postgres/ (the cluster), *.lock, *.log, runtime/ (copied programs)
    services/run/         sockets, private to the service account

A socket's path may have 107 bytes (103 on macOS), and some characters mean something in a
connection URL. Where ``services/run`` is too long, too odd, or closed to the service account,
the sockets are in ``/tmp/blab-<uid>-<digest of the data directory>`` instead, equally private.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import Settings

from .child import Child, DataDirInUse, ServiceFailed, ServiceState, make_private, service_account
from .programs import (
    POSTGRES_SOCKET,
    VALKEY_SOCKET,
    Postgres,
    Valkey,
    postgres_programs,
    valkey_program,
)

SUN_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""unix(7): 108 with the closing NUL; 104 on macOS."""
LOCK_SECONDS = 1.0
"""A blab that was just killed may still be dying, and a command that asks who runs holds the lock
for an instant."""
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServiceUrls:
    """Where the services are."""

    database_url: str
    redis_url: str


class EmbeddedServices:
    """Postgres and Valkey of one data directory; a service whose URL is given is left alone.

    ``start`` once, ``stop`` once, not necessarily on the same event loop."""

    def __init__(
        self,
        data_dir: Path,
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._services_dir = self._data_dir / "services"
        self._run_dir = self._services_dir / "run"
        self._database_url = database_url
        self._redis_url = redis_url
        self._children: list[Child] = []
        self._lock: int | None = None
        self._account = service_account()
        self._urls: ServiceUrls | None = None

    async def start(self) -> ServiceUrls:
        """Take the data directory and return when both services answer.

        Raises DataDirInUse, or ServiceFailed with the reason; nothing is left running then."""
        try:
            urls = await asyncio.to_thread(self._prepare)
            starts = [asyncio.create_task(child.start()) for child in self._children]
            try:
                await asyncio.gather(*starts)
            finally:
                for start in starts:
                    start.cancel()
                await asyncio.gather(*starts, return_exceptions=True)
        except BaseException:
            await self.stop()
            raise
        self._urls = urls
        return urls

    @property
    def urls(self) -> ServiceUrls:
        """What ``start`` returned; ServiceFailed before and after."""
        if self._urls is None:
            raise ServiceFailed("the embedded services are not running")
        return self._urls

    async def stop(self) -> None:
        """Stop the services in order and release the data directory. Harmless when repeated."""
        try:
            await asyncio.gather(*(child.stop() for child in self._children))
        finally:
            self._children.clear()
            self._urls = None
            if self._lock is not None:
                if self._run_dir.parent != self._services_dir:
                    shutil.rmtree(self._run_dir, ignore_errors=True)
                os.ftruncate(self._lock, 0)
                os.close(self._lock)
                self._lock = None

    @property
    def states(self) -> dict[str, ServiceState]:
        """State of each embedded service by name, for readiness and diagnosis."""
        return {child.name: child.state for child in self._children}

    @property
    def pids(self) -> dict[str, int | None]:
        """Pid of each embedded service by name, for diagnosis and tests."""
        return {child.name: child.pid for child in self._children}

    def _prepare(self) -> ServiceUrls:
        """Directories, lock, programs and children; blocking."""
        mode = 0o711 if self._account else 0o700
        try:
            self._data_dir.mkdir(mode=mode, parents=True, exist_ok=True)
            self._lock = _locked(self._data_dir)
            self._services_dir.mkdir(mode=mode, exist_ok=True)
            self._run_dir = self._choose_run_dir()
            make_private(self._run_dir, self._account)
            urls = self._choose_services()
        except OSError as error:
            raise ServiceFailed(
                f"cannot prepare the embedded services in {self._data_dir}: {error}"
            ) from error
        embedded = {
            "database_url": None if self._database_url else urls.database_url,
            "redis_url": None if self._redis_url else urls.redis_url,
        }
        os.pwrite(self._lock, json.dumps({"pid": os.getpid(), **embedded}).encode(), 0)
        return urls

    def _choose_run_dir(self) -> Path:
        run_dir = self._services_dir / "run"
        longest = max(POSTGRES_SOCKET + ".lock", VALKEY_SOCKET, key=len)
        fits = len(os.fsencode(run_dir / longest)) <= SUN_PATH_BYTES
        reached = self._account is None or self._account.reaches(self._services_dir)
        if fits and reached and _PLAIN.fullmatch(str(run_dir)):
            return run_dir
        digest = hashlib.sha256(os.fsencode(self._data_dir.resolve())).hexdigest()[:16]
        return Path(f"/tmp/blab-{os.geteuid()}-{digest}")  # noqa: S108 - made private

    def _choose_services(self) -> ServiceUrls:
        runtime = self._services_dir / "runtime"
        database_url, redis_url = self._database_url, self._redis_url
        if not database_url:
            programs = postgres_programs(runtime, self._account)
            server = Postgres(programs, self._services_dir, self._run_dir, self._account)
            self._children.append(Child(server, self._account, self._services_dir))
            database_url = server.url
        if not redis_url:
            cache = Valkey(valkey_program(runtime, self._account), self._run_dir)
            self._children.append(Child(cache, self._account, self._services_dir))
            redis_url = cache.url
        return ServiceUrls(database_url, redis_url)


@dataclass(frozen=True, slots=True)
class RunningServices:
    """What a running blab says about itself; a URL is None where its service is external."""

    pid: int
    database_url: str | None
    redis_url: str | None


def running_services(data_dir: Path) -> RunningServices | None:
    """The services of the blab that is running on ``data_dir``, or None.

    For the other commands (worker, key, doctor) of the same machine and user."""
    try:
        descriptor = os.open(data_dir / "blab.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.pread(descriptor, 8192, 0)
        return RunningServices(**json.loads(said)) if said else None
    else:
        return None
    finally:
        os.close(descriptor)


def _locked(data_dir: Path) -> int:
    """A descriptor that holds the data directory's lock; the kernel frees it when we die."""
    descriptor = os.open(data_dir / "blab.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pass
        if time.monotonic() > give_up:
            said = os.pread(descriptor, 8192, 0)
            os.close(descriptor)
            pid = json.loads(said)["pid"] if said else "unknown, still starting"
            raise DataDirInUse(
                f"another blab (pid {pid}) uses the data directory {data_dir}; "
                "stop it, or set BLAB_DATA_DIR to another directory"
            )
        time.sleep(0.02)
    os.ftruncate(descriptor, 0)
    return descriptor


# ------------------------------------------------------------------ for other commands


def present_services(settings: Settings) -> ServiceUrls:
    """Where Postgres and Redis are: external, or those of the Blab running on the data directory.

    Raises ServiceFailed where one of them is neither."""
    urls = _known(settings)
    if urls is None:
        raise ServiceFailed(
            "no services: set DATABASE_URL and REDIS_URL, or start `blab serve` on this machine"
            f" with the data directory {settings.data_dir}"
        )
    return urls


@contextlib.asynccontextmanager
async def attached_services(settings: Settings) -> AsyncIterator[ServiceUrls]:
    """Like ``present_services``, but services that are not running are started for the block.

    Raises ServiceError where they are not available."""
    if urls := _known(settings):
        yield urls
        return
    services = EmbeddedServices(
        settings.data_dir, database_url=settings.database_url, redis_url=settings.redis_url
    )
    urls = await services.start()
    try:
        yield urls
    finally:
        await services.stop()


def _known(settings: Settings) -> ServiceUrls | None:
    database_url, redis_url = settings.database_url, settings.redis_url
    if running := running_services(settings.data_dir):
        database_url = database_url or running.database_url
        redis_url = redis_url or running.redis_url
    return ServiceUrls(database_url, redis_url) if database_url and redis_url else None
