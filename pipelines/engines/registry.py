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

from media.vad import SileroModel
from pipelines.engines.chat.call_names import CallNames, NameFault, base_language, name_faults
from pipelines.engines.chat.choice import (
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
from pipelines.engines.speech.read_aloud import own_voice
from pipelines.engines.speech.routes import HIBARI, PICO
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
from .embedded import chat_plan, lacking, plans, silero_file
from .engine_settings import EngineSettings
from .job_look_ups import JobLookUps
from .jobs import CallOptions, VoiceInfo
from .plan import Plan
from .shelf import LOADING, Progress, Shelf
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
        return cast(Transcriber, self.find(Role.TRANSCRIPTION, self.transcription_id(model_id)))

    def transcription_id(self, model_id: str) -> str:
        """The engine of final transcripts that ``model_id`` stands for."""
        model_id = self._settings.transcription_names.get(model_id, model_id)
        if self._shelf.plan(Role.HEARING, model_id) is not None:
            model_id = DEFAULT
        if model_id == DEFAULT:
            model_id = self._settings.transcription_model or DEFAULT
        return self.best(Role.TRANSCRIPTION, model_id)

    def speaker(self, model_id: str, language: str, voice: str = DEFAULT) -> Speaker:
        """The engine that speaks ``language`` (``en``, ``de-AT``, …) with ``voice``."""
        base = base_language(language)
        model_id = self.speech_id(model_id, language, voice)
        engine = self.find(Role.SPEECH, model_id)
        status = self.status(Role.SPEECH, model_id)
        if status.languages and base not in status.languages:
            loaded = [s for s in self._shelf.statuses() if s.role is Role.SPEECH and s.loaded]
            spoken = sorted({one for status in loaded for one in status.languages})
            raise ModelUnavailable(
                f"{model_id} does not speak {language!r}; live voices speak: {', '.join(spoken)}"
            )
        return cast(Speaker, engine)

    def speech_id(self, model_id: str, language: str, voice: str = DEFAULT) -> str:
        """The voice engine that ``model_id`` stands for in a call. By default a voice that speaks
        the language decides."""
        if not self.voice_decides(model_id):
            named = self._routes.engine_of(model_id)
            return named if named != DEFAULT else str(self._settings.speech_model)
        base = base_language(language)
        for info in self.all_voices_in_calls() if own_voice(voice) != DEFAULT else ():
            if info.id == voice and base_language(info.language) == base:
                return info.engine
        return HIBARI if base == "en" else PICO

    def voice_decides(self, model_id: str) -> bool:
        """Whether a call's voice chooses the engine, no model having been named or configured."""
        named = self._routes.engine_of(model_id)
        return named == DEFAULT and (self._settings.speech_model or DEFAULT) == DEFAULT

    def name_faults(self, names: CallNames) -> tuple[NameFault, ...]:
        """See ``call_names``."""
        return name_faults(names, self)

    def in_calls(self, role: Role, model_id: str) -> bool:
        """Whether a call can use the engine, or will when it is loaded. One that only jobs load
        does not count, a chat model excepted."""
        status, plan = self.status(role, model_id), self._shelf.plan(role, model_id)
        for_jobs = plan is not None and plan.lazy and not status.loaded and role is not Role.CHAT
        return (status.live or status.reason == LOADING) and not for_jobs

    def names_in_calls(self, role: Role) -> list[str]:
        """The model ids of a role that calls can use; a recogniser of partials may be named as a
        transcription model."""
        roles = {role, Role.HEARING} if role is Role.TRANSCRIPTION else {role}
        contract = {
            Role.CHAT: self._settings.chat_names,
            Role.SPEECH: self._settings.speech_names,
            Role.TRANSCRIPTION: self._settings.transcription_names,
        }[role]
        found = [s for s in self.statuses() if s.role in roles]
        return [*contract, *(s.model_id for s in found if self.in_calls(s.role, s.model_id))]

    def spoken_in_calls(self) -> tuple[str, ...]:
        """The languages of all voices that calls can use."""
        voices = [s for s in self.statuses() if s.role is Role.SPEECH]
        usable = [s for s in voices if self.in_calls(Role.SPEECH, s.model_id)]
        return tuple({language for status in usable for language in status.languages})

    def all_voices_in_calls(self) -> tuple[VoiceInfo, ...]:
        """The voices of all engines that calls can use and know the voices of."""
        engines = [s.model_id for s in self.statuses() if s.role is Role.SPEECH]
        usable = [model_id for model_id in engines if self.in_calls(Role.SPEECH, model_id)]
        return tuple(one for model_id in usable for one in self.voices_in_calls(model_id) or ())

    def voices_in_calls(self, model_id: str) -> tuple[VoiceInfo, ...] | None:
        """The voices of an engine; None where only an upstream knows them."""
        if self.status(Role.SPEECH, model_id).upstream:
            return None
        return self._routes.own(model_id)

    def call_options(self) -> CallOptions:
        """What a caller may choose among: the voices and languages that ``name_faults`` takes."""
        chat_id = self.chat_id(DEFAULT)
        notes = [s.note for s in self.statuses() if (s.role, s.model_id) == (Role.CHAT, chat_id)]
        voices = self.all_voices_in_calls()
        fit = [
            v for v in voices if not self.name_faults(CallNames(voice=v.id, language=v.language))
        ]
        spoken = sorted(self.spoken_in_calls())
        languages = [one for one in spoken if not self.name_faults(CallNames(language=one))]
        return CallOptions(tuple(fit), tuple(languages), chat_id, next(iter(notes), ""))

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
