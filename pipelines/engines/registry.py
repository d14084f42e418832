"""Engines: every engine of this process, by role and model id.

Rules
- In a server, ``load`` loads and warms what calls use, once, shared by all sessions. An engine that
  fails or lacks its weights is not live, with a reason; the others do not notice.
- What only jobs use is loaded when it is first asked for; a worker, which never calls ``load``,
  loads everything so.
- HTTP upstreams have no streaming speech-to-text: partial transcripts come from the embedded
  recogniser, whichever model writes the final one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

from media.silero import SileroModel
from pipelines.weights.errors import WeightsError

from .base import (
    ChatModel,
    EngineError,
    ModelUnavailable,
    Speaker,
    StreamingTranscriber,
    Transcriber,
    TurnDetector,
)
from .chat_choice import (
    COMING,
    GIVEN,
    LARGER,
    SMALLER,
    ChatChoice,
    Verdict,
    Verdicts,
    estimated,
    measured,
    too_little_memory,
)
from .embedded import chat_plan, lacking, plans, silero_file
from .engine_settings import EngineSettings
from .job_look_ups import JobLookUps
from .plan import Plan
from .shelf import Progress, Shelf
from .speech_routes import HIBARI, PICO
from .status import NEEDED, EngineStatus, Role
from .upstream_models import DEFAULT, DISCOVERY_PERIOD, UpstreamModels


class Engines(JobLookUps):
    """The registry: ``await load()`` it in a server, ``await close()`` it at the end."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        plans: Callable[[EngineSettings], list[Plan]] = plans,
        discovery_period: float = DISCOVERY_PERIOD,
    ) -> None:
        shelf = Shelf(lambda: plans(settings), lambda plan: lacking(settings.models_dir, plan))
        vad = silero_file(settings.models_dir)
        self._verdicts = Verdicts(settings.models_dir)
        self._choice: ChatChoice | None = None
        """What ``choose_chat`` and ``grow`` have decided."""
        super().__init__(settings, shelf, UpstreamModels(settings, vad, period=discovery_period))

    # ------------------------------------------------------------------------------ life

    async def load(self, progress: Progress = lambda _: None) -> None:
        """Load and warm every engine that calls use; see ``statuses`` for how it went."""
        await asyncio.gather(self._shelf.load(progress), self._upstream.refresh())
        self._upstream.watch()

    async def choose_chat(self) -> None:
        """Decide whether the larger chat model is worth having here; ``grow`` acts on it.

        Once for a machine this takes a few seconds of it: call it while nobody speaks."""
        if self._settings.chat_model is not None:
            return
        lack = await asyncio.to_thread(too_little_memory)
        verdict = await asyncio.to_thread(self._verdicts.read)
        if self._shelf.loaded(Role.CHAT, LARGER) is not None:
            self._choice = ChatChoice(LARGER, verdict.reason if verdict else GIVEN)
        small = self._shelf.loaded(Role.CHAT, SMALLER)
        if small is None:
            return
        if verdict is None and lack is None:
            verdict = await estimated(small)
            await asyncio.to_thread(self._verdicts.write, verdict)
        if lack is None and verdict is not None and verdict.hopeful:
            self._choice = ChatChoice(SMALLER, COMING, final=False)
        else:
            self._choice = ChatChoice(SMALLER, lack or (verdict.reason if verdict else GIVEN))

    async def grow(self, fetch: Callable[[], Awaitable[None]]) -> ChatChoice | None:
        """Load the larger chat model and have it answer from then on, where ``choose_chat`` found
        it worth having and it proves fast enough.

        ``fetch`` brings its weights or raises WeightsError. Returns what answers now, and why; None
        where nothing was tried."""
        if self._choice is None or self._choice.final:
            return None
        try:
            await fetch()
            plan = chat_plan(self._settings, LARGER)
            engine = await plan.load()
            try:
                self._choice = await self._tried(plan, engine)
            finally:
                if self._shelf.loaded(Role.CHAT, LARGER) is not engine:
                    await engine.close()
        except (WeightsError, EngineError) as error:
            self._choice = ChatChoice(SMALLER, f"{LARGER} could not be had: {error}")
        return self._choice

    async def _tried(self, plan: Plan, engine: ChatModel) -> ChatChoice:
        verdict = Verdict(await measured(engine), estimated=False)
        await asyncio.to_thread(self._verdicts.write, verdict)
        if not verdict.hopeful:
            return ChatChoice(SMALLER, verdict.reason)
        self._shelf.adopt(plan, engine)
        await self._shelf.retire(Role.CHAT, SMALLER)
        return ChatChoice(LARGER, verdict.reason)

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Every engine; that of the chat model that answers says why it is that one."""
        choice = self._choice
        return tuple(
            replace(status, note=choice.reason)
            if choice and (status.role, status.model_id) == (Role.CHAT, choice.model_id)
            else status
            for status in super().statuses()
        )

    async def close(self) -> None:
        """Close every engine and the connection to the upstream."""
        await self._shelf.close()
        await self._upstream.close()

    # ------------------------------------------------------------------------------ look-ups

    def hearing(self, model_id: str) -> StreamingTranscriber:
        """The engine of partial transcripts."""
        if model_id != DEFAULT and self._shelf.plan(Role.HEARING, model_id) is None:
            self.transcriber(model_id)  # an id that nobody serves is not heard at all
            model_id = DEFAULT
        engine = self.find(Role.HEARING, self.best(Role.HEARING, model_id))
        return cast(StreamingTranscriber, engine)

    def transcriber(self, model_id: str) -> Transcriber:
        """The engine of final transcripts. The recogniser of partials may be named too: its
        sessions get the default transcriber."""
        model_id = self._settings.transcription_names.get(model_id, model_id)
        if self._shelf.plan(Role.HEARING, model_id) is not None:
            model_id = DEFAULT
        if model_id == DEFAULT:
            model_id = self._settings.transcription_model or DEFAULT
        engine = self.find(Role.TRANSCRIPTION, self.best(Role.TRANSCRIPTION, model_id))
        return cast(Transcriber, engine)

    def speaker(self, model_id: str, language: str) -> Speaker:
        """The voice for ``language`` (``en``, ``de-AT``, …)."""
        model_id = self._settings.speech_names.get(model_id, model_id)
        if model_id == DEFAULT:
            model_id = self._settings.speech_model or DEFAULT
        base = language.lower().partition("-")[0]
        if model_id == DEFAULT:
            model_id = HIBARI if base == "en" else PICO
        engine = self.find(Role.SPEECH, model_id)
        status = self.status(Role.SPEECH, model_id)
        if status.languages and base not in status.languages:
            loaded = [s for s in self._shelf.statuses() if s.role is Role.SPEECH and s.loaded]
            spoken = sorted({one for status in loaded for one in status.languages})
            raise ModelUnavailable(
                f"{model_id} does not speak {language!r}; live voices speak: {', '.join(spoken)}"
            )
        return cast(Speaker, engine)

    @property
    def turn_detector(self) -> TurnDetector:
        """The semantic end of turn."""
        return cast(TurnDetector, self.find(Role.TURN, self.best(Role.TURN, DEFAULT)))

    @property
    def vad_model(self) -> SileroModel:
        """The voice activity network."""
        return cast(SileroModel, self.find(Role.VAD, self.best(Role.VAD, DEFAULT)))

    # ------------------------------------------------------------------------------ health

    def ready(self) -> bool:
        """Whether a call would be answered: every needed role's default is live."""
        try:
            self.hearing(DEFAULT)
            self.transcriber(DEFAULT)
            self.find(Role.CHAT, self.chat_id(DEFAULT))
            self.speaker(DEFAULT, "en")
            _ = self.vad_model
        except ModelUnavailable:
            return False
        usable = {status.role for status in self.statuses() if status.live and status.loaded}
        return usable >= NEEDED
