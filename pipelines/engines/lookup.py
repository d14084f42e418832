"""Lookup: which engine a model id stands for, and where every engine stands.

What ``Catalogue`` finds its engines with; asking loads nothing.
"""

from dataclasses import replace
from typing import Any

from .base import ModelUnavailable, base_language
from .call_names import is_stock
from .engine import DEFAULT, LOADING, EngineSettings, EngineStatus, Role
from .openai_compatible import UpstreamModels
from .source import EngineSource


class Lookup:
    """Engines by role and model id: the embedded ones of ``source``, and those of ``upstream``."""

    def __init__(
        self, settings: EngineSettings, upstream: UpstreamModels, source: EngineSource
    ) -> None:
        self.settings = settings
        self.source = source
        self._upstream = upstream
        self._loader = source.loader

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Every engine that is, should be or could be live now: which can be used, which are
        loaded, and why others are not there."""
        embedded = [self.status(*key) for key in self._loader.engines]
        configured = [
            self._upstream.status(*key)
            for key in self.settings.configured()
            if key not in self._loader.engines
        ]
        named = {status.model_id for status in configured}
        others = [
            EngineStatus(model_id, Role.CHAT, live=True, languages=(), upstream=True)
            for model_id in sorted(self._upstream.discovered - named)
        ]
        return (*embedded, *configured, *others)

    def status(self, role: Role, model_id: str) -> EngineStatus:
        """Where the engine of that id stands; that of the chat model that answers says why it is
        that one."""
        status = self._loader.status((role, model_id)) or self._upstream.status(role, model_id)
        choice = self.source.choice
        if choice is not None and (role, model_id) == (Role.CHAT, choice.model_id):
            return replace(status, note=choice.reason)
        return status

    def serves(self, role: Role, model_id: str) -> bool:
        """Whether an engine of that very id serves calls, or will when it is loaded."""
        return self.status(role, model_id).in_calls

    def resolve(self, role: Role, model_id: str) -> str:
        """``model_id``, or ``default`` for the id of one of OpenAI's models that no engine here
        serves."""
        if is_stock(role, model_id) and not self.serves(role, model_id):
            return DEFAULT
        return model_id

    # ------------------------------------------------------------------------------ what ids mean

    def chat_id(self, model_id: str) -> str:
        """The chat model that ``model_id`` stands for."""
        model_id = self.settings.chat_names.get(model_id, model_id)
        if model_id != DEFAULT:
            model_id = self.resolve(Role.CHAT, model_id)
        if model_id == DEFAULT:
            model_id = self.settings.chat_model or DEFAULT
        return model_id if model_id != DEFAULT else self._best(Role.CHAT)

    def transcription_id(self, model_id: str, language: str = "en") -> str:
        """The engine of final transcripts in ``language`` that ``model_id`` stands for."""
        role, engines = Role.TRANSCRIPTION, self._loader.engines
        model_id = self.settings.transcription_names.get(model_id, model_id)
        streams = (Role.STREAMING_TRANSCRIPTION, model_id) in engines
        if streams and (role, model_id) not in engines:
            model_id = DEFAULT
        model_id = self.resolve(role, model_id)
        if model_id == DEFAULT:
            configured = self.settings.transcription_model
            if configured is not None and self._hears(role, configured, language):
                return configured
            model_id = self._best(role, language)
        return model_id

    # ------------------------------------------------------------------------------ finding

    def _best(self, role: Role, language: str | None = None) -> str:
        """The role's first embedded engine for a language: one that is loaded, else a live one,
        else any, at last one that does not serve the language."""
        known = [engine.id for engine in self._loader.of(role)]
        fitting = known
        if language is not None:
            fitting = [model_id for model_id in known if self._hears(role, model_id, language)]
        loaded = [model_id for model_id in fitting if (role, model_id) in self._loader.loaded]
        if loaded:
            return loaded[0]
        live = [model_id for model_id in fitting if self.status(role, model_id).live]
        return next(iter([*live, *fitting, *known]), DEFAULT)

    def _hears(self, role: Role, model_id: str, language: str) -> bool:
        """Whether an engine, live or not, serves a language; DEFAULT is none."""
        if model_id == DEFAULT:
            return False
        declared = self._loader.engines.get((role, model_id))
        if declared is None:
            return role is not Role.STREAMING_TRANSCRIPTION  # an upstream's: any language
        return not declared.languages or base_language(language) in declared.languages

    def _find_hearing(self, role: Role, model_id: str, language: str) -> Any:
        """The engine, which must be loaded and serve the language."""
        engine = self._find(role, model_id)
        if not self._hears(role, model_id, language):
            raise ModelUnavailable(f"{model_id} does not understand {language!r}")
        return engine

    def _find(self, role: Role, model_id: str) -> Any:
        """The engine, which must be loaded."""
        engine = self._loader.loaded.get((role, model_id))
        if engine is not None:
            return engine
        status = self.status(role, model_id)
        if status.live and status.upstream:
            return self._upstream.engine(role, model_id)
        raise self._unavailable(role, status)

    async def _fetch(self, role: Role, model_id: str) -> Any:
        """The engine, loaded first if need be."""
        if (role, model_id) in self._loader.engines:
            return await self._loader.fetch((role, model_id))
        await self._upstream.refresh()
        return self._find(role, model_id)

    def _check(self, role: Role, model_id: str) -> EngineStatus:
        """The status of an engine that can be had; raises ModelUnavailable."""
        status = self.status(role, model_id)
        if not status.live and status.reason != LOADING:
            raise self._unavailable(role, status)
        return status

    def _expected(self, role: Role, model_id: str) -> EngineStatus:
        """The status of an engine, live where it is just being loaded."""
        status = self.status(role, model_id)
        if status.reason != LOADING or status.upstream:
            return status
        return replace(status, live=True, reason="")

    def _unavailable(self, role: Role, status: EngineStatus) -> ModelUnavailable:
        """The error that says why, and what else there is."""
        ids = {s.model_id for s in self.statuses() if s.live and s.role is role}
        reason = status.reason or "not loaded; calls need it at the server's start"
        return ModelUnavailable(
            f"no live {role} engine serves {status.model_id!r} ({reason}); "
            f"live: {', '.join(sorted(ids - {status.model_id})) or 'none'}"
        )
