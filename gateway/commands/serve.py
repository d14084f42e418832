"""``blab serve`` and ``blab web``: one server process from start to end.

``serve`` also starts the services that are not given and the workers; ``web`` answers calls on
services that are already running.

The port is bound before anything is started, so that a port in use costs nothing. The page and
/healthz answer as soon as the stores do; the engines follow in the background. Services are stopped
last, so that what calls leave behind can still be written.
"""

import argparse
import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence

import uvloop
from rich.console import Console
from rich.status import Status

from gateway.app import HOST, build_app
from gateway.commands.models import FetchProgress
from gateway.engines import engine_settings, model_store
from gateway.housekeeping import Housekeeping
from gateway.lifecycle import StopSignals, bound_sockets, serve, tls_context
from gateway.logs import JSON
from gateway.services import EmbeddedServices, ServiceError, ServiceUrls, present_services
from gateway.services.workers import Workers
from gateway.settings import CHECKOUT, Settings, SettingsError
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.chat.choice import ChatChoice
from pipelines.engines.startup import Stop
from pipelines.jobs.cleanup import CleanupSchedule
from pipelines.jobs.usage import PricesError
from pipelines.weights.manifest import Model
from sessions.registry import CallRegistry
from store.bus import Bus
from store.database import Database
from store.errors import StoreError
from store.tenants.calls import Calls

log = logging.getLogger(__name__)

STAGES = {"loading": "Loading and warming the engines"}
ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound to


def arguments(parser: argparse.ArgumentParser) -> None:
    """An address in place of ``BLAB_HOST`` and ``BLAB_PORT``; all else is environment variables."""
    parser.add_argument("--host", dest="BLAB_HOST", metavar="ADDRESS", help="address to listen on")
    parser.add_argument("--port", dest="BLAB_PORT", metavar="PORT", help="TCP port to listen on")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 1 with the reason on standard error if it cannot start."""
    steps = Steps(logged=settings.log_format == JSON)
    try:
        uvloop.run(Server(settings, embedded=options.command == "serve", steps=steps).run())
    except (ServiceError, StoreError, SettingsError, PricesError) as error:
        steps.fail(str(error))
        return 1
    except OSError as error:
        advice = "choose another with BLAB_HOST and BLAB_PORT"
        if error.errno == errno.EADDRINUSE:
            advice = f"stop the program that listens there, or {advice}"
        where = f"{settings.host}:{settings.port}"
        steps.fail(f"cannot listen on {where}: {error.strerror or error}; {advice}")
        return 1
    return 0


class Steps:
    """Prints the steps of a start one after the other, each with the time it took.

    ``logged``: as lines of the log, for whoever collects that."""

    def __init__(self, console: Console | None = None, *, logged: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self._logged = logged
        self._status: Status | None = None
        self._began = 0.0
        self._doing = ""

    def begin(self, doing: str) -> None:
        """End the previous step and begin this one."""
        self.end()
        self._doing, self._began = doing, time.monotonic()
        if self.console.is_terminal and not self._logged:
            self._status = self.console.status(doing)
            self._status.start()

    def pause(self) -> None:
        """Clear the line for something else that shows progress."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def end(self) -> None:
        """The last step is done."""
        self.pause()
        if self._doing:
            self.say(f"{self._doing}: {time.monotonic() - self._began:.1f} s")
        self._doing = ""

    def fail(self, why: str) -> None:
        """The last step failed."""
        self.pause()
        self._doing = ""
        if self._logged:
            log.error("%s", why)
        else:
            print(f"blab: {why}", file=sys.stderr)

    def say(self, text: str) -> None:
        """Print a line."""
        if self._logged:
            log.info("%s", text.strip())
            return
        self.console.print(text, highlight=False, soft_wrap=True)


