"""Engines behind any HTTP server that speaks OpenAI's contracts
(https://platform.openai.com/docs/api-reference): ``client`` holds the connection, the errors and
the model list, ``chat`` and ``audio`` the engines.

``UpstreamModels`` is what the upstream serves, with an engine for each of its models in use.

Rules
- While ``watch`` runs, the upstream's list is fetched regularly; otherwise when a caller can wait
  for it (``refresh``). The client keeps it for a minute.
- A configured model is taken to be there even if the upstream does not list it. An upstream that
  cannot be reached serves nothing, with a reason.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.engines.base import EngineError
from pipelines.engines.engine import LOADING, EngineSettings, EngineStatus, Key, Role

from .audio import UpstreamFileTranscriber, UpstreamSpeaker, UpstreamTranscriber
from .chat import UpstreamChat
from .client import UpstreamClient, UpstreamSettings

__all__ = [
    "UpstreamChat",
    "UpstreamClient",
    "UpstreamFileTranscriber",
    "UpstreamModels",
    "UpstreamSettings",
    "UpstreamSpeaker",
    "UpstreamTranscriber",
]

log = logging.getLogger(__name__)

DISCOVERY_PERIOD = 60.0
"""Seconds between two reads of the upstream's list."""


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

    def status(self, role: Role, model_id: str) -> EngineStatus:
        """Where a model that is not embedded stands."""
        reason = ""
        listed = Role.TRANSCRIPTION if role is Role.FILE_TRANSCRIPTION else role
        if self._client is None:
            reason = "no such model here, and no upstream is set (BLAB_UPSTREAM_URL)"
        elif role not in _MAKERS:
            reason = "not loaded"
        elif self._reason:
            reason = self._reason
        elif (
            model_id not in self._discovered
            and (listed, model_id) not in self._settings.configured()
        ):
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
    Role.FILE_TRANSCRIPTION: UpstreamFileTranscriber,
}
"""The roles that an upstream can have."""
