"""Startup: the engines of a server on their way: weights fetched, engines loaded, then warm.

Rules
- The server answers before its engines do; ``waiting`` says what is being waited for.
- Weights that cannot be fetched are logged, and the others are loaded all the same.
- One embedded chat model is loaded, for its memory: the configured one, else the larger one where
  it has proven fast enough on this machine, else the best of the profile whose weights are there.
  Where the larger one may be fast enough (see ``chat.choice``) it is tried in the background, and
  replaces the small one.
- What is loaded in the background (``Engine.background``) comes when calls are ready, its weights
  too; an engine that is not to be had then is tried again every ``AGAIN_SECONDS``.
- Loading takes processor time and holds the GIL for up to seconds, so it begins while nobody calls;
  an engine that calls may need waits ``PATIENCE_SECONDS`` for that, the larger chat model as long
  as it takes.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pipelines.weights.manifest import FetchStopped, Model, WeightsError

from .base import ChatModel, EngineError, HearingLoad, ModelUnavailable
from .chat.choice import (
    CHAT_MODELS,
    COMING,
    GIVEN,
    LARGER,
    PROFILES,
    SMALLER,
    ChatChoice,
    Verdict,
    Verdicts,
    estimated,
    measured,
    too_little_memory,
)
from .engine import Engine, EngineSettings, Role, missing_files, weights_of
from .loading import Loader
from .openai_compatible import UpstreamModels
from .source import Wait, at_once

log = logging.getLogger(__name__)

Stop = Callable[[], bool]
Fetch = Callable[[Sequence[Model], Stop], None]
"""Fetch what is missing of these, blocking, until the function returns true. Raises
WeightsError."""

AGAIN_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
_HEARS = Role.TRANSCRIPTION
FETCHING, LOADING, READY, INCOMPLETE = "fetching", "loading", "ready", "incomplete"


class Startup:
    """An EngineSource: owns the loader from before anything is loaded until all is closed."""

    calls_elsewhere = 0
    """Engines of one process serve its calls alone."""

    def __init__(
        self,
        settings: EngineSettings,
        engines: Sequence[Engine],
        fetch: Fetch | None = None,
        *,
        on_stage: Callable[[str], None] = lambda _: None,
        on_chat_replaced: Callable[[ChatChoice], None] = lambda _: None,
    ) -> None:
        """See ``Catalogue``."""
        self.loader = Loader(settings, lambda: chosen(settings, engines))
        self.waiting: str | None = "The server is starting."
        """Why calls must wait for the start; None when it is over."""
        self.choice: ChatChoice | None = None
        """The embedded chat model that answers, as far as that was decided here."""
        self._settings = settings
        self._engines = engines
        self._fetch = fetch
        self._on_stage = on_stage
        self._on_chat_replaced = on_chat_replaced
        self._verdicts = Verdicts(settings.models_dir)
        self._growth: asyncio.Task[None] | None = None
        self._more: asyncio.Task[None] | None = None
        """The loading of engines in the background."""
        self._complete = asyncio.Event()
        self._quiet: Wait = at_once
        """Waits until nobody calls."""

    async def run(
        self, upstream: UpstreamModels, ready: Callable[[], bool], quiet: Wait, warm_up: Wait
    ) -> None:
        """Fetch, load and warm up; returns when all is done. ``ready``: whether calls would be
        answered."""
        self._quiet = quiet
        if self._fetch is not None:
            self._begin(FETCHING, "The models are being fetched.")
            try:
                await self._fetched(weights_for_calls(self._settings, self._engines))
            except FetchStopped:
                return
            except WeightsError as error:
                log.error("weights are missing: %s", error)
        self._begin(LOADING, "The models are being loaded.")
        await asyncio.gather(self.loader.load(), upstream.refresh())
        upstream.watch()
        await self.choose_chat()
        if ready():
            await warm_up()
        self._more = asyncio.create_task(self._load_background(), name="more engines")
        if self._fetch is not None:
            self._growth = asyncio.create_task(self._grow(), name="larger chat model")
        self._begin(READY if ready() else INCOMPLETE, None)

    async def complete(self) -> None:
        """Wait until every engine that is loaded in the background was tried once."""
        await self._complete.wait()

    def report_calls(self, active: int) -> None:
        """Nobody else needs to know."""

    def hearing_loads(self) -> dict[str, HearingLoad]:
        """How many utterances every loaded transcriber of calls has now."""
        loaded = ((one.id, self.loader.loaded.get(one.key)) for one in self.loader.of(_HEARS))
        loads = {model_id: getattr(engine, "load_now", None) for model_id, engine in loaded}
        return {name: load for name, load in loads.items() if isinstance(load, HearingLoad)}

    async def close(self) -> None:
        """End what is under way, and close the engines."""
        self.waiting = "The server is shutting down."
        behind = [task for task in (self._more, self._growth) if task is not None]
        for task in behind:
            task.cancel()
        await asyncio.gather(*behind, return_exceptions=True)
        await self.loader.close()

    # ------------------------------------------------------------------------------ chat model

    async def choose_chat(self) -> None:
        """Decide whether the larger chat model is worth having here; ``grow`` acts on it.

        Once for a machine this takes a few seconds of it: call it while nobody speaks."""
        if self._settings.chat_model is not None:
            return
        lack = await asyncio.to_thread(too_little_memory)
        verdict = await asyncio.to_thread(self._verdicts.read)
        if (Role.CHAT, LARGER) in self.loader.loaded:
            self.choice = ChatChoice(LARGER, verdict.reason if verdict else GIVEN)
        small = self.loader.loaded.get((Role.CHAT, SMALLER))
        if small is None:
            return
        if verdict is None and lack is None:
            verdict = await estimated(small)
            await asyncio.to_thread(self._verdicts.write, verdict)
        if lack is None and verdict is not None and verdict.hopeful:
            self.choice = ChatChoice(SMALLER, COMING, final=False)
        else:
            self.choice = ChatChoice(SMALLER, lack or (verdict.reason if verdict else GIVEN))

    async def grow(self) -> ChatChoice | None:
        """Load the larger chat model and let it answer from then on, where ``choose_chat`` found it
        worth having and it proves fast enough. Returns what answers now, and why; None where
        nothing was tried."""
        await self._quiet()
        larger = next((engine for engine in self._engines if engine.id == LARGER), None)
        if self.choice is None or self.choice.final or larger is None:
            return None
        try:
            await self._fetched(larger.weights)
            await self._quiet()
            model = await larger.load(self._settings)
            try:
                await self._quiet()
                self.choice = await self._tried(larger, model)
            finally:
                if self.loader.loaded.get(larger.key) is not model:
                    await model.close()
        except (WeightsError, EngineError) as error:
            self.choice = ChatChoice(SMALLER, f"{LARGER} could not be had: {error}")
        return self.choice

    async def _tried(self, larger: Engine, model: ChatModel) -> ChatChoice:
        verdict = Verdict(await measured(model), estimated=False)
        await asyncio.to_thread(self._verdicts.write, verdict)
        if not verdict.hopeful:
            return ChatChoice(SMALLER, verdict.reason)
        self.loader.adopt(larger, model)
        await self.loader.retire((Role.CHAT, SMALLER))
        return ChatChoice(LARGER, verdict.reason)

    async def _grow(self) -> None:
        await self.complete()
        choice = await self.grow()
        if choice is not None:
            self._on_chat_replaced(choice)

    # ------------------------------------------------------------------------------ inside

    async def _load_background(self) -> None:
        engines = [engine for engine in self.loader.engines.values() if engine.background]
        if self._fetch is not None:
            self.loader.fetched = frozenset(engine.key for engine in engines)
        try:
            await self._fetched(weights_of(engines))
        except FetchStopped:
            return
        except WeightsError as error:
            log.error("weights are missing: %s", error)
        finally:
            self.loader.fetched = frozenset()
        while missing := [engine for engine in engines if engine.key not in self.loader.loaded]:
            with contextlib.suppress(TimeoutError):  # once: they share a model
                await asyncio.wait_for(self._quiet(), PATIENCE_SECONDS)
            for engine in missing:
                try:
                    await self.loader.fetch(engine.key)
                except ModelUnavailable as error:
                    log.debug("%s: %s", engine.role, error)  # its status says so, too
            self._complete.set()
            await asyncio.sleep(AGAIN_SECONDS)
        self._complete.set()

    async def _fetched(self, models: Sequence[Model]) -> None:
        stop = threading.Event()
        try:
            if self._fetch is not None:
                await asyncio.to_thread(self._fetch, models, stop.is_set)
        finally:
            stop.set()

    def _begin(self, stage: str, waiting: str | None) -> None:
        self.waiting = waiting
        self._on_stage(stage)


# ---------------------------------------------------------------------------------- what is wanted


def wanted(settings: EngineSettings, engines: Iterable[Engine]) -> list[Engine]:
    """The engines that a deployment uses. Of the embedded chat models: the configured one, else
    those of the profile; none where another model is configured. An engine that is configured is
    one of calls, even if it is loaded on demand or in the background otherwise."""
    configured = frozenset(settings.configured())
    named = settings.chat_model
    chat = PROFILES[settings.profile] if named is None else (named,)
    return [
        replace(
            engine,
            on_demand=engine.on_demand and engine.key not in configured,
            background=engine.background and engine.key not in configured,
        )
        for engine in engines
        if engine.id not in CHAT_MODELS or engine.id in chat
    ]


def chosen(settings: EngineSettings, engines: Iterable[Engine]) -> list[Engine]:
    """The engines that are loaded: those that are ``wanted``, with one embedded chat model."""
    engines = list(engines)
    model_id = embedded_chat(settings, engines)
    found = [engine for engine in wanted(settings, engines) if engine.id not in CHAT_MODELS]
    return [*found, *(engine for engine in engines if engine.id == model_id)]


def embedded_chat(settings: EngineSettings, engines: Iterable[Engine]) -> str | None:
    """The embedded chat model to load; None where another one is configured."""
    if settings.chat_model is not None:
        return settings.chat_model if settings.chat_model in CHAT_MODELS else None
    weights = {engine.id: engine.weights for engine in engines if engine.id in CHAT_MODELS}

    def is_there(model_id: str) -> bool:
        models = weights.get(model_id)
        if models is None:
            return False
        return not any(missing_files(settings.models_dir, model) for model in models)

    if is_there(LARGER) and too_little_memory() is None:
        verdict = Verdicts(settings.models_dir).read()
        if verdict is not None and not verdict.estimated and verdict.hopeful:
            return LARGER
    profile = PROFILES[settings.profile]
    there = [model_id for model_id in profile if is_there(model_id)]
    return (there or profile)[0]


def weights_for_calls(settings: EngineSettings, engines: Iterable[Engine]) -> list[Model]:
    """The weights that calls wait for, in the order in which they are fetched."""
    return weights_of(
        engine
        for engine in wanted(settings, engines)
        if not engine.on_demand and not engine.background
    )


def weights_for_jobs(settings: EngineSettings, engines: Iterable[Engine]) -> list[Model]:
    """The weights that jobs need, or engines that are loaded in the background: no call waits for
    them."""
    engines = wanted(settings, engines)
    calls = weights_for_calls(settings, engines)
    return [model for model in weights_of(engines) if model not in calls]