class Server:
    """The running server. ``embedded``: start services that are not given, and workers."""

    def __init__(self, settings: Settings, *, embedded: bool, steps: Steps) -> None:
        self._settings = settings
        self._embedded = embedded
        self._steps = steps
        self._address = ""
        self._tls: ssl.SSLContext | None = None
        self._workers = Workers(settings.workers if embedded else 0, CHECKOUT)
        self._waiting_for: Callable[[], str | None] = lambda: None

    async def run(self) -> None:
        """Serve until a signal asks to stop.

        Raises ServiceError, StoreError, SettingsError or OSError if it cannot start."""
        settings = self._settings
        self._tls = _tls(settings)
        with contextlib.ExitStack() as port:
            sockets = bound_sockets(settings.host, settings.port)
            for bound in sockets:
                port.callback(bound.close)
            await self._serve(sockets)

    async def _serve(self, sockets: list[socket.socket]) -> None:
        settings = self._settings
        async with self._services() as urls, self._housekeeping(urls), self._working():
            engines = Catalogue(
                engine_settings(settings),
                fetch=self._fetch,
                on_stage=self._on_stage,
                on_chat_replaced=self._on_chat_replaced,
            )
            self._waiting_for = engines.waiting_for
            app = await build_app(settings, urls, engines, keep_warm=True)
            await serve(
                app,
                settings.host,
                settings.port,
                app[HOST].drain,
                drain_seconds=settings.drain_seconds,
                on_listening=self._on_listening,
                signals=StopSignals(),
                sockets=sockets,
                tls=self._tls,
            )

    @contextlib.asynccontextmanager
    async def _services(self) -> AsyncIterator[ServiceUrls]:
        settings = self._settings
        if not self._embedded:
            yield present_services(settings)
            return
        if not (settings.database_url and settings.redis_url):
            self._steps.begin("Starting Postgres and Valkey")
        services = EmbeddedServices(
            settings.data_dir,
            database_url=settings.database_url,
            redis_url=settings.redis_url,
        )
        urls = await services.start()
        self._steps.end()
        try:
            yield urls
        finally:
            await services.stop()

    @contextlib.asynccontextmanager
    async def _housekeeping(self, urls: ServiceUrls) -> AsyncIterator[None]:
        """In embedded mode this process does the housekeeping; otherwise ``blab worker`` does."""
        if not self._embedded:
            yield
            return
        database, bus = Database(urls.database_url), Bus(urls.redis_url)
        keeper = asyncio.create_task(_keep_house(database, bus), name="housekeeping")
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await bus.close()
            await database.close()

    @contextlib.asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        """Workers start after the engines of calls and end before the services they write to."""
        try:
            yield
        finally:
            await self._workers.stop()

    # ------------------------------------------------------------------ engines

    def _fetch(self, models: Sequence[Model], stop: Stop) -> None:
        store = model_store(self._settings)
        missing = [model.name for model in models if not store.ready(model.name)]
        if not missing:
            return
        size = sum(store.models[name].size for name in missing)
        self._steps.say(
            f"Fetching {', '.join(missing)} ({size / 1e6:.0f} MB) into {store.directory}"
        )
        with FetchProgress(self._steps.console) as progress:
            for name in missing:
                store.fetch(name, progress.update, stop=stop)

    # ------------------------------------------------------------------ what the user sees

    def _on_listening(self, port: int) -> None:
        host = self._settings.host
        shown = "localhost" if host in ANYWHERE else f"[{host}]" if ":" in host else host
        scheme = "http" if self._tls is None else "https"
        self._address = f"{scheme}://{shown}:{port}/"
        self._steps.say(f"Listening on {self._address} (not ready for calls yet)")

    def _on_stage(self, stage: str) -> None:
        if stage in STAGES:
            self._steps.begin(STAGES[stage])
            return
        if stage == "ready":
            self._steps.end()
            self._say_ready()
        elif stage == "incomplete":
            self._steps.end()
            self._steps.say(f"\nNot ready for calls: {self._waiting_for()}")
        else:
            return
        self._workers.start()

    def _on_chat_replaced(self, choice: ChatChoice) -> None:
        self._steps.say(f"{choice.model_id} answers. {choice.reason}")

    def _say_ready(self) -> None:
        blab = "./blab" if (CHECKOUT / "blab").is_file() else "blab"
        self._steps.say(
            f"\nBlab is ready. Open {self._address} and speak.\n"
            f"  a recording instead of a microphone:  {blab} talk FILE.wav\n"
            f"  an API key:                           {blab} key --name NAME\n"
            f"  what is slow or missing here:         {blab} doctor\n"
            "  stop with Ctrl-C"
        )
        sys.stderr.flush()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None:
        return None
    try:
        return tls_context(settings.tls_certificate, settings.tls_key)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(
            [f"BLAB_TLS_CERTIFICATE, BLAB_TLS_KEY: they cannot be used: {reason}"]
        ) from error


async def _keep_house(database: Database, bus: Bus) -> None:
    await database.connect()
    await Housekeeping(Calls(database), CallRegistry(bus), CleanupSchedule(database)).run()
