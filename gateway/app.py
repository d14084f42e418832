"""The composition root: builds the web application out of settings, services and engines.

The stores are opened first, because what is built signs with the secrets in them. Start: what
writes to the stores, then the engines in the background; the server answers from the first moment
and says in /readyz what it still waits for. End, in reverse: calls, then what they write to, then
the stores. Nothing imports this module but the command line.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import web

from gateway.calls.authorization import Admittance
from gateway.calls.client_credentials import IceServers
from gateway.calls.demo import Demo
from gateway.calls.realtime import RealtimeCalls
from gateway.calls.sidebands import SIDEBANDS, Sidebands
from gateway.calls.telephony import TelephonyCalls
from gateway.channels.webrtc import calls as webrtc
from gateway.channels.webrtc.ice import IceSettings, TurnServer
from gateway.channels.webrtc.whip import setup_whip
from gateway.channels.wire.checks import SessionChecks
from gateway.http.middleware import Middleware, show_request_id
from gateway.http.monitoring import Check, Health, Metrics
from pipelines.engines.jobs import CallOptions, JobEngines
from pipelines.jobs.prices import Prices
from pipelines.jobs.usage import Usage
from pipelines.ssrf import CustomerHttp
from pipelines.tools.tool_runner import MOST_SECONDS, ToolRunner
from rest.accounts.auth import Authenticator, SignedIn
from rest.accounts.ephemeral import EphemeralKeys
from rest.accounts.signing import Tokens
from rest.http.ratelimit import ClientAddress
from sessions.admission import Admission
from sessions.engines import LiveEngines
from sessions.fanout import Fanout
from sessions.host import SessionHost
from sessions.persistence import CallJournal
from sessions.registry import CallRegistry
from sessions.remote_commands import RemoteCommands
from store.tenants.agents import Agents
from store.tenants.api_keys import ApiKeys
from store.tenants.workspaces import LOCAL_WORKSPACE, Workspaces

from .lifecycle import CONNECTION_GUARD, ConnectionGuard
from .parsers import IceServer
from .platform import Platform, PlatformParts
from .services import ServiceUrls
from .settings import CHECKOUT, Settings, is_loopback
from .stock_models import StockModels
from .stores import Stores

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1024 * 1024


class OwnedEngines(LiveEngines, Protocol):
    """The engines of this process, as their owner sees them."""

    async def start(self) -> None:
        """Load and warm up everything; returns when calls can be answered."""
        ...

    async def close(self) -> None:
        """End every executor and child."""
        ...

    def waiting_for(self) -> str | None:
        """Why calls cannot be answered yet (a sentence); None when they can."""
        ...

    def call_options(self) -> CallOptions:
        """What a caller may choose among."""
        ...

    @property
    def jobs(self) -> JobEngines:
        """The same engines, and those that are loaded when they are asked for."""
        ...


HOST: web.AppKey[SessionHost] = web.AppKey("host", SessionHost)


class Blab:
    """The parts of one server, wired."""

    def __init__(self, settings: Settings, stores: Stores, engines: OwnedEngines) -> None:
        self._settings = settings
        self._embedded = settings.database_url is None
        self._engines = engines
        self._stores = stores
        self._database, self._bus = stores.database, stores.bus
        self._registry = CallRegistry(self._bus)
        self._fanout = Fanout(self._bus)
        usage = Usage(self._database, Prices.read(settings.prices))
        self._journal = CallJournal(self._database, self._registry.node_id, book=usage.book_turn)
        self._admission = Admission(settings.max_calls)
        self._metrics = Metrics()
        self._loading: asyncio.Task[None] | None = None
        self._tool_http = CustomerHttp(allow_private=settings.tool_private, deadline=MOST_SECONDS)
        live = StockModels(engines)
        self.host = SessionHost(
            live,
            self._admission,
            self._journal,
            self._fanout,
            self._registry,
            record_to=settings.record_calls,
            on_ended=self._metrics.call_ended,
            on_empty_answer=self._metrics.empty_answer,
            tools=ToolRunner(self._tool_http),
        )
        self._metrics.watch_active(lambda: self.host.active)
        self._ephemeral = EphemeralKeys(self._bus)
        tokens = Tokens(stores.secrets.tokens)
        self._authenticator = authenticator = Authenticator(
            ApiKeys(self._database),
            self._ephemeral,
            users=SignedIn(tokens, Workspaces(self._database)),
        )
        self._platform = Platform(
            PlatformParts(
                settings=settings,
                stores=stores,
                engines=engines.jobs,
                live=live,
                host=self.host,
                authenticator=authenticator,
                tokens=tokens,
                usage=usage,
                tool_http=self._tool_http,
                waiting_for=engines.waiting_for,
            )
        )
        self._admittance = Admittance(
            authenticator,
            Agents(self._database, stores.vault),
            settings.allowed_origins,
            SessionChecks(live.name_faults, self._tool_http.check),
        )
        self._commands = RemoteCommands(
            self._bus, self._fanout, self._registry.node_id, self.host.find, self.host.call_ids
        )
        self._sidebands = Sidebands(self._admittance, self._registry, self._fanout, self._commands)
        self._calls = RealtimeCalls(
            self._admittance,
            self._ephemeral,
            self.host,
            self._metrics,
            self._sidebands,
            waiting_for=engines.waiting_for,
        )
        self._telephony = TelephonyCalls(
            self._admittance,
            Agents(self._database, stores.vault),
            self._calls,
            {"twilio": settings.twilio_auth_token},
            settings.public_url,
        )

    def application(self, demo: Path) -> web.Application:
        """The application with its routes; ``demo``: folder of the demo page."""
        guard = ConnectionGuard(
            per_address=self._settings.connections_per_address,
            addresses=ClientAddress(self._settings.trusted_proxies),
        )
        middleware = Middleware(self._metrics)
        app = web.Application(
            middlewares=[guard.note, *middleware.all], client_max_size=MAX_REQUEST_BYTES
        )
        app.on_response_prepare.append(show_request_id)
        app[CONNECTION_GUARD] = guard
        app[HOST] = self.host
        app[SIDEBANDS] = self._sidebands
        health = Health(self._checks())
        alone = self._embedded and serves_this_machine_only(self._settings)
        local = LOCAL_WORKSPACE if alone else None
        app.add_routes(
            [
                web.get("/healthz", health.live),
                web.get("/readyz", health.ready),
                web.get("/metrics", self._metrics.handler(self._authenticator.of_request)),
                *self._calls.routes(),
                *self._telephony.routes(),
                *Demo(demo, self._ephemeral, local, self._engines.call_options).routes(),
            ]
        )
        app.cleanup_ctx.extend([self._storage, self._writers, self._models])
        self._platform.install(app)
        app.on_shutdown.append(self._end_calls)
        ice = ice_settings(self._settings)
        calls = webrtc.setup(app, self._calls.start_call, self._calls.hang_up, ice)
        setup_whip(app, calls, self._calls.carries, self._calls.hang_up, ice)
        app.add_routes(IceServers(self._admittance, ice).routes())
        return app

    # ------------------------------------------------------------------ start and end

    async def _storage(self, _app: web.Application) -> AsyncIterator[None]:
        try:
            if self._embedded:
                await Workspaces(self._database).ensure_local_workspace()
            yield
        finally:
            await self._stores.close()

    async def _writers(self, _app: web.Application) -> AsyncIterator[None]:
        if self._settings.record_calls is not None:
            await asyncio.to_thread(
                self._settings.record_calls.mkdir, mode=0o700, parents=True, exist_ok=True
            )
        self._registry.start()
        self._fanout.start()
        self._journal.start()
        self._commands.start()
        yield
        await self._commands.stop()
        await self._journal.stop()
        await self._fanout.stop()
        await self._registry.stop()

    async def _models(self, _app: web.Application) -> AsyncIterator[None]:
        self._loading = asyncio.create_task(self._load(), name="engines-loading")
        yield
        self._loading.cancel()
        await asyncio.gather(self._loading, return_exceptions=True)
        await self._engines.close()

    async def _load(self) -> None:
        try:
            await self._engines.start()
        except Exception:  # a background job's edge: told here and in /readyz
            log.exception("the engines could not be loaded")
            raise

    async def _end_calls(self, _app: web.Application) -> None:
        await self.host.drain(0)
        await self._calls.close()
        await self._tool_http.close()
        await self._sidebands.close()

    # ------------------------------------------------------------------ readiness

    def _checks(self) -> dict[str, Check]:
        checks: dict[str, Check] = {
            "engines": _sync(self._engines_waiting),
            "admission": _sync(self._no_slot),
            "draining": _sync(self._draining),
            "database": self._database_away,
        }
        if self._embedded:
            checks["bus"] = self._bus_away
        return checks

    def _engines_waiting(self) -> str | None:
        if self._loading is not None and self._loading.done() and not self._loading.cancelled():
            error = self._loading.exception()
            if error is not None:
                return f"The engines could not be loaded: {error}."
        return self._engines.waiting_for()

    def _no_slot(self) -> str | None:
        if self._admission.active >= self._admission.capacity:
            return f"Every line is in use ({self._admission.capacity})."
        return None

    def _draining(self) -> str | None:
        return "The server is shutting down." if self._admission.draining else None

    async def _database_away(self) -> str | None:
        await self._database.fetchval("SELECT 1")
        return None

    async def _bus_away(self) -> str | None:
        await self._bus.ping()
        return None


async def build_app(
    settings: Settings,
    urls: ServiceUrls,
    engines: OwnedEngines,
    *,
    demo: Path = CHECKOUT / "static" / "demo",
) -> web.Application:
    """The application on open stores, not started; to be started or cleaned up by the caller.

    ``app[HOST].drain`` is what ``lifecycle.serve`` needs. Raises StoreError."""
    stores = await Stores.open(settings, urls)
    try:
        return Blab(settings, stores, engines).application(demo)
    except BaseException:
        await stores.close()
        raise


def ice_settings(settings: Settings) -> IceSettings:
    """How WebRTC peers reach this server. Of several STUN or TURN servers the first is used."""
    stun = [server for server in settings.ice_servers if server.url.startswith("stun")]
    turn = [server for server in settings.ice_servers if server.url.startswith("turn")]
    advertised = settings.advertised_address
    return IceSettings(
        stun_server=stun[0].url if stun else None,
        turn_server=_turn_server(turn[0], settings.turn_secret) if turn else None,
        advertised_addresses=(advertised,) if advertised else (),
        port_range=settings.udp_ports,
        allow_loopback=is_loopback(settings.host),
    )


def _turn_server(server: IceServer, secret: str | None) -> TurnServer:
    """Signed into by the secret where the server's address names nobody."""
    if server.username is None:
        return TurnServer(server.url, secret=secret or "")
    return TurnServer(server.url, server.username, server.credential or "")


def serves_this_machine_only(settings: Settings) -> bool:
    """Whether the server listens on a loopback address and is not announced under another."""
    announced = urlsplit(settings.public_url).hostname if settings.public_url else settings.host
    return is_loopback(settings.host) and is_loopback(announced or "")


def _sync(check: Callable[[], str | None]) -> Callable[[], Awaitable[str | None]]:
    async def asked() -> str | None:
        return check()

    return asked
