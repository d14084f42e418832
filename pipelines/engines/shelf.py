"""Shelf: the engines of this process that can be loaded, each at most once.

Rules
- An engine is loaded by ``load`` (the live ones, at start) or by the first ``fetch`` of it, one
  loading for all who ask; ``LOADS_AT_ONCE`` at a time. Who gives up waiting does not stop it.
- An engine that cannot be loaded is told with a reason. Weights that are missing are looked for
  again every ``LOOK_SECONDS``; those that are there are not expected to go. What failed otherwise
  is tried again after ``RETRY_SECONDS``, but for the live engines of a server that has started:
  calls cannot count on those.
- The plans are made when they are first needed, and anew by ``load``: what is the best chat model
  depends on the weights that are there.
- ``close`` ends what is loading and closes what is loaded.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from .base import EngineError, ModelUnavailable
from .plan import Plan
from .status import EngineStatus, Role

log = logging.getLogger(__name__)

Key = tuple[Role, str]
Progress = Callable[[EngineStatus], None]
"""Told when an engine begins to load (reason ``loading``) and when it is live or not."""

LOADING = "loading"
LOADS_AT_ONCE = 2
LOOK_SECONDS = 1.0
RETRY_SECONDS = 30.0


class Shelf:
    """Loads plans and keeps what they give."""

    def __init__(
        self,
        plans: Callable[[], Iterable[Plan]],
        lack: Callable[[Plan], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``lack`` says what weights a plan lacks, or nothing; it looks at the disk."""
        self._make_plans = plans
        self._lack = lack
        self._clock = clock
        self._plans: dict[Key, Plan] | None = None
        self._engines: dict[Key, Any] = {}
        self._seconds: dict[Key, float] = {}
        self._failures: dict[Key, tuple[str, float]] = {}
        """Why and when an engine could not be loaded."""
        self._lacks: dict[Key, tuple[str, float]] = {}
        """What weights an engine lacks, and when that was looked at."""
        self._loading: dict[Key, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(LOADS_AT_ONCE)
        self._started = False
        self._closed = False

    # ------------------------------------------------------------------------------ what there is

    def plan(self, role: Role, model_id: str) -> Plan | None:
        """The plan of an engine, if there is one."""
        return self._planned().get((role, model_id))

    def of(self, role: Role) -> list[Plan]:
        """The plans of a role, best first."""
        return [plan for plan in self._planned().values() if plan.role is role]

    def loaded(self, role: Role, model_id: str) -> Any | None:
        """The engine, if it is loaded."""
        return self._engines.get((role, model_id))

    def status(self, role: Role, model_id: str) -> EngineStatus | None:
        """How an engine does, None for one that has no plan."""
        plan = self.plan(role, model_id)
        return self._status(plan) if plan is not None else None

    def statuses(self) -> tuple[EngineStatus, ...]:
        """How every engine does."""
        return tuple(self._status(plan) for plan in self._planned().values())

    # ------------------------------------------------------------------------------ loading

    async def load(self, progress: Progress = lambda _: None) -> None:
        """Load every live engine; see ``statuses`` for how it went."""
        self._started = True
        kept = self._plans or {}
        busy = self._engines.keys() | self._loading.keys()
        fresh = {(plan.role, plan.model_id): plan for plan in self._make_plans()}
        self._plans = fresh | {key: plan for key, plan in kept.items() if key in busy}
        live = [plan for plan in self._plans.values() if not plan.lazy]
        await asyncio.gather(*(_landed(self._flight(plan, progress)) for plan in live))

    async def fetch(self, role: Role, model_id: str) -> Any:
        """The engine, loaded first where it is not. Raises ModelUnavailable with the reason."""
        plan = self.plan(role, model_id)
        if plan is None:
            raise ModelUnavailable(f"there is no {role} engine {model_id!r}")
        key = (role, model_id)
        if key not in self._engines:
            status = self._status(plan)
            if status.live or key in self._loading:
                await _landed(self._flight(plan))
        if key not in self._engines:
            raise ModelUnavailable(f"{model_id} cannot be used: {self._status(plan).reason}")
        return self._engines[key]

    def adopt(self, plan: Plan, engine: Any) -> None:
        """Take an engine in that was loaded elsewhere, as the best of its role."""
        key = (plan.role, plan.model_id)
        self._plans = {key: plan} | {k: p for k, p in self._planned().items() if k != key}
        self._engines[key] = engine

    async def retire(self, role: Role, model_id: str) -> None:
        """Close an engine as soon as it is idle; whoever names it later has it loaded again."""
        key = (role, model_id)
        plan, engine = self._planned()[key], self._engines.pop(key)
        self._planned()[key] = replace(plan, lazy=True)
        if hasattr(engine, "idle"):
            await engine.idle()
        await engine.close()

    async def close(self) -> None:
        """Close every engine. Harmless when repeated."""
        self._closed = True
        flights = list(self._loading.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        engines = {id(engine): engine for engine in self._engines.values()}
        self._engines.clear()
        closing = [engine.close() for engine in engines.values() if hasattr(engine, "close")]
        await asyncio.gather(*closing)

    # ------------------------------------------------------------------------------ inside

    def _planned(self) -> dict[Key, Plan]:
        if self._plans is None:
            self._plans = {(plan.role, plan.model_id): plan for plan in self._make_plans()}
        return self._plans

    def _status(self, plan: Plan) -> EngineStatus:
        key = (plan.role, plan.model_id)
        if self._closed:
            reason = "shut down"
        elif key in self._loading:
            reason = LOADING
        elif key in self._engines:
            reason = ""
        else:
            reason = self._failure(plan) or self._lacking(plan) or self._needs(plan)
        return EngineStatus(
            plan.model_id, plan.role, not reason, reason, self._seconds.get(key, 0.0),
            plan.languages, loaded=key in self._engines,
        )  # fmt: skip

    def _failure(self, plan: Plan) -> str:
        reason, since = self._failures.get((plan.role, plan.model_id), ("", 0.0))
        final = self._started and not plan.lazy
        return reason if final or self._clock() - since < RETRY_SECONDS else ""

    def _lacking(self, plan: Plan) -> str:
        key, now = (plan.role, plan.model_id), self._clock()
        lack, since = self._lacks.get(key, ("", now))
        if key not in self._lacks or (lack and now - since >= LOOK_SECONDS):
            lack = self._lack(plan)
            self._lacks[key] = lack, now
        return lack

    def _needs(self, plan: Plan) -> str:
        """What an engine that it is made of lacks."""
        for role, model_id in plan.needs:
            status = self.status(role, model_id)
            if status is None or (not status.live and status.reason != LOADING):
                return f"it needs {model_id}: {status.reason if status else 'not planned'}"
        return ""

    def _flight(self, plan: Plan, progress: Progress = lambda _: None) -> asyncio.Task[None]:
        """The loading of an engine that is under way, or a new one."""
        key = (plan.role, plan.model_id)
        flight = self._loading.get(key)
        if flight is None:
            flight = asyncio.create_task(self._load(plan, progress), name=f"load {plan.model_id}")
            self._loading[key] = flight
        return flight

    async def _load(self, plan: Plan, progress: Progress) -> None:
        key = (plan.role, plan.model_id)
        try:
            if key not in self._engines and not self._closed:
                await self._load_now(plan, progress)
        finally:
            del self._loading[key]
        progress(self._status(plan))

    async def _load_now(self, plan: Plan, progress: Progress) -> None:
        key = (plan.role, plan.model_id)
        reason = ""
        try:
            parts = [await self.fetch(*need) for need in plan.needs]
            async with self._gate:
                progress(self._status(plan))
                begun = self._clock()
                reason = await asyncio.to_thread(self._lack, plan)
                if not reason:
                    self._engines[key] = await plan.load(*parts)
                self._seconds[key] = self._clock() - begun
        except EngineError as error:
            reason = str(error)
            self._failures[key] = reason, self._clock()
        if reason:
            log.warning("%s (%s) is not live: %s", plan.model_id, plan.role, reason)


async def _landed(flight: asyncio.Task[None]) -> None:
    """Wait for it without stopping it, or being stopped with it."""
    await asyncio.wait((flight,))
    if not flight.cancelled():
        flight.result()
