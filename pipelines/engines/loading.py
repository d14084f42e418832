"""Loader: loads engines, each at most once, and knows where each stands.

Rules
- An engine is loaded by ``load`` (those of calls, at start) or by the first ``fetch`` of it, once
  for all who ask; ``LOADS_AT_ONCE`` at a time. A caller that is cancelled does not stop it.
- An engine that cannot be loaded has a reason, and the others do not notice. Weights that are
  missing are looked for again every ``LOOK_SECONDS``; those that are there are not expected to go.
  What failed otherwise is tried again after ``RETRY_SECONDS``, except an engine of calls in a
  server that has started: calls cannot count on it.
- ``close`` cancels what is loading and closes what is loaded.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from .base import EngineError, ModelUnavailable
from .engine import FETCHING, LOADING, Engine, EngineSettings, EngineStatus, Key, Role

log = logging.getLogger(__name__)

LOADS_AT_ONCE = 2
LOAD_DEADLINE = 600.0
"""Seconds that loading one engine may take; the embedded ones have shorter deadlines of their
own."""
LOOK_SECONDS = 1.0
RETRY_SECONDS = 30.0


class Loader:
    """The engines of this process that can be loaded, in order of preference within a role."""

    def __init__(
        self,
        settings: EngineSettings,
        choose: Callable[[], Iterable[Engine]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``choose`` gives the engines that the settings ask for. It is called when they are first
        asked about, and again by ``load``: which chat model is best depends on the weights."""
        self._settings = settings
        self._choose = choose
        self._clock = clock
        self._engines: dict[Key, Engine] | None = None
        self.loaded: dict[Key, Any] = {}
        """The engines that are loaded; to be read only."""
        self.fetched: frozenset[Key] = frozenset()
        """Those whose weights are being fetched in the background."""
        self._seconds: dict[Key, float] = {}
        self._failures: dict[Key, tuple[str, float]] = {}
        """Why and when an engine could not be loaded."""
        self._missing: dict[Key, tuple[str, float]] = {}
        """Which weights an engine lacks, and when that was looked up."""
        self._loading: dict[Key, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(LOADS_AT_ONCE)
        self._started = False
        self._closed = False

    # ------------------------------------------------------------------------------ what there is

    @property
    def engines(self) -> Mapping[Key, Engine]:
        """The declarations of all engines."""
        if self._engines is None:
            self._engines = {engine.key: engine for engine in self._choose()}
        return self._engines

    def of(self, role: Role) -> list[Engine]:
        """The declarations of a role, best first."""
        return [engine for engine in self.engines.values() if engine.role is role]

    def status(self, key: Key) -> EngineStatus | None:
        """Where an engine stands; None for one that is not declared."""
        engine = self.engines.get(key)
        if engine is None:
            return None
        if self._closed:
            reason = "shut down"
        elif key in self._loading:
            reason = LOADING
        elif key in self.loaded:
            reason = ""
        else:
            reason = self._failure(engine) or self._missing_now(engine) or self._lacks(engine)
            if engine.background and self._started:
                awaited = FETCHING if reason and key in self.fetched else ""
                reason = awaited or reason or LOADING
        return EngineStatus(
            model_id=engine.id,
            role=engine.role,
            live=not reason,
            reason=reason,
            load_seconds=self._seconds.get(key, 0.0),
            languages=engine.languages,
            loaded=key in self.loaded,
            on_demand=engine.on_demand,
            background=engine.background,
            word_errors=engine.word_errors,
        )

    # ------------------------------------------------------------------------------ loading

    async def load(self) -> None:
        """Load every engine of calls; ``status`` says how it went."""
        self._started = True
        kept = self._engines or {}
        busy = self.loaded.keys() | self._loading.keys()
        fresh = {engine.key: engine for engine in self._choose()}
        self._engines = fresh | {key: engine for key, engine in kept.items() if key in busy}
        wanted = [
            engine
            for engine in self._engines.values()
            if not engine.on_demand and not engine.background
        ]
        await asyncio.gather(*(_finished(self._task(engine)) for engine in wanted))

    async def fetch(self, key: Key) -> Any:
        """The engine, loaded first if need be. Raises ModelUnavailable with the reason."""
        engine, status = self.engines.get(key), self.status(key)
        if engine is None or status is None:
            raise ModelUnavailable(f"there is no {key[0]} engine {key[1]!r}")
        if key not in self.loaded and (status.live or status.reason == LOADING):
            await _finished(self._task(engine))
        if key not in self.loaded:
            status = self.status(key)
            raise ModelUnavailable(f"{engine.id} cannot be used: {status.reason if status else ''}")
        return self.loaded[key]

    def adopt(self, engine: Engine, loaded: Any) -> None:
        """Take over an engine that was loaded elsewhere, as the best of its role."""
        others = {key: other for key, other in self.engines.items() if key != engine.key}
        self._engines = {engine.key: engine} | others
        self.loaded[engine.key] = loaded

    async def retire(self, key: Key) -> None:
        """Close an engine as soon as it is idle; the next one that names it has it loaded again."""
        loaded = self.loaded.pop(key)
        self._engines = {**self.engines, key: replace(self.engines[key], on_demand=True)}
        if hasattr(loaded, "idle"):
            await loaded.idle()
        await loaded.close()

    async def close(self) -> None:
        """Close every engine. Harmless when repeated."""
        self._closed = True
        tasks = list(self._loading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        loaded = {id(engine): engine for engine in self.loaded.values()}
        self.loaded.clear()
        closing = [engine.close() for engine in loaded.values() if hasattr(engine, "close")]
        await asyncio.gather(*closing)

    # ------------------------------------------------------------------------------ inside

    def _failure(self, engine: Engine) -> str:
        reason, since = self._failures.get(engine.key, ("", 0.0))
        final = self._started and not engine.on_demand and not engine.background
        return reason if final or self._clock() - since < RETRY_SECONDS else ""

    def _missing_now(self, engine: Engine) -> str:
        now = self._clock()
        missing, since = self._missing.get(engine.key, ("", now))
        if engine.key not in self._missing or (missing and now - since >= LOOK_SECONDS):
            missing = engine.missing(self._settings.models_dir)
            self._missing[engine.key] = missing, now
        return missing

    def _lacks(self, engine: Engine) -> str:
        """What an engine that it is made of lacks."""
        for key in engine.needs:
            status = self.status(key)
            if status is None or (not status.live and status.reason != LOADING):
                return f"it needs {key[1]}: {status.reason if status else 'not planned'}"
        return ""

    def _task(self, engine: Engine) -> asyncio.Task[None]:
        """The loading of an engine: the one that is under way, or a new one."""
        task = self._loading.get(engine.key)
        if task is None:
            task = asyncio.create_task(self._load(engine), name=f"load {engine.id}")
            self._loading[engine.key] = task
        return task

    async def _load(self, engine: Engine) -> None:
        try:
            if engine.key not in self.loaded and not self._closed:
                await self._load_now(engine)
        finally:
            del self._loading[engine.key]

    async def _load_now(self, engine: Engine) -> None:
        reason = ""
        try:
            parts = [await self.fetch(key) for key in engine.needs]
            async with self._gate:
                began = self._clock()
                models_dir = self._settings.models_dir
                reason = await asyncio.to_thread(engine.missing, models_dir)
                if not reason:
                    async with asyncio.timeout(LOAD_DEADLINE):
                        self.loaded[engine.key] = await engine.load(self._settings, *parts)
                self._seconds[engine.key] = self._clock() - began
        except EngineError as error:
            reason = str(error)
            self._failures[engine.key] = reason, self._clock()
        except Exception as error:  # the edge to code that may be a third party's
            log.exception("%s (%s) failed to load", engine.id, engine.role)
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            self._failures[engine.key] = reason, self._clock()
        if reason:
            log.warning("%s (%s) is not live: %s", engine.id, engine.role, reason)


async def _finished(task: asyncio.Task[None]) -> None:
    """Wait for the task without cancelling it, or being cancelled with it."""
    await asyncio.wait((task,))
    if not task.cancelled():
        task.result()
