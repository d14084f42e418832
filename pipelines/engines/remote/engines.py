"""RemoteEngines: the engines of the machine's engine process, as a gateway process's catalogue has
them.

Rules
- Declarations are this process's own; which of them there are, in which order, and where they stand
  is what the engine process said last. It keeps saying it, about ``server.PERIOD`` after a change.
- The voice activity network is loaded here: it is small, and asked 31 times a second in each call.
- While the engine process is away its engines keep their places, so that a call goes on and its
  requests wait (``client.BACK_SECONDS``); new calls are refused with ``waiting``.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.engines.base import HearingLoad, ModelUnavailable
from pipelines.engines.chat.choice import ChatChoice
from pipelines.engines.engine import LOADING, Engine, EngineSettings, EngineStatus, Key, Role
from pipelines.engines.loading import LOAD_DEADLINE, Loader
from pipelines.engines.openai_compatible import UpstreamModels
from pipelines.engines.source import Wait
from pipelines.engines.startup import INCOMPLETE, READY, chosen

from .client import EngineConnection
from .messages import Load, Loads, State, Traits
from .proxies import proxy

AWAY = "The engines are being started again."


class RemoteEngines:
    """An EngineSource, and its LoadedEngines."""

    def __init__(
        self,
        settings: EngineSettings,
        declared: Sequence[Engine],
        path: Path,
        *,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``path``: the engine process's socket; ``on_stage`` is called with "ready" or
        "incomplete" when the start is over."""
        here = [engine for engine in declared if engine.role is Role.VAD]
        self.connection = EngineConnection(path, self._take, self._take_loads)
        self._here = Loader(settings, lambda: here)
        self._declared = {engine.key: engine for engine in declared}
        self._engines = {engine.key: engine for engine in chosen(settings, declared)}
        self._on_stage = on_stage
        self._state: State | None = None
        self._statuses: dict[Key, EngineStatus] = {}
        self._proxies: dict[Key, tuple[Traits, Any]] = {}
        self._loads: dict[str, HearingLoad] = {}
        self._starting: str | None = "The server is starting."
        self._changed = asyncio.Event()
        """Set, and replaced, with every state that comes."""
        self._calls = 0

    # ------------------------------------------------------------------ LoadedEngines

    @property
    def loader(self) -> "RemoteEngines":
        """The engines themselves."""
        return self

    @property
    def engines(self) -> Mapping[Key, Engine]:
        """The declarations of all engines."""
        return self._engines

    @property
    def loaded(self) -> Mapping[Key, Any]:
        """The engines that are loaded."""
        return {key: made for key, (_, made) in self._proxies.items()} | self._here.loaded

    def of(self, role: Role) -> list[Engine]:
        """The declarations of a role, best first."""
        return [engine for engine in self._engines.values() if engine.role is role]

    def status(self, key: Key) -> EngineStatus | None:
        """Where an engine stands; None for one that is not declared."""
        return self._here.status(key) or self._statuses.get(key) or self._unknown(key)

    async def fetch(self, key: Key) -> Any:
        """The engine, loaded first if need be. Raises ModelUnavailable with the reason."""
        if key not in self.loaded:
            role, model_id = key
            traits = await self.connection.ask(
                lambda number, flow, patience: Load(number, flow, patience, role, model_id),
                Traits,
                deadline=LOAD_DEADLINE,
            )
            self._keep(traits)
        if key not in self.loaded:
            raise ModelUnavailable(f"{key[1]} is loaded by workers only, for jobs")
        return self.loaded[key]

    # ------------------------------------------------------------------ EngineSource

    @property
    def waiting(self) -> str | None:
        """Why calls must wait for the start, or for an engine process that died."""
        state = self._state
        if state is not None and not self.connection.linked:
            return AWAY
        if state is not None and state.waiting is not None:
            return state.waiting
        return self._starting

    @property
    def choice(self) -> ChatChoice | None:
        """The embedded chat model that answers, as far as that was decided."""
        return None if self._state is None else self._state.choice

    @property
    def calls_elsewhere(self) -> int:
        """Calls of the other gateway processes."""
        return 0 if self._state is None else max(0, self._state.calls - self._calls)

    def report_calls(self, active: int) -> None:
        """So many calls are in progress in this process."""
        self._calls = active
        self.connection.report_calls(active)

    def hearing_loads(self) -> dict[str, HearingLoad]:
        """How many utterances of all processes every transcriber has."""
        return dict(self._loads)

    async def run(
        self,
        upstream: UpstreamModels,
        ready: Callable[[], bool],
        quiet: Wait,  # noqa: ARG002 - the engine process knows by itself
        warm_up: Wait,
    ) -> None:
        """Wait until the engine process has loaded the engines of calls, and ``warm_up``."""
        self.connection.start()
        await asyncio.gather(self._here.load(), upstream.refresh(), self._until(_started))
        upstream.watch()
        if ready():
            await warm_up()
        self._starting = None
        self._on_stage(READY if ready() else INCOMPLETE)

    async def complete(self) -> None:
        """Wait until every engine that is loaded in the background was tried once."""
        await self._until(lambda state: state.complete)

    async def close(self) -> None:
        """End the connection; the engines go on for others."""
        self._starting, self._state = "The server is shutting down.", None
        await self.connection.close()
        await self._here.close()

    # ------------------------------------------------------------------ within

    async def _until(self, condition: Callable[[State], bool]) -> None:
        while self._state is None or not condition(self._state):
            await self._changed.wait()

    def _take(self, state: State) -> None:
        """The engine process says where its engines stand."""
        self._state = state
        self._statuses = {(one.role, one.model_id): one for one in state.statuses}
        self._engines = {
            key: replace(
                self._declared[key], on_demand=status.on_demand, background=status.background
            )
            for key, status in self._statuses.items()
            if key in self._declared
        }
        for traits in state.loaded:
            self._keep(traits)
        for key in list(self._proxies):
            status = self._statuses.get(key)
            if status is None or not (status.loaded or status.reason == LOADING or state.waiting):
                del self._proxies[key]
        self._changed.set()
        self._changed = asyncio.Event()

    def _keep(self, traits: Traits) -> None:
        key = traits.role, traits.model_id
        if key in self._proxies and self._proxies[key][0] == traits:
            return
        made = proxy(self.connection, traits, self._load_of)
        if made is not None:
            self._proxies[key] = traits, made

    def _take_loads(self, loads: Loads) -> None:
        self._loads = loads.by_model

    def _load_of(self, model_id: str) -> HearingLoad:
        return self._loads.get(model_id, HearingLoad())

    def _unknown(self, key: Key) -> EngineStatus | None:
        """The status of an engine about which the engine process has not said anything yet."""
        engine = self._engines.get(key)
        if engine is None:
            return None
        return EngineStatus(
            engine.id,
            engine.role,
            live=False,
            reason=LOADING,
            languages=engine.languages,
            loaded=False,
            on_demand=engine.on_demand,
            background=engine.background,
            word_errors=engine.word_errors,
        )


def _started(state: State) -> bool:
    return state.waiting is None
