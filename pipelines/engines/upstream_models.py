"""UpstreamModels: what the upstream serves, and an engine for each model of it that is asked for.

Rules
- The upstream's list is looked at regularly while ``watch`` runs, and otherwise when somebody who
  can wait asks (``refresh``); the client remembers it for a minute.
- A model that the deployment configures is taken to be there even where the upstream does not list
  it. An upstream that cannot be reached serves nothing, with a reason.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .base import EngineError
from .engine_settings import EngineSettings
from .openai_compatible import (
    UpstreamChat,
    UpstreamClient,
    UpstreamFileTranscriber,
    UpstreamSettings,
    UpstreamSpeaker,
    UpstreamTranscriber,
)
from .shelf import LOADING, Key
from .status import EngineStatus, Role

log = logging.getLogger(__name__)

DEFAULT = "default"
DISCOVERY_PERIOD = 60.0
"""Seconds between two looks at what the upstream serves."""


class UpstreamModels:
    """The models behind BLAB_UPSTREAM_URL; none where it is not set."""

    def __init__(self, settings: EngineSettings, vad: Path, *, period: float) -> None:
        """``vad``: Silero's file, which whole recordings are cut with; ``period`` in seconds."""
        self._settings = settings
        self._period = period
        self._vad = vad
        self._client: UpstreamClient | None = None
        if settings.upstream_url:
            self._client = UpstreamClient(
                UpstreamSettings(settings.upstream_url, settings.upstream_key or "")
            )
        self._discovered: frozenset[str] = frozenset()
        self._reason = LOADING
        self._engines: dict[Key, Any] = {}
        self._watch: asyncio.Task[None] | None = None

    @property
    def discovered(self) -> frozenset[str]:
        """Ids that the upstream lists."""
        return self._discovered

    async def refresh(self) -> None:
        """Look at what the upstream lists, unless that is known."""
        if self._client is None:
            return
        try:
            self._discovered = frozenset(await self._client.models())
        except EngineError as error:
            if str(error) != self._reason:
                log.warning("the upstream's models cannot be listed: %s", error)
            self._discovered = frozenset()
            self._reason = str(error)
        else:
            self._reason = ""

    def watch(self) -> None:
        """Keep looking, until ``close``."""
        if self._client is not None and self._watch is None:
            self._watch = asyncio.create_task(self._keep_looking(), name="upstream discovery")

    async def close(self) -> None:
        """Close the connection."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._engines.clear()
        if self._client is not None:
            await self._client.close()

    def configured(self) -> list[Key]:
        """What the settings name, embedded or not."""
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

    def status(self, role: Role, model_id: str) -> EngineStatus:
        """How a model that is not embedded does."""
        reason = ""
        listed = Role.TRANSCRIPTION if role is Role.FILES else role
        if self._client is None:
            reason = "no such model here, and no upstream is set (BLAB_UPSTREAM_URL)"
        elif role not in _MAKERS:
            reason = "not loaded"
        elif self._reason:
            reason = self._reason
        elif model_id not in self._discovered and (listed, model_id) not in self.configured():
            reason = "neither embedded nor listed by the upstream"
        return EngineStatus(model_id, role, not reason, reason, languages=(), upstream=True)

    def engine(self, role: Role, model_id: str) -> Any:
        """One object per role and id; call it where ``status`` says live."""
        key = (role, model_id)
        if key not in self._engines:
            assert self._client is not None  # noqa: S101 - its status was live
            self._engines[key] = _MAKERS[role](model_id, self._client, self._vad)
        return self._engines[key]

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            await self.refresh()


_MAKERS: dict[Role, Callable[[str, UpstreamClient, Path], Any]] = {
    Role.CHAT: lambda model_id, client, _: UpstreamChat(model_id, client),
    Role.SPEECH: lambda model_id, client, _: UpstreamSpeaker(model_id, client),
    Role.TRANSCRIPTION: lambda model_id, client, _: UpstreamTranscriber(model_id, client),
    Role.FILES: UpstreamFileTranscriber,
}
"""Roles that the upstream can have."""
