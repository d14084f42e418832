"""The composition of the REST platform: every resource, wired to stores and engines, and the pages
that use it.

Each resource is built here and nowhere else, by plain functions that end in ``add_rest``.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aiohttp import web

from media.files.encode import Encoder
from media.files.limits import MediaLimits
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.usage import Usage
from pipelines.speech.language import language_of
from pipelines.ssrf import CustomerHttp
from pipelines.tool_runner import ToolRunner
from rest.accounts.accounts import AccountResource, Accounts, Passwords, SignInThrottle
from rest.accounts.api_keys import ApiKeyResource
from rest.accounts.auth import Authenticator
from rest.accounts.callers import CallerIds
from rest.accounts.keys import EphemeralKeys
from rest.accounts.sign_in import Browsers, SignInResource
from rest.accounts.signing import Tokens, UrlSigner
from rest.agents.agents import AgentResource
from rest.agents.configuration import AgentChecks
from rest.agents.conversations import Conversations
from rest.agents.tools import AgentToolResource
from rest.agents.turns import AgentTurns
from rest.agents.versions import AgentVersionResource
from rest.compat.chat import CompatChat
from rest.compat.models import CompatModels, CrossOrigin
from rest.compat.speech import CompatSpeech, SpokenAnswer, encoder
from rest.compat.transcriptions import CompatTranscriptions, CompatTranslations, Listener
from rest.compat.transcripts import FIELDS
from rest.http.decoding import show_warnings
from rest.http.endpoint import EndpointOptions, routes
from rest.http.idempotency import Idempotency
from rest.http.operation import AnyOperation, Resource
from rest.http.pagination import Cursors
from rest.http.ratelimit import ClientAddress, Rate, RateLimiter, RequestRates, show_rate
from rest.http.uploads import UploadLimits, Uploads
from rest.jobs.batch import BatchResource
from rest.jobs.dubbing import DubbingResource
from rest.jobs.jobs import JobResource
from rest.jobs.kinds import JobViews
from rest.jobs.speech_requests import SpeechChecks
from rest.jobs.stt import SttResource
from rest.jobs.tts import TtsResource, TtsStream
from rest.openapi.document import Docs, OpenApi
from rest.resources.calls import CallResource
from rest.resources.capabilities import Capabilities, PlatformLimits
from rest.resources.embed_keys import CheckGrant, EmbedKeyResource
from rest.resources.embeds import EmbedResource
from rest.resources.erasures import ErasureResource
from rest.resources.files import FilesResource
from rest.resources.models import ModelResource
from rest.resources.projects import ProjectResource
from rest.resources.retention import RetentionResource
from rest.resources.sessions import SessionResource
from rest.resources.survey import Survey
from rest.resources.usage import UsageResource
from rest.resources.voices import VoiceResource
from rest.resources.webhooks import WebhookResource
from rest.simulations.simulations import SimulationResource
from sessions.following import Following
from sessions.host import SessionHost
from sessions.registry import CallRegistry
from sessions.remote import RemoteRequests
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agent, Agents
from store.tenants.idempotency import IdempotencyKeys
from store.tenants.voices import Voices

from .http.pages import Pages
from .settings import CHECKOUT, Settings, serves_this_machine_only
from .simulation.runner import SimulationRunner, own_url, read_scenarios
from .stores import Stores

SIMULATIONS: web.AppKey[SimulationRunner] = web.AppKey("simulations", SimulationRunner)
Context = Callable[[web.Application], AsyncIterator[None]]
MINUTE = 60.0
MAX_SYNCHRONOUS_UPLOAD = 512 * 2**20
"""Bytes of a recording whose sender waits for its transcript: half an hour in any format."""
SYNCHRONOUS_UPLOADS = 8
"""Such recordings at once."""


@dataclass(frozen=True, slots=True)
class LiveCalls:
    """How the platform sees the calls of all nodes."""

    registry: CallRegistry
    following: Following
    requests: RemoteRequests


@dataclass(frozen=True, slots=True)
class VisitorKeys:
    """How the platform gives keys to visitors of other web pages."""

    ephemeral: EphemeralKeys
    check: CheckGrant


def add_rest(
    app: web.Application,
    settings: Settings,
    stores: Stores,
    static: Path,
    *,
    engines: Catalogue,
    host: SessionHost,
    browsers: Browsers,
    usage: Usage,
    tool_http: CustomerHttp,
    live: LiveCalls,
    keys: VisitorKeys,
    on_agent: Callable[[Agent], None],
) -> None:
    """Add every REST resource and page to the application, with what it needs started and stopped.

    ``static``: the folder of the pages; ``tool_http`` decides which URLs tools may have;
    ``on_agent`` is called with an agent that was created or changed."""
    database, secrets = stores.database, stores.secrets
    authenticator = browsers.authenticator
    passwords, webhook_http = Passwords(), CustomerHttp(allow_private=settings.webhook_private)
    addresses, limiter = ClientAddress(settings.trusted_proxies), RateLimiter(stores.bus)
    throttle, is_open = SignInThrottle(limiter, addresses), settings.registration == "open"
    accounts = Accounts(database, passwords, throttle, open=is_open)
    signer, cursors = UrlSigner(secrets.addresses), Cursors(secrets.cursors)
    views = JobViews(signer, settings.public_url)
    artifacts = Artifacts(database, stores.objects)
    checks, survey = SpeechChecks(engines, Voices(database)), Survey(engines)
    limits, media = platform_limits(settings), media_limits(settings)
    callers = CallerIds(secrets.callers)
    jobs = JobResource(database, artifacts, views, cursors)
    turns = agent_turns(stores, engines, host, usage, artifacts, views, cursors, callers)
    capabilities = Capabilities(engines, survey, limits, lambda: engines.waiting_for() is None)
    embed_keys = EmbedKeyResource(
        database, keys.ephemeral, limiter, addresses, host, keys.check, engines.waiting_for
    )
    simulations = add_simulations(app, settings, stores, artifacts, keys, host, cursors)
    resources: list[Resource] = [
        AccountResource(database, accounts, Tokens(secrets.tokens)),
        SignInResource(database, accounts, browsers),
        ApiKeyResource(database, authenticator.forget),
        ProjectResource(database, cursors),
        WebhookResource(database, webhook_http, stores.vault),
        UsageResource(database, cursors),
        jobs,
        TtsResource(database, checks, TtsStream(engines, Encoder, usage.book), views),
        BatchResource(database, checks, artifacts, views),
        SttResource(database, engines, artifacts, views, media),
        VoiceResource(database, engines, artifacts, views, cursors, engines),
        DubbingResource(database, engines, checks, artifacts, views, media),
        *agent_resources(stores, engines, turns, cursors, tool_http, on_agent),
        ModelResource(engines, survey, capabilities, limits),
        RetentionResource(database, settings.retention_days or None),
        ErasureResource(database, callers, cursors),
        CallResource(database, stores.objects, views, cursors),
        SessionResource(database, live.registry, live.following, live.requests, cursors),
        EmbedResource(database, live.registry, live.requests, cursors),
        embed_keys,
        simulations,
    ]
    openai = openai_resources(engines, checks, survey, usage, host)
    uploads = Uploads(uploads_dir(settings), UploadLimits(max_bytes=limits.max_upload_bytes))
    per_minute = Rate(settings.rate_limit, MINUTE)
    options = EndpointOptions(
        rates=RequestRates(limiter, per_minute, addresses) if settings.rate_limit else None,
        idempotency=Idempotency(IdempotencyKeys(database)),
        uploads=uploads,
    )
    app.add_routes(routes(resources, browsers.of_request, options))
    app.add_routes(embed_keys.routes())
    app.on_response_prepare.extend([show_rate, show_warnings, embed_keys.show])
    add_openai_routes(app, openai, authenticator, options, settings)
    app.add_routes(FilesResource(database, stores.objects, signer).routes())
    app.add_routes(OpenApi(_operations(resources)).routes())
    app.add_routes(Docs(CHECKOUT / "static" / "docs").routes())
    app.add_routes(pages(settings, stores, static, engines, keys.ephemeral, browsers).routes())
    app.cleanup_ctx.extend(
        [uploads.context, jobs.watch.context, _warm_language, _close(passwords, webhook_http)]
    )


def add_simulations(
    app: web.Application,
    settings: Settings,
    stores: Stores,
    artifacts: Artifacts,
    keys: VisitorKeys,
    host: SessionHost,
    cursors: Cursors,
) -> SimulationResource:
    """Simulations as a resource, and what makes their calls, which runs with the application."""
    database, lines = stores.database, settings.max_calls * max(1, settings.processes)
    runner = SimulationRunner(
        database,
        artifacts,
        keys.ephemeral,
        url=own_url(settings),
        folder=settings.data_dir / "simulations",
        lines=lines,
        leaving=lambda: host.leaving,
    )
    resource = SimulationResource(
        database,
        artifacts,
        cursors,
        agents=Agents(database, stores.vault),
        read=read_scenarios,
        check_grant=keys.check,
        wake=runner.wake,
        lines=lines,
    )
    app[SIMULATIONS] = runner
    app.cleanup_ctx.extend([resource.watch.context, runner.context])
    return resource


def agent_resources(
    stores: Stores,
    engines: Catalogue,
    turns: AgentTurns,
    cursors: Cursors,
    tool_http: CustomerHttp,
    on_agent: Callable[[Agent], None],
) -> list[Resource]:
    """Agents, their versions and their tools."""
    database, vault, checks = stores.database, stores.vault, AgentChecks(engines, tool_http)
    return [
        AgentResource(database, turns, checks, cursors, on_agent, vault),
        AgentVersionResource(database, checks, cursors, on_agent, vault),
        AgentToolResource(database, ToolRunner(tool_http), vault),
    ]


def pages(
    settings: Settings,
    stores: Stores,
    static: Path,
    engines: Catalogue,
    ephemeral: EphemeralKeys,
    browsers: Browsers,
) -> Pages:
    """The pages; those who have not signed in get keys of the local workspace, or none."""
    agents = Agents(stores.database, stores.vault)
    local = LOCAL_WORKSPACE if gives_keys_to_pages(settings) else None
    return Pages(static, ephemeral, browsers.signed_in, local, engines.call_options, agents.names)


def gives_keys_to_pages(settings: Settings) -> bool:
    """Whether pages get a key without sign-in: in embedded mode, on this machine only."""
    return settings.database_url is None and serves_this_machine_only(settings)


def agent_turns(
    stores: Stores,
    engines: Catalogue,
    host: SessionHost,
    usage: Usage,
    artifacts: Artifacts,
    views: JobViews,
    cursors: Cursors,
    callers: CallerIds,
) -> AgentTurns:
    """Turns over REST, on the same engines as calls."""
    database = stores.database
    return AgentTurns(
        database=database,
        conversations=Conversations(database, stores.bus, host.node_id, usage.book_turn),
        host=host,
        engines=engines,
        artifacts=artifacts,
        views=views,
        cursors=cursors,
        callers=callers,
        waiting_for=engines.waiting_for,
    )


def openai_resources(
    engines: Catalogue, checks: SpeechChecks, survey: Survey, usage: Usage, host: SessionHost
) -> list[Resource]:
    """OpenAI's own operations, on the same engines."""
    book = usage.book
    listener = Listener(engines, book)
    return [
        CompatModels(engines, survey),
        CompatSpeech(engines, checks, SpokenAnswer(engines, encoder, book), host),
        CompatTranscriptions(listener),
        CompatTranslations(engines, listener, book),
        CompatChat(engines, book, host),
    ]


