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
import itertools
import logging
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

import uvloop

from gateway.app import HOST, build_app
from gateway.engines import engine_settings
from gateway.housekeeping import Housekeeping
from gateway.lifecycle import bound_sockets, serve, tls_context
from gateway.logs import JSON
from gateway.processes.connections import AUDIOSOCKET, HTTP
from gateway.processes.supervisor import Supervisor, command_of
from gateway.services import EmbeddedServices, ServiceError, ServiceUrls, present_services
from gateway.services.workers import Workers
from gateway.settings import CHECKOUT, Settings, SettingsError
from gateway.steps import STAGES, Steps
from gateway.stop_signals import StopSignals
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.chat.choice import ChatChoice
from pipelines.jobs.cleanup import CleanupSchedule
from pipelines.jobs.usage import PricesError
from sessions.registry import CallRegistry
from sessions.resumption.stored_calls import can_be_resumed
from store.bus import Bus
from store.database import Database
from store.errors import StoreError
from store.tenants.calls import Calls

log = logging.getLogger(__name__)

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


class Server:
    """The running server. ``embedded``: start services that are not given, and workers;
    ``command``: starts its processes, where there are several."""

    def __init__(
        self,
        settings: Settings,
        *,
        embedded: bool,
        steps: Steps,
        command: Callable[[str], Sequence[str]] = command_of,
    ) -> None:
        self._settings = settings
        self._command = command
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
        addresses = {HTTP: (settings.host, settings.port)}
        if settings.processes > 1 and settings.audiosocket is not None:
            addresses[AUDIOSOCKET] = settings.audiosocket
        with contextlib.ExitStack() as open_sockets:
            ports = {name: bound_sockets(*address) for name, address in addresses.items()}
            for bound in itertools.chain(*ports.values()):
                open_sockets.callback(bound.close)
            async with self._services() as urls, self._housekeeping(urls), self._working():
                if settings.processes > 1:
                    await self._supervise(ports)
                else:
                    await self._serve(urls, ports[HTTP])

    async def _serve(self, urls: ServiceUrls, sockets: list[socket.socket]) -> None:
        """One process does everything."""
        settings = self._settings
        engines = Catalogue(
            engine_settings(settings),
            fetch=partial(self._steps.fetch, settings),
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

    async def _supervise(self, ports: Mapping[str, Sequence[socket.socket]]) -> None:
        """Several processes do."""
        supervisor = Supervisor(
            self._settings,
            ports,
            command=self._command,
            on_listening=self._on_listening,
            on_stage=self._on_stage,
        )
        self._waiting_for = lambda: supervisor.waiting_for
        with StopSignals().installed() as signals:
            await supervisor.run(signals)

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
    await Housekeeping(
        Calls(database),
        CallRegistry(bus),
        CleanupSchedule(database),
        resumable=partial(can_be_resumed, bus),
    ).run()
