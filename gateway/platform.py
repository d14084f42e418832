"""The REST platform of one server: its resources, wired to stores and engines.

Each resource is built here and nowhere else. What needs to be started and stopped is an entry of
``contexts``, in the order in which the application starts it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace

from aiohttp import web

from media.files.encode import Encoder
from media.files.limits import MediaLimits
from pipelines.engines.jobs import JobEngines
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.usage import Usage
from pipelines.speech.language import language_of
from pipelines.ssrf import CustomerHttp
from rest.accounts.accounts import AccountResource
from rest.accounts.api_keys import ApiKeyResource
from rest.accounts.auth import Authenticator
from rest.accounts.sign_in import Passwords, SignInThrottle
from rest.accounts.signing import Tokens, UrlSigner
from rest.compat.chat import CompatChat
from rest.compat.models import CompatModels, CrossOrigin
from rest.compat.speech import CompatSpeech, SpokenAnswer, encoder
from rest.compat.transcriptions import CompatTranscriptions, Listener
from rest.compat.transcripts import FIELDS
from rest.compat.translations import CompatTranslations
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
from rest.jobs.speech_requests import SpeechChecks
from rest.jobs.stt import SttResource
from rest.jobs.tts import TtsResource, TtsStream
from rest.jobs.views import JobViews
from rest.openapi.document import Docs, OpenApi
from rest.resources.agent_turns import TurnParts
from rest.resources.agents import AgentResource
from rest.resources.capabilities import Capabilities, PlatformLimits
from rest.resources.conversations import Conversations
from rest.resources.files import FilesResource
from rest.resources.models import ModelResource
from rest.resources.projects import ProjectResource
from rest.resources.survey import Survey
from rest.resources.usage import UsageResource
from rest.resources.voices import VoiceResource
from rest.resources.webhooks import WebhookResource
from sessions.engines import LiveEngines
from sessions.host import SessionHost
from store.tenants.idempotency import IdempotencyKeys
from store.tenants.voices import Voices

from .settings import CHECKOUT, Settings
from .stores import Stores

Context = Callable[[web.Application], AsyncIterator[None]]
MINUTE = 60.0
MAX_WAITED_UPLOAD = 512 * 2**20
"""Bytes of a recording whose sender waits for its transcript: half an hour, however it is kept."""
WAITED_UPLOADS = 8
"""Such recordings at once."""


@dataclass(frozen=True, slots=True)
class PlatformParts:
    """What the platform is built of. ``live`` answers turns of agents, ``engines`` all else;
    ``tool_http`` decides which URLs tools may have."""

    settings: Settings
    stores: Stores
    engines: JobEngines
    live: LiveEngines
    host: SessionHost
    authenticator: Authenticator
    tokens: Tokens
    usage: Usage
    tool_http: CustomerHttp
    waiting_for: Callable[[], str | None]


class Platform:
    """Every REST resource of this server."""

    def __init__(self, parts: PlatformParts) -> None:
        settings, stores = parts.settings, parts.stores
        self._parts = parts
        self._database = stores.database
        self._engines = parts.engines
        self._signer = UrlSigner(stores.secrets.addresses)
        self._views = JobViews(self._signer, settings.public_url)
        self._cursors = Cursors(stores.secrets.cursors)
        self._artifacts = Artifacts(stores.database, stores.objects)
        self._checks = SpeechChecks(parts.engines, Voices(stores.database))
        self._media = media_limits(settings)
        self._limits = PlatformLimits(
            max_upload_bytes=settings.max_upload_mb * 2**20,
            max_media_seconds=self._media.max_seconds,
            requests_per_minute=settings.rate_limit,
        )
        self._passwords = Passwords()
        self._http = CustomerHttp(allow_private=settings.webhook_private)
        self._address = ClientAddress(settings.trusted_proxies)
        self._limiter = RateLimiter(stores.bus)
        self._uploads = Uploads(
            settings.data_dir / "uploads", UploadLimits(max_bytes=self._limits.max_upload_bytes)
        )
        self._jobs = JobResource(self._database, self._artifacts, self._views, self._cursors)
        self._survey = Survey(parts.engines)
        self.resources: list[Resource] = [*self._tenancy(), *self._work(), *self._conversation()]
        self.openai: list[Resource] = self._openai()
        self._cross_origin = CrossOrigin(_operations(self.openai))
        self.contexts: list[Context] = [
            self._uploads.context,
            self._jobs.watch.context,
            self._warmth,
            self._ends,
        ]

    def routes(self) -> list[web.RouteDef]:
        """The routes of the contract's operations, of OpenAI's, and of what belongs to them."""
        authenticate, options = self._parts.authenticator.of_request, self._options()
        waited = UploadLimits(
            max_bytes=min(self._limits.max_upload_bytes, MAX_WAITED_UPLOAD),
            whole_seconds=10 * MINUTE, at_once=WAITED_UPLOADS,
        )  # fmt: skip
        uploads = Uploads(self._parts.settings.data_dir / "uploads", waited, FIELDS)
        return [
            *routes(self.resources, authenticate, options),
            *routes(self.openai, authenticate, replace(options, uploads=uploads)),
            *self._cross_origin.routes(),
            *FilesResource(self._database, self._parts.stores.objects, self._signer).routes(),
            *OpenApi(_operations(self.resources)).routes(),
            *Docs(CHECKOUT / "static" / "docs").routes(),
        ]

    def install(self, app: web.Application) -> None:
        """Routes, contexts and the headers of rate limits."""
        app.add_routes(self.routes())
        app.cleanup_ctx.extend(self.contexts)
        app.on_response_prepare.append(show_rate)
        app.on_response_prepare.append(show_warnings)
        app.on_response_prepare.append(self._cross_origin.show)

    # ------------------------------------------------------------------ resources

    def _tenancy(self) -> list[Resource]:
        """Accounts, keys, and what a workspace keeps."""
        throttle = SignInThrottle(self._limiter, self._address)
        registration = self._parts.settings.registration == "open"
        return [
            AccountResource(
                self._database, self._passwords, self._parts.tokens, throttle, open=registration
            ),
            ApiKeyResource(self._database, self._parts.authenticator.forget),
            ProjectResource(self._database, self._cursors),
            WebhookResource(self._database, self._http),
            UsageResource(self._database, self._cursors),
        ]

    def _work(self) -> list[Resource]:
        """What becomes jobs, and speech as a stream."""
        database, engines, artifacts = self._database, self._engines, self._artifacts
        stream = TtsStream(engines, Encoder, self._parts.usage.book)
        return [
            self._jobs,
            TtsResource(database, self._checks, stream, self._views),
            BatchResource(database, self._checks, artifacts, self._views),
            SttResource(database, engines, artifacts, self._views, self._media),
            VoiceResource(
                database, engines, artifacts, self._views, self._cursors, self._parts.live
            ),
            DubbingResource(database, engines, self._checks, artifacts, self._views, self._media),
        ]

    def _conversation(self) -> list[Resource]:
        """Agents, and what this server can do."""
        parts, survey = self._parts, self._survey
        conversations = Conversations(
            self._database, parts.stores.bus, parts.host.node_id, parts.usage.book_turn
        )
        turns = TurnParts(
            database=self._database,
            conversations=conversations,
            host=parts.host,
            engines=parts.live,
            artifacts=self._artifacts,
            encoder=Encoder,
            views=self._views,
            cursors=self._cursors,
            waiting_for=parts.waiting_for,
        )
        capabilities = Capabilities(
            self._engines, survey, self._limits, lambda: parts.waiting_for() is None
        )
        return [
            AgentResource(turns, parts.tool_http, parts.stores.vault),
            ModelResource(self._engines, survey, capabilities, self._limits),
        ]

    def _openai(self) -> list[Resource]:
        """OpenAI's own operations, over the same engines."""
        engines, book, host = self._engines, self._parts.usage.book, self._parts.host
        listener = Listener(engines, book)
        return [
            CompatModels(engines, self._survey),
            CompatSpeech(engines, self._checks, SpokenAnswer(engines, encoder, book), host),
            CompatTranscriptions(listener),
            CompatTranslations(engines, listener, book),
            CompatChat(engines, book, host),
        ]

    # ------------------------------------------------------------------ around them

    def _options(self) -> EndpointOptions:
        per_minute = self._parts.settings.rate_limit
        return EndpointOptions(
            rates=RequestRates(self._limiter, Rate(per_minute, MINUTE), self._address)
            if per_minute
            else None,
            idempotency=Idempotency(IdempotencyKeys(self._database)),
            uploads=self._uploads,
        )

    async def _warmth(self, _app: web.Application) -> AsyncIterator[None]:
        """The first text whose language is to be found would wait half a second."""
        warming = asyncio.create_task(asyncio.to_thread(language_of, "Good morning, everybody."))
        yield
        await asyncio.gather(warming, return_exceptions=True)

    async def _ends(self, _app: web.Application) -> AsyncIterator[None]:
        yield
        self._passwords.close()
        await self._http.close()


def _operations(resources: Iterable[Resource]) -> list[AnyOperation]:
    return [one for resource in resources for one in resource.operations()]


def media_limits(settings: Settings) -> MediaLimits:
    """The longest recording that is taken."""
    return MediaLimits(max_seconds=settings.max_media_hours * 3600)
