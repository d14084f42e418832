"""The models resource over scripted engines, some of which a test can remove."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from pipelines.engines.engine import EngineStatus
from pipelines.engines.jobs import SpeechChoice, SpeechEngine
from pipelines.engines.scripted.jobs import ScriptedJobEngines
from rest.accounts.auth import Principal
from rest.http.errors import Unauthenticated
from rest.resources.capabilities import Capabilities, PlatformLimits
from rest.resources.models import ModelResource
from rest.resources.survey import Survey
from tests.support.rest.api_app import Client, serving

LIMITS = PlatformLimits(max_upload_bytes=1000, max_media_seconds=60, requests_per_minute=7)


@dataclass
class Engines(ScriptedJobEngines):
    """Scripted engines; ``qualities`` are those of languages that are not spoken well."""

    qualities: dict[str, str] = field(default_factory=dict)
    more: tuple[EngineStatus, ...] = ()
    asked: int = 0

    def speech_engine(self, choice: SpeechChoice) -> SpeechEngine:
        self.asked += 1
        if choice.recipe is not None:
            self._refuse("cloned")
        found = super().speech_engine(choice)
        return SpeechEngine(found.model_id, self.qualities.get(choice.language, "good"))

    def statuses(self) -> tuple[EngineStatus, ...]:
        live = [one for one in super().statuses() if one.model_id not in self.absent]
        return (*live, *self.more)


async def anybody(request: web.Request) -> Principal:
    if "Authorization" not in request.headers:
        raise Unauthenticated("No API key was sent.")
    return Principal("wsp_x", "api_key", key_id="key", scopes=())


@asynccontextmanager
async def served(
    engines: ScriptedJobEngines, calls: bool = True, clock: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[Client]:
    survey = Survey(engines, clock=clock)
    capabilities = Capabilities(engines, survey, LIMITS, lambda: calls)
    resource = ModelResource(engines, survey, capabilities, LIMITS)
    async with serving([resource], anybody) as client:
        yield client


async def get(client: Client, path: str) -> Any:
    async with client.get(path, headers={"Authorization": "x"}) as answer:
        assert answer.status == 200
        return (await answer.json())["data"]


async def capabilities(engines: ScriptedJobEngines, calls: bool = True) -> Any:
    async with served(engines, calls) as client:
        return await get(client, "/api/capabilities")
