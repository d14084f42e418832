"""The composition root: builds the web application out of settings, services and engines.

The stores are opened first, because what is built here signs with the secrets in them. Start: the
writers to the stores, then the engines in the background; the server answers from the first moment
and says in /readyz what it is still waiting for. End, in reverse: calls, then what they write to,
then the stores. Only the command line imports this module.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web

from gateway.calls.authorization import Authorization
from gateway.calls.carrier_lines import CarrierLines
from gateway.calls.client_credentials import IceServers
from gateway.calls.realtime import RealtimeCalls
from gateway.calls.sidebands import SIDEBANDS, Sidebands
from gateway.calls.takeovers import Takeovers
from gateway.calls.telephony import AudioSocketListener, TelephonyCalls
from gateway.channels.webrtc import calls as webrtc
from gateway.channels.webrtc.ice import IceSettings, TurnServer
from gateway.channels.webrtc.whip import setup_whip
from gateway.channels.wire.checks import SessionChecks
from gateway.http.middleware import Middleware, show_request_id
from gateway.http.monitoring import Check, Health, metrics_handler
from gateway.processes.connections import PassedConnections
from gateway.processes.neighbours import Neighbours
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracing
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.usage import Prices, Usage
from pipelines.ssrf import CustomerHttp
from pipelines.tool_runner import MOST_SECONDS, ToolRunner
from rest.accounts.auth import Authenticator, SignedIn
from rest.accounts.callers import CallerIds
from rest.accounts.keys import EphemeralKeys
from rest.accounts.sign_in import Browsers, SignIns
from rest.accounts.signing import Tokens
from rest.http.ratelimit import ClientAddress
from sessions.admission import Admission, Reason, ServerFull
from sessions.fanout import Fanout
from sessions.following import Following
from sessions.host import SessionHost
from sessions.machine import MachineWatch
from sessions.persistence import CallJournal
from sessions.registry import CallRegistry
from sessions.remote import RemoteRequests
from sessions.resumption.keeping import Resumptions
from sessions.resumption.stored_calls import StoredCalls
from sessions.transfers import Transfers
from store.bus import Bus
from store.database import USUAL_LIMITS, Database, DatabaseLimits
from store.tenants.accounts import LOCAL_WORKSPACE, ApiKeys, Workspaces
from store.tenants.agents import Agents
from store.tenants.embeds import Embeds, Visits
from store.tenants.jobs import Jobs
from store.vault import Vault

from .engine_loading import EngineLoading
from .housekeeping import CallFiles
from .lifecycle import CONNECTION_GUARD, ConnectionGuard
from .platform import Context, LiveCalls, VisitorKeys, add_rest, recordings_dir
from .recordings import RecordingUploads
from .services import ServiceUrls
from .settings import CHECKOUT, Settings, is_loopback
from .settings.parsers import IceServer
from .stores import Stores

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1024 * 1024


HOST: web.AppKey[SessionHost] = web.AppKey("host", SessionHost)
ADMISSION: web.AppKey[Admission] = web.AppKey("admission", Admission)
REMOTE: web.AppKey[RemoteRequests] = web.AppKey("remote", RemoteRequests)


def _none() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """What an application has of other processes, if it is one of several."""

    passed: PassedConnections | None = None
    """The connections that it serves, instead of listening."""
    calls_elsewhere: Callable[[], int] = _none
    """The calls of the other gateway processes."""
    metrics: Path | None = None
    """The directory of the metrics that all processes share."""
    neighbours: Neighbours | None = None
    """The other gateway processes."""


ALONE = GatewayProcess()


async def build_app(
    settings: Settings,
    urls: ServiceUrls,
    engines: Catalogue,
    *,
    static: Path = CHECKOUT / "static",
    keep_warm: bool = False,
    process: GatewayProcess = ALONE,
    limits: DatabaseLimits = USUAL_LIMITS,
) -> web.Application:
    """The application on open stores, not started; the caller starts it or cleans it up.

    ``keep_warm``: go through a dry turn at the start, and while nobody calls for minutes;
    ``process``: where it is one of several; ``limits``: how long Postgres may take.
    ``app[HOST].drain`` is what ``lifecycle.serve`` needs. Raises StoreError."""
    stores = await Stores.open(settings, urls, limits)
    try:
        return compose(settings, stores, engines, static, keep_warm=keep_warm, process=process)
    except BaseException:
        await stores.close()
        raise


def compose(
    settings: Settings,
    stores: Stores,
    engines: Catalogue,
    static: Path,
    *,
    keep_warm: bool = False,
    process: GatewayProcess = ALONE,
) -> web.Application:
    """Wire one server together; ``static``: the folder of the pages."""
    database, bus = stores.database, stores.bus
    metrics, tracing = Metrics(process.metrics), Tracing.configured(settings)
    admission = new_admission(settings, engines, metrics)
    usage = Usage(database, Prices.read(settings.prices))
    tool_http = CustomerHttp(allow_private=settings.tool_private, deadline=MOST_SECONDS)
    registry, (fanout, following) = CallRegistry(bus), new_fanout(bus)
    journal = CallJournal(database, registry.node_id, book=usage.book_turn)
    resumptions = Resumptions(stored_calls(settings, stores), registry.node_id, journal.store)
    uploads = RecordingUploads(database, stores.objects, recordings_dir(settings))
    host = SessionHost(
        engines,
        admission,
        journal,
        fanout,
        registry,
        record_to=settings.record_calls,
        tools=ToolRunner(tool_http),
        drain_grace=settings.drain_grace_seconds,
        observe=[metrics.observer, *(one.observer for one in tracing)],
        resumptions=resumptions if settings.resume_seconds else None,
        recordings=recordings_dir(settings),
        on_recorded=uploads.notify,
    )
    machine = MachineWatch(admission, on_lag=metrics.loop_lagged, ready=engines.ready)
    metrics.watch_calls(lambda: host.active, admission)
    _watch(metrics, engines, fanout, journal, database, process)
    agents, ephemeral = Agents(database, stores.vault), EphemeralKeys(bus)
    remote = RemoteRequests(bus, fanout, host, Transfers(host, agents, engines).transfer)
    authenticator = (browsers := new_browsers(stores, ephemeral)).authenticator
    authorization = call_authorization(settings, stores, authenticator, agents, engines, tool_http)
    sidebands = Sidebands(authorization, registry, following, remote)
    takeovers, visits = Takeovers(stored_calls(settings, stores), host, remote), Visits(database)
    calls = RealtimeCalls(
        authorization, ephemeral, host, metrics, sidebands, takeovers, visits, engines.waiting_for
    )
    proofs, lines = carrier_secrets(settings), carrier_lines(settings, stores, takeovers)
    telephony = TelephonyCalls(authorization, agents, calls, proofs, settings.public_url, lines)
    loading = engine_loading(engines, host, agents, process, keep_warm=keep_warm)
    app = new_application(settings, metrics)
    app[HOST], app[SIDEBANDS], app[ADMISSION], app[REMOTE] = host, sidebands, admission, remote
    app.add_routes(
        [
            *health_routes(partial(readiness_checks, settings, stores, admission, loading)),
            web.get("/metrics", metrics_handler(metrics, authenticator.of_request)),
            *calls.routes(),
            *telephony.routes(),
        ]
    )
    kept = (uploads, journal, resumptions, remote, machine)
    writers = _writers(settings, database, registry, fanout, following, *kept)
    app.cleanup_ctx.extend([_storage(settings, stores), writers, metrics.context, loading.context])
    app.cleanup_ctx.extend(one.context for one in tracing)
    add_rest(
        app,
        settings,
        stores,
        static,
        engines=engines,
        host=host,
        browsers=browsers,
        usage=usage,
        tool_http=tool_http,
        live=LiveCalls(registry, following, remote),
        keys=VisitorKeys(ephemeral, authorization.check_grant),
        on_agent=loading.read_ahead,
    )
    add_audiosocket(app, settings, telephony, process)
    app.on_shutdown.append(partial(_end_calls, host, calls, tool_http, sidebands))
    add_webrtc(app, settings, calls, authorization, metrics, process.neighbours)
    return app


def call_authorization(
    settings: Settings,
    stores: Stores,
    authenticator: Authenticator,
    agents: Agents,
    engines: Catalogue,
    tool_http: CustomerHttp,
) -> Authorization:
    """Who may have which call."""
    return Authorization(
        authenticator,
        agents,
        Embeds(stores.database),
        settings.allowed_origins,
        SessionChecks(engines.name_faults, tool_http.check, engines.languages_for),
        callers=CallerIds(stores.secrets.callers),
    )


def _watch(
    metrics: Metrics,
    engines: Catalogue,
    fanout: Fanout,
    journal: CallJournal,
    database: Database,
    process: GatewayProcess,
) -> None:
    """Show what waits for the engines, the stores and the workers."""
    if process is ALONE:  # otherwise the engine process does
        metrics.watch_engines(engines.hearing_loads)
    metrics.watch_writers(fanout, journal)
    metrics.watch_backlog(Jobs(database).backlog)


def new_browsers(stores: Stores, ephemeral: EphemeralKeys) -> Browsers:
    """Who sent a request: an API key, an ephemeral one, or somebody who has signed in."""
    users = SignedIn(Tokens(stores.secrets.tokens), Workspaces(stores.database))
    authenticator = Authenticator(ApiKeys(stores.database), ephemeral, users=users)
    return Browsers(authenticator, users, SignIns(stores.bus))


def new_admission(settings: Settings, engines: Catalogue, metrics: Metrics) -> Admission:
    """Who gets a slot; refusals are counted."""
    return Admission(
        settings.max_calls,
        engines.hearing_overloaded,
        of_one_workspace=settings.max_calls_per_workspace,
        on_refused=metrics.call_refused,
    )


def new_fanout(bus: Bus) -> tuple[Fanout, Following]:
    """What publishes the calls of this node, and what follows those of any."""
    following = Following(bus)
    return Fanout(bus, near=following.near), following


def new_application(settings: Settings, metrics: Metrics) -> web.Application:
    """An application without routes: every connection guarded, every request observed."""
    guard = ConnectionGuard(
        per_address=settings.connections_per_address,
        addresses=ClientAddress(settings.trusted_proxies),
    )
    app = web.Application(
        middlewares=[guard.note, *Middleware(metrics).all], client_max_size=MAX_REQUEST_BYTES
    )
    app.on_response_prepare.append(show_request_id)
    app[CONNECTION_GUARD] = guard
    return app


def health_routes(checks: Callable[..., dict[str, Check]]) -> list[web.RouteDef]:
    """What says whether the server lives, and would answer a call, or one that is resumed.
    ``checks``: ``readiness_checks`` of this server."""
    health = Health(checks())
    return [
        web.get("/healthz", health.live),
        web.get("/readyz", health.ready),
        web.get("/readyz/resumed", Health(checks(goes_on=True)).ready),
    ]


def add_audiosocket(
    app: web.Application, settings: Settings, telephony: TelephonyCalls, process: GatewayProcess
) -> None:
    """Add the listener of AudioSocket calls, if they are accepted."""
    if settings.audiosocket is not None:
        open_to = LOCAL_WORKSPACE if answers_agents_by_id(settings) else None
        address, passed = settings.audiosocket, process.passed
        app.cleanup_ctx.append(AudioSocketListener(address, telephony, open_to, passed).context)


def add_webrtc(
    app: web.Application,
    settings: Settings,
    calls: RealtimeCalls,
    authorization: Authorization,
    metrics: Metrics,
    neighbours: Neighbours | None = None,
) -> None:
    """Add the handlers of calls over WebRTC and WHIP."""
    ice = ice_settings(settings)
    webrtc_calls = webrtc.setup(app, calls.start_call, calls.hang_up, ice)
    metrics.watch_network(webrtc_calls.take_network)
    setup_whip(app, webrtc_calls, calls.carries, calls.hang_up, ice, neighbours)
    if neighbours is not None:
        app.cleanup_ctx.append(neighbours.context)
    app.add_routes(IceServers(authorization, ice).routes())


# ------------------------------------------------------------------ start and end


async def _end_calls(
    host: SessionHost,
    calls: RealtimeCalls,
    tool_http: CustomerHttp,
    sidebands: Sidebands,
    _app: web.Application,
) -> None:
    await host.drain(0)
    await calls.close()
    await tool_http.close()
    await sidebands.close()


def _storage(settings: Settings, stores: Stores) -> Context:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        try:
            if settings.database_url is None:
                await Workspaces(stores.database).ensure_local_workspace()
            yield
        finally:
            await stores.close()

    return context


Writer = (
    CallRegistry
    | Fanout
    | Following
    | CallJournal
    | Resumptions
    | RemoteRequests
    | MachineWatch
    | CallFiles
    | RecordingUploads
)


def _writers(settings: Settings, database: Database, *writers: Writer) -> Context:
    """``writers``, and who deletes this node's files, are started in their order and stopped in
    reverse."""
    writers = (*writers, CallFiles(database, settings.record_calls))

    async def context(_app: web.Application) -> AsyncIterator[None]:
        if (record_to := settings.record_calls) is not None:
            await asyncio.to_thread(record_to.mkdir, mode=0o700, parents=True, exist_ok=True)
        for writer in writers:
            writer.start()
        yield
        for writer in reversed(writers):
            await writer.stop()

    return context


def stored_calls(settings: Settings, stores: Stores) -> StoredCalls:
    """Where the calls that can be resumed are stored."""
    return StoredCalls(stores.bus, Vault(stores.secrets.resumption), settings.resume_seconds)


def carrier_lines(settings: Settings, stores: Stores, takeovers: Takeovers) -> CarrierLines | None:
    """What resumes the calls of carriers, if calls can be resumed."""
    if not settings.resume_seconds:
        return None
    return CarrierLines(stored_calls(settings, stores), takeovers, stores.secrets.lines)


def engine_loading(
    engines: Catalogue,
    host: SessionHost,
    agents: Agents,
    process: GatewayProcess,
    *,
    keep_warm: bool,
) -> EngineLoading:
    """Of a server by itself, or of one of several gateway processes."""
    return EngineLoading(
        engines,
        host,
        agents,
        keep_warm=keep_warm,
        settles=keep_warm or process is not ALONE,
        elsewhere=process.calls_elsewhere,
    )


def readiness_checks(
    settings: Settings,
    stores: Stores,
    admission: Admission,
    loading: EngineLoading,
    *,
    goes_on: bool = False,
) -> dict[str, Check]:
    """What /readyz asks: each returns None, or why no call would be answered. ``goes_on``: none
    that began before."""

    async def room() -> str | None:
        reason = admission.reason(goes_on=goes_on)
        if reason in (None, Reason.DRAINING):
            return None
        if reason is Reason.CAPACITY:
            return f"Every line is in use ({admission.capacity})."
        return f"No call is admitted ({reason}): {ServerFull(reason)}"

    async def draining() -> str | None:
        stopping = admission.leaving or admission.draining
        return "The server is shutting down." if stopping else None

    async def database() -> str | None:
        await stores.database.fetchval("SELECT 1")
        return None

    async def bus() -> str | None:
        await stores.bus.ping()
        return None

    checks: dict[str, Check] = {
        "engines": loading.waiting_for,
        "admission": room,
        "draining": draining,
        "database": database,
    }
    return checks | {"bus": bus} if settings.database_url is None else checks


# ------------------------------------------------------------------ what the settings mean


def ice_settings(settings: Settings) -> IceSettings:
    """How WebRTC peers reach this server. The first of several STUN or TURN servers is used."""
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
    """Its address names a user, or time-limited names are made from the secret."""
    if server.username is None:
        return TurnServer(server.url, secret=secret or "")
    return TurnServer(server.url, server.username, server.credential or "")


def carrier_secrets(settings: Settings) -> dict[str, str | None]:
    """What carriers sign their requests with."""
    return {
        "twilio": settings.twilio_auth_token,
        "genesys": settings.genesys_client_secret,
        "vonage": settings.vonage_signature_secret,
        "plivo": settings.plivo_auth_token,
    }


def answers_agents_by_id(settings: Settings) -> bool:
    """Whether AudioSocket's callers need no key: in embedded mode, on this machine only."""
    on_loopback = settings.audiosocket is not None and is_loopback(settings.audiosocket[0])
    return settings.database_url is None and on_loopback
