"""The engines while they are on their way: weights fetched, then loaded, then warm.

The server answers before its engines do; ``waiting_for`` says what is being waited for. Weights
that cannot be fetched are told, and what is there is loaded all the same: an engine without its
weights is not live, with a reason, and the others do not notice.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

from media.vad import SileroModel
from pipelines.engines.base import (
    ChatModel,
    Speaker,
    StreamingTranscriber,
    Transcriber,
    TurnDetector,
)
from pipelines.engines.chat.call_names import CallNames, NameFault
from pipelines.engines.chat.choice import CHAT_MODELS, ChatChoice
from pipelines.engines.engine_settings import EngineSettings
from pipelines.engines.jobs import CallOptions, JobEngines
from pipelines.engines.registry import Engines
from pipelines.engines.status import NEEDED, EngineStatus, Role
from pipelines.weights.errors import FetchStopped, WeightsError
from pipelines.weights.manifest import JOB_MODELS, MODELS, PROFILES

from .settings import Settings

logger = logging.getLogger(__name__)

Stop = Callable[[], bool]
Fetch = Callable[[Stop], None]
"""Fetch what is missing, blocking, until the given function says stop; raises WeightsError."""


def engine_settings(settings: Settings) -> EngineSettings:
    """The engines' piece of the settings."""
    return EngineSettings(
        models_dir=settings.models_dir,
        profile=settings.profile,
        upstream_url=settings.upstream_url,
        upstream_key=settings.upstream_key,
        chat_model=settings.chat_model,
        speech_model=settings.speech_model,
        transcription_model=settings.transcription_model,
        calls=settings.max_calls,
    )


def call_models(settings: Settings) -> list[str]:
    """Names of the weights that calls wait for."""
    return [name for name in wanted_models(settings) if name not in JOB_MODELS]


def wanted_models(settings: Settings) -> list[str]:
    """Names of the weights this deployment uses: the profile's, with the chat model that is set."""
    names = list(PROFILES[settings.profile])
    if settings.chat_model is not None:
        names = [name for name in names if name not in CHAT_MODELS]
        if settings.chat_model in MODELS:
            names.append(settings.chat_model)
    return names


class StagedEngines:
    """Owner of this process's engines from before they are loaded until they are closed."""

    def __init__(
        self,
        fetch: Fetch,
        engines: Engines,
        on_stage: Callable[[str], None],
        *,
        fetch_larger: Fetch | None = None,
        on_grown: Callable[[ChatChoice], None] = lambda _: None,
    ) -> None:
        """``on_stage`` is called with each stage as it begins: "fetching", "loading", then "ready"
        or "incomplete".

        ``fetch_larger`` fetches the weights of the larger chat model, which is then tried in the
        background; ``on_grown`` is called with what came of it."""
        self._fetch = fetch
        self._engines = engines
        self._on_stage = on_stage
        self._fetch_larger = fetch_larger
        self._on_grown = on_grown
        self._growth: asyncio.Task[None] | None = None
        self._waiting: str | None = "The server is starting."

    async def start(self) -> None:
        """Fetch, load and warm up; returns when all is done."""
        self._begin("fetching", "The models are being fetched.")
        stop = threading.Event()
        try:
            await asyncio.to_thread(self._fetch, stop.is_set)
        except FetchStopped:
            return
        except WeightsError as error:
            logger.error("weights are missing: %s", error)
        finally:
            stop.set()
        self._begin("loading", "The models are being loaded.")
        await self._engines.load()
        if self._fetch_larger is not None:
            await self._engines.choose_chat()
            self._growth = asyncio.create_task(self._grow(), name="larger chat model")
        self._begin("ready" if self._engines.ready() else "incomplete", None)

    async def _grow(self) -> None:
        stop = threading.Event()

        async def fetch() -> None:
            if self._fetch_larger is not None:
                await asyncio.to_thread(self._fetch_larger, stop.is_set)

        try:
            choice = await self._engines.grow(fetch)
        finally:
            stop.set()
        if choice is not None:
            self._on_grown(choice)

    async def close(self) -> None:
        """End the engines."""
        self._waiting = "The server is shutting down."
        if self._growth is not None:
            self._growth.cancel()
            await asyncio.gather(self._growth, return_exceptions=True)
        await self._engines.close()

    def waiting_for(self) -> str | None:
        """Why calls cannot be answered; None when they can."""
        if self._waiting is not None:
            return self._waiting
        return None if self._engines.ready() else self._lacking()

    def _lacking(self) -> str:
        dead = [status for status in self._engines.statuses() if not status.live]
        reasons = [_told(status) for status in dead if status.role in NEEDED]
        return "; ".join(reasons) or "An engine that calls need is not live."

    def _begin(self, stage: str, waiting: str | None) -> None:
        self._waiting = waiting
        self._on_stage(stage)

    def call_options(self) -> CallOptions:
        """What a caller may choose among."""
        return self._engines.call_options()

    @property
    def jobs(self) -> JobEngines:
        """What REST requests ask of the engines."""
        return self._engines

    # ------------------------------------------------- sessions.engines.LiveEngines

    def hearing(self, model_id: str) -> StreamingTranscriber:
        """Incremental speech-to-text."""
        return self._engines.hearing(model_id)

    def transcriber(self, model_id: str) -> Transcriber:
        """Speech-to-text of a whole utterance."""
        return self._engines.transcriber(model_id)

    def chat(self, model_id: str) -> ChatModel:
        """The chat model."""
        return self._engines.chat(model_id)

    def speaker(self, model_id: str, language: str, voice: str = "default") -> Speaker:
        """Text-to-speech."""
        return self._engines.speaker(model_id, language, voice)

    def name_faults(self, names: CallNames) -> tuple[NameFault, ...]:
        """Every name that is not served in calls."""
        return self._engines.name_faults(names)

    @property
    def turn_detector(self) -> TurnDetector:
        """The semantic end of turn."""
        return self._engines.turn_detector

    @property
    def vad_model(self) -> SileroModel:
        """Voice activity."""
        return self._engines.vad_model


def _told(status: EngineStatus) -> str:
    role = {Role.HEARING: "partial transcription"}.get(status.role, str(status.role))
    return f"{role.replace('_', ' ')} ({status.model_id}): {status.reason}"