def add_openai_routes(
    app: web.Application,
    openai: Sequence[Resource],
    authenticator: Authenticator,
    options: EndpointOptions,
    settings: Settings,
) -> None:
    """Add OpenAI's operations, which other web pages may call, with uploads of their own."""
    most = min(platform_limits(settings).max_upload_bytes, MAX_SYNCHRONOUS_UPLOAD)
    limits = UploadLimits(max_bytes=most, whole_seconds=10 * MINUTE, at_once=SYNCHRONOUS_UPLOADS)
    uploads = Uploads(uploads_dir(settings), limits, FIELDS)
    cross_origin = CrossOrigin(_operations(openai))
    app.add_routes(routes(openai, authenticator.of_request, replace(options, uploads=uploads)))
    app.add_routes(cross_origin.routes())
    app.on_response_prepare.append(cross_origin.show)


def platform_limits(settings: Settings) -> PlatformLimits:
    """What ``GET /api/capabilities`` says about limits."""
    return PlatformLimits(
        max_upload_bytes=settings.max_upload_mb * 2**20,
        max_media_seconds=media_limits(settings).max_seconds,
        requests_per_minute=settings.rate_limit,
    )


def media_limits(settings: Settings) -> MediaLimits:
    """The longest recording that is accepted."""
    return MediaLimits(max_seconds=settings.max_media_hours * 3600)


def uploads_dir(settings: Settings) -> Path:
    """Where uploads are kept while their request runs."""
    return settings.data_dir / "uploads"


def recordings_dir(settings: Settings) -> Path:
    """Where recordings of calls are kept until they are in the object store."""
    return settings.data_dir / "recordings"


async def _warm_language(_app: web.Application) -> AsyncIterator[None]:
    """Load the language detector: the first text that needs it would wait half a second."""
    warming = asyncio.create_task(asyncio.to_thread(language_of, "Good morning, everybody."))
    yield
    await asyncio.gather(warming, return_exceptions=True)


def _close(passwords: Passwords, http: CustomerHttp) -> Context:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        yield
        passwords.close()
        await http.close()

    return context


def _operations(resources: Iterable[Resource]) -> list[AnyOperation]:
    return [one for resource in resources for one in resource.operations()]
