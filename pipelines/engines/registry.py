"""Engines: every engine of this process, by role and model id.

Rules
- Loaded once, shared by all sessions, warm when ``load`` returns. An engine that fails or lacks
  its weights is not live, with a reason; the others do not notice.
- A look-up returns a live engine or raises ModelUnavailable naming the id and what is live.
- ``default`` (and a contract's name mapped to it) is the configured model, else the best
  embedded one. A configured model that is not live is an error, not a reason to take another.
- Any other id belongs to the upstream, if there is one and it lists the id or it is configured.
- HTTP upstreams have no streaming speech-to-text: partial transcripts come from the embedded
  recogniser, whichever model writes the final one.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

from media.silero import SileroModel

from .base import (
    ChatModel,
    EngineError,
    ModelUnavailable,
    Speaker,
    StreamingTranscriber,
    Transcriber,
    TurnDetector,
)
from .embedded import HIBARI, PICO, Plan, missing_files, plans
from .engine_settings import EngineSettings
from .openai_compatible import (
    UpstreamChat,
    UpstreamClient,
    UpstreamSettings,
    UpstreamSpeaker,
    UpstreamTranscriber,
)
from .status import NEEDED, EngineStatus, Role

log = logging.getLogger(__name__)

Progress = Callable[[EngineStatus], None]
"""Told when an engine begins to load (reason ``loading``) and when it is live or not."""

DEFAULT = "default"
LOADING = "loading"
DISCOVERY_PERIOD = 60.0
"""Seconds between two looks at what the upstream serves."""

LOADS_AT_ONCE = 2


class Engines:
    """The registry; ``await load()`` before use, ``await close()`` at the end."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        plans: Callable[[EngineSettings], list[Plan]] = plans,
        discovery_period: float = DISCOVERY_PERIOD,
    ) -> None:
        self._settings = settings
        self._plans = plans
        self._period = discovery_period
        self._live: dict[tuple[Role, str], Any] = {}
        self._statuses: dict[tuple[Role, str], EngineStatus] = {}
        self._client: UpstreamClient | None = None
        if settings.upstream_url:
            self._client = UpstreamClient(
                UpstreamSettings(settings.upstream_url, settings.upstream_key or "")
            )
        self._discovered: frozenset[str] = frozenset()
        self._upstream_reason = LOADING
        self._upstream_engines: dict[tuple[Role, str], Any] = {}
        self._watch: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------ life

    async def load(self, progress: Progress = lambda _: None) -> None:
        """Load and warm every engine; see ``statuses`` for how it went."""
        gate = asyncio.Semaphore(LOADS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for plan in self._plans(self._settings):
                group.create_task(self._load(plan, gate, progress))
            if self._client is not None:
                group.create_task(self._discover())
        if self._client is not None:
            self._watch = asyncio.create_task(self._keep_discovering(), name="upstream discovery")

    async def close(self) -> None:
        """Close every engine and the connection to the upstream."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        engines = {id(engine): engine for engine in self._live.values()}
        self._live.clear()
        self._upstream_engines.clear()
        for key, status in self._statuses.items():
            self._statuses[key] = _dead(status, "shut down")
        closing = [engine.close() for engine in engines.values() if hasattr(engine, "close")]
        await asyncio.gather(*closing)
        if self._client is not None:
            await self._client.close()

    # ------------------------------------------------------------------------------ look-ups

    def hearing(self, model_id: str) -> StreamingTranscriber:
        """The engine of partial transcripts."""
        if model_id != DEFAULT and (Role.HEARING, model_id) not in self._statuses:
            self.transcriber(model_id)  # an id that nobody serves is not heard at all
            model_id = DEFAULT
        return cast(
            StreamingTranscriber, self._find(Role.HEARING, self._best(Role.HEARING, model_id))
        )

    def transcriber(self, model_id: str) -> Transcriber:
        """The engine of final transcripts. The recogniser of partials may be named too: its
        sessions get the default transcriber."""
        names = self._settings.transcription_names
        model_id = names.get(model_id, model_id)
        if (Role.HEARING, model_id) in self._statuses:
            model_id = DEFAULT
        if model_id == DEFAULT:
            model_id = self._settings.transcription_model or DEFAULT
        return cast(
            Transcriber, self._find(Role.TRANSCRIPTION, self._best(Role.TRANSCRIPTION, model_id))
        )

    def chat(self, model_id: str) -> ChatModel:
        """The chat model."""
        model_id = self._settings.chat_names.get(model_id, model_id)
        if model_id == DEFAULT:
            model_id = self._settings.chat_model or DEFAULT
        return cast(ChatModel, self._find(Role.CHAT, self._best(Role.CHAT, model_id)))

    def speaker(self, model_id: str, language: str) -> Speaker:
        """The voice for ``language`` (``en``, ``de-AT``, …)."""
        model_id = self._settings.speech_names.get(model_id, model_id)
        if model_id == DEFAULT:
            model_id = self._settings.speech_model or DEFAULT
        if model_id == DEFAULT:
            model_id = HIBARI if _base(language) == "en" else PICO
        engine = self._find(Role.SPEECH, model_id)
        status = self._statuses.get((Role.SPEECH, model_id))
        if status is not None and status.languages and _base(language) not in status.languages:
            spoken = sorted({one for s in self._of(Role.SPEECH) if s.live for one in s.languages})
            raise ModelUnavailable(
                f"{model_id} does not speak {language!r}; live voices speak: {', '.join(spoken)}"
            )
        return cast(Speaker, engine)

    @property
    def turn_detector(self) -> TurnDetector:
        """The semantic end of turn."""
        return cast(TurnDetector, self._find(Role.TURN, self._best(Role.TURN, DEFAULT)))

    @property
    def vad_model(self) -> SileroModel:
        """The voice activity network."""
        return cast(SileroModel, self._find(Role.VAD, self._best(Role.VAD, DEFAULT)))

    # ------------------------------------------------------------------------------ health

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Every engine that is, should be or could be live now."""
        configured = [
            self._upstream_status(role, model_id)
            for role, model_id in self._configured()
            if (role, model_id) not in self._statuses
        ]
        named = {status.model_id for status in configured}
        others = [
            EngineStatus(model_id, Role.CHAT, live=True, languages=(), upstream=True)
            for model_id in sorted(self._discovered - named)
        ]
        return (*self._statuses.values(), *configured, *others)

    def ready(self) -> bool:
        """Whether a call would be answered: every needed role's default is live."""
        try:
            for look_up in (self.hearing, self.transcriber, self.chat):
                look_up(DEFAULT)
            self.speaker(DEFAULT, "en")
            _ = self.vad_model
        except ModelUnavailable:
            return False
        return all(
            any(status.live for status in self.statuses() if status.role is role) for role in NEEDED
        )

    # ------------------------------------------------------------------------------ inside

    async def _load(self, plan: Plan, gate: asyncio.Semaphore, progress: Progress) -> None:
        key = (plan.role, plan.model_id)
        status = EngineStatus(
            plan.model_id, plan.role, live=False, reason=LOADING, languages=plan.languages
        )
        self._statuses[key] = status
        async with gate:
            progress(status)
            begun = time.monotonic()
            reason = await asyncio.to_thread(_lack, self._settings, plan)
            if not reason:
                try:
                    self._live[key] = await plan.load()
                except EngineError as error:
                    reason = str(error)
            seconds = time.monotonic() - begun
        if reason:
            log.warning("%s (%s) is not live: %s", plan.model_id, plan.role, reason)
        status = EngineStatus(plan.model_id, plan.role, not reason, reason, seconds, plan.languages)
        self._statuses[key] = status
        progress(status)

    async def _discover(self) -> None:
        assert self._client is not None  # noqa: S101 - callers have checked
        try:
            self._discovered = frozenset(await self._client.models())
        except EngineError as error:
            if str(error) != self._upstream_reason:
                log.warning("the upstream's models cannot be listed: %s", error)
            self._discovered = frozenset()
            self._upstream_reason = str(error)
        else:
            self._upstream_reason = ""

    async def _keep_discovering(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            await self._discover()

    def _best(self, role: Role, model_id: str) -> str:
        """``model_id``, or for ``default`` the role's first embedded engine, a live one if any."""
        if model_id != DEFAULT:
            return model_id
        statuses = sorted(self._of(role), key=lambda status: not status.live)
        return statuses[0].model_id if statuses else DEFAULT

    def _of(self, role: Role) -> Iterable[EngineStatus]:
        return [status for status in self._statuses.values() if status.role is role]

    def _find(self, role: Role, model_id: str) -> Any:
        engine = self._live.get((role, model_id))
        if engine is not None:
            return engine
        status = self._statuses.get((role, model_id)) or self._upstream_status(role, model_id)
        if status.live:
            return self._upstream_engine(role, model_id)
        live = sorted(s.model_id for s in self.statuses() if s.live and s.role is role)
        raise ModelUnavailable(
            f"no live {role} engine serves {model_id!r} ({status.reason}); "
            f"live: {', '.join(live) or 'none'}"
        )

    def _configured(self) -> list[tuple[Role, str]]:
        settings = self._settings
        wanted = (
            (Role.CHAT, settings.chat_model),
            (Role.SPEECH, settings.speech_model),
            (Role.TRANSCRIPTION, settings.transcription_model),
            *((Role.CHAT, name) for name in settings.chat_names.values()),
            *((Role.SPEECH, name) for name in settings.speech_names.values()),
            *((Role.TRANSCRIPTION, name) for name in settings.transcription_names.values()),
        )
        named = ((role, name) for role, name in wanted if name is not None and name != DEFAULT)
        return list(dict.fromkeys(named))

    def _upstream_status(self, role: Role, model_id: str) -> EngineStatus:
        reason = ""
        if self._client is None:
            reason = "no such model here, and no upstream is set (BLAB_UPSTREAM_URL)"
        elif role in (Role.VAD, Role.TURN, Role.HEARING):
            reason = "not loaded"
        elif self._upstream_reason:
            reason = self._upstream_reason
        elif model_id not in self._discovered and (role, model_id) not in self._configured():
            reason = "neither embedded nor listed by the upstream"
        return EngineStatus(model_id, role, not reason, reason, languages=(), upstream=True)

    def _upstream_engine(self, role: Role, model_id: str) -> Any:
        """One object per role and id; bounded by what the upstream lists and is configured."""
        key = (role, model_id)
        if key not in self._upstream_engines:
            assert self._client is not None  # noqa: S101 - its status was live
            make = {
                Role.CHAT: UpstreamChat,
                Role.SPEECH: UpstreamSpeaker,
                Role.TRANSCRIPTION: UpstreamTranscriber,
            }[role]
            self._upstream_engines[key] = make(model_id, self._client)
        return self._upstream_engines[key]


def _lack(settings: EngineSettings, plan: Plan) -> str:
    """Why the engine's weights will not do, or nothing."""
    missing = missing_files(settings.models_dir, plan.model_id) if plan.weights else []
    if not missing:
        return ""
    more = f" and {len(missing) - 1} more files" if missing[1:] else ""
    return f"weights missing ({missing[0]}{more}): run `blab models fetch`"


def _dead(status: EngineStatus, reason: str) -> EngineStatus:
    return EngineStatus(status.model_id, status.role, live=False, reason=reason)


def _base(language: str) -> str:
    return language.lower().split("-")[0]
