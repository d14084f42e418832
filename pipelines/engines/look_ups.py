"""LookUps: which engine answers to a model id, among the embedded ones and the upstream's.

Rules
- A look-up returns a live engine or raises ModelUnavailable naming the id and what is live.
- ``default`` (and a contract's name mapped to it) is the configured model, else the best
  embedded one. A configured model that is not live is an error, not a reason to take another.
- Any other id belongs to the upstream, if there is one and it lists the id or it is configured.
"""

from typing import Any, cast

from pipelines.engines.chat.lazy_chat import LazyChat

from .base import ChatModel, ModelUnavailable
from .engine_settings import EngineSettings
from .shelf import LOADING, Shelf
from .status import EngineStatus, Role
from .upstream_models import DEFAULT, UpstreamModels


class LookUps:
    """Finds engines by role and id; nothing here loads any but ``fetch``."""

    def __init__(self, settings: EngineSettings, shelf: Shelf, upstream: UpstreamModels) -> None:
        self._settings = settings
        self._shelf = shelf
        self._upstream = upstream

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Every engine that is, should be or could be live now."""
        embedded = self._shelf.statuses()
        there = {(status.role, status.model_id) for status in embedded}
        configured = [
            self._upstream.status(role, model_id)
            for role, model_id in self._upstream.configured()
            if (role, model_id) not in there
        ]
        named = {status.model_id for status in configured}
        others = [
            EngineStatus(model_id, Role.CHAT, live=True, languages=(), upstream=True)
            for model_id in sorted(self._upstream.discovered - named)
        ]
        return (*embedded, *configured, *others)

    def chat(self, model_id: str) -> ChatModel:
        """The chat model; an embedded one that is not loaded is loaded by its first question."""
        model_id = self.chat_id(model_id)
        plan = self._shelf.plan(Role.CHAT, model_id)
        if plan is not None and self._shelf.loaded(Role.CHAT, model_id) is None:
            status = self.status(Role.CHAT, model_id)
            if status.live or status.reason == LOADING:
                return LazyChat(model_id, lambda: self.fetch(Role.CHAT, model_id))
        return cast(ChatModel, self.find(Role.CHAT, model_id))

    def chat_id(self, model_id: str) -> str:
        """The chat model that ``model_id`` stands for."""
        model_id = self._settings.chat_names.get(model_id, model_id)
        if model_id == DEFAULT:
            model_id = self._settings.chat_model or DEFAULT
        return self.best(Role.CHAT, model_id)

    def best(self, role: Role, model_id: str) -> str:
        """``model_id``, or for ``default`` the role's first embedded engine, a live one if any."""
        if model_id != DEFAULT:
            return model_id
        statuses = [self.status(role, plan.model_id) for plan in self._shelf.of(role)]
        statuses.sort(key=lambda status: (not status.live, not status.loaded))
        return statuses[0].model_id if statuses else DEFAULT

    def status(self, role: Role, model_id: str) -> EngineStatus:
        """How the engine of that id does."""
        return self._shelf.status(role, model_id) or self._upstream.status(role, model_id)

    def check(self, role: Role, model_id: str) -> EngineStatus:
        """The status of an engine that can be had; raises ModelUnavailable."""
        status = self.status(role, model_id)
        if not status.live and status.reason != LOADING:
            raise self.unavailable(role, status)
        return status

    def find(self, role: Role, model_id: str) -> Any:
        """The engine, which must be loaded."""
        engine = self._shelf.loaded(role, model_id)
        if engine is not None:
            return engine
        status = self.status(role, model_id)
        if status.live and status.upstream:
            return self._upstream.engine(role, model_id)
        raise self.unavailable(role, status)

    async def fetch(self, role: Role, model_id: str) -> Any:
        """The engine, loaded first where it is not."""
        if self._shelf.plan(role, model_id) is not None:
            return await self._shelf.fetch(role, model_id)
        await self._upstream.refresh()
        return self.find(role, model_id)

    def unavailable(self, role: Role, status: EngineStatus) -> ModelUnavailable:
        """The error that says why, and what else there is."""
        ids = {s.model_id for s in self.statuses() if s.live and s.role is role}
        reason = status.reason or "not loaded; calls need it at the server's start"
        return ModelUnavailable(
            f"no live {role} engine serves {status.model_id!r} ({reason}); "
            f"live: {', '.join(sorted(ids - {status.model_id})) or 'none'}"
        )
