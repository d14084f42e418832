"""OpenAI's operations with scripted engines behind the server's real middleware, and the stock
client in front. A credential is the name of a workspace, whose key has every scope by default."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import openai
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.http.middleware import Middleware, show_request_id
from gateway.telemetry.metrics import Metrics
from media.files.limits import MediaLimits
from pipelines.engines.scripted.jobs import ScriptedJobEngines
from pipelines.jobs.job import Unit
from rest.accounts.auth import Principal, bearer_token
from rest.accounts.keys import SCOPES
from rest.compat.chat import CompatChat
from rest.compat.models import CompatModels, CrossOrigin
from rest.compat.speech import CompatSpeech, SpokenAnswer, encoder
from rest.compat.transcriptions import (
    HEARING_SECONDS,
    LIMITS,
    CompatTranscriptions,
    CompatTranslations,
    Listener,
)
from rest.compat.transcripts import FIELDS
from rest.http.decoding import show_warnings
from rest.http.endpoint import EndpointOptions, routes
from rest.http.errors import RateLimited, Unauthenticated
from rest.http.operation import Resource
from rest.http.uploads import UploadLimits, Uploads
from rest.jobs.speech_requests import SpeechChecks
from rest.resources.survey import Survey
from sessions.admission import Admission
from tests.support.services import eventually

KEY = "blab_sk_ours"
STOCK = frozenset({"tts-1", "whisper-1", "gpt-4o-mini", "gpt-4o-transcribe"})
NOW = 1_700_000_000.0


@dataclass(frozen=True)
class Cloned:
    """A cloned voice."""

    recipe: dict[str, Any] = field(default_factory=lambda: {"engine": "scripted-voice"})


@dataclass
class CompatNode:
    """What a test sets, and what it looks at."""

    folder: Path
    engines: ScriptedJobEngines = field(
        default_factory=lambda: ScriptedJobEngines(absent=STOCK | {"no-such-model"})
    )
    scopes: Sequence[str] = SCOPES
    too_many: bool = False
    seconds: float = HEARING_SECONDS
    limits: MediaLimits = LIMITS
    at_once: int = 8
    slots: Admission = field(default_factory=lambda: Admission(20))
    booked: list[tuple[str, Unit]] = field(default_factory=list)
    url: str = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["CompatNode"]:
        app = web.Application(middlewares=Middleware(Metrics()).all)
        resources = self._resources()
        uploads = Uploads(self.folder, UploadLimits(at_once=self.at_once), FIELDS)
        options = EndpointOptions(rates=self, uploads=uploads)
        app.add_routes(routes(resources, self._authenticate, options))
        origins = CrossOrigin([one for each in resources for one in each.operations()])
        app.add_routes(origins.routes())
        app.on_response_prepare.extend([show_request_id, show_warnings, origins.show])
        async with TestServer(app) as server:
            self.url = str(server.make_url("")).rstrip("/")
            yield self
            await eventually(self._idle)

    def _idle(self) -> bool:
        """Whether no engine is at work, no slot taken and no upload left."""
        engines = self.engines
        speaking = sum(speaker.running for speaker in engines.speakers)
        busy = self.slots.active + speaking + engines.ears.running + engines.chat_model.running
        return busy == 0 and not list(self.folder.glob("upload-*"))

    def client(self, key: str = KEY) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(api_key=key, base_url=f"{self.url}/v1", max_retries=0)

    async def units(self, count: int) -> list[Unit]:
        """What was booked, ``count`` of them; each name is there once."""
        await eventually(lambda: len(self.booked) >= count)
        assert len(self.booked) == count
        units = [unit for _, unit in self.booked]
        assert len({unit.name for unit in units}) == len(units)
        return [replace(unit, name=unit.name.partition(":")[2]) for unit in units]

    async def count(self, http: web.Request, principal: Principal | None) -> None:
        if self.too_many:
            raise RateLimited("Too many requests.", retry_after=7)

    async def get(self, workspace_id: str, voice_id: str, /) -> Cloned | None:
        return Cloned() if (workspace_id, voice_id) == (KEY, "voi_ours") else None

    async def book(self, workspace_id: str, units: Sequence[Unit]) -> None:
        await asyncio.sleep(0)
        self.booked += [(workspace_id, unit) for unit in units]

    async def _authenticate(self, http: web.Request) -> Principal:
        token = bearer_token(http.headers.get("Authorization"))
        if token is None or not token.startswith("blab_sk_"):
            raise Unauthenticated("The API key is not valid.")
        return Principal(token, "api_key", key_id="key", scopes=tuple(self.scopes))

    def _resources(self) -> list[Resource]:
        engines, listener = self.engines, Listener(self.engines, self.book, self.limits)
        answer = SpokenAnswer(engines, encoder, self.book)
        return [
            CompatModels(engines, Survey(engines), lambda: NOW),
            CompatSpeech(engines, SpeechChecks(engines, self), answer, self.slots),
            CompatTranscriptions(listener, seconds=self.seconds),
            CompatTranslations(engines, listener, self.book, seconds=self.seconds),
            CompatChat(engines, self.book, self.slots, seconds=self.seconds, clock=lambda: NOW),
        ]
