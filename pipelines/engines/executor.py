"""EngineExecutor: the bounded threads on which one engine's blocking vendor code runs.

Rules
- At most ``workers`` calls run and ``queue_limit`` wait, in a line for each flow (``fair_queue``);
  one more is refused with EngineBusy, or takes the place of the longest line's newest.
- Every call has a deadline in seconds, its time in the queue included. A call that is still
  waiting then is dropped. One that is running cannot be stopped from outside: its awaiter gets
  EngineTimeout, its thread is written off as stuck and a fresh one takes its place, so that the
  engine goes on. At most ``2 * workers`` threads may be stuck at once; after that calls fail
  with EngineFailed until one of them returns.
- Cancelling an awaiter drops work that has not begun. Work that has begun ends by itself (and is
  still held to its deadline); its result is dropped.
- EngineErrors raised by the work pass through. Any other exception is logged and becomes an
  EngineFailed whose message shows nothing of the vendor's.

Threads are daemons: a stuck one must not keep the process from exiting.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from enum import Enum, auto
from threading import Condition, Thread, current_thread
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from .base import EngineBusy, EngineError, EngineFailed, EngineTimeout
from .fair_queue import FLOW, FairQueue
from .handoff import Handoff, HandoffEnded

log = logging.getLogger(__name__)

T = TypeVar("T")

STREAM_LIMIT = 64
"""Items buffered between a producing thread and its consumer by default."""

MOST_SERVED = 4096
"""Calls of an executor whose times are kept until somebody takes them; the oldest are dropped."""

STREAM_PATIENCE = 60.0
"""Seconds a producer waits for a consumer that takes nothing."""


class _State(Enum):
    QUEUED = auto()
    RUNNING = auto()
    DONE = auto()
    DROPPED = auto()
    """Never begun: cancelled or expired in the queue."""
    STUCK = auto()
    """Running beyond its deadline; its thread has been replaced."""


class _Job(Generic[T]):
    """One call on its way through the executor; ``state`` changes under the executor's lock."""

    __slots__ = ("done", "flow", "loop", "since", "state", "timer", "work")

    def __init__(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.flow = FLOW.get()
        self.done: asyncio.Future[T] = loop.create_future()
        self.state = _State.QUEUED
        self.since = time.monotonic()
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, result: T | None, error: BaseException | None) -> None:
        """Wake the awaiter, if there still is one. Runs on the loop."""
        if self.timer is not None:
            self.timer.cancel()
        if self.done.done():
            return
        if error is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(result)  # type: ignore[arg-type]


class EngineExecutor:
    """A bounded pool of threads with deadlines, for one engine."""

    def __init__(self, name: str, workers: int, queue_limit: int, role: str = "") -> None:
        """``role``: the engine's, if it is to be watched (``watched_executors``)."""
        if workers < 1 or queue_limit < 0:
            raise ValueError("workers must be at least 1 and queue_limit at least 0")
        self.name = name
        self.workers = workers
        self.queue_limit = queue_limit
        self._lock = Condition()
        """Notified when there is work, or no more of it."""
        self._jobs: FairQueue[_Job[Any]] = FairQueue()
        self._threads: set[Thread] = set()
        self._pending = 0
        self._live = 0
        self._stuck = 0
        self._serial = 0
        self._closed = False
        self._open: set[_Job[Any]] = set()
        self.role = role
        self._served: deque[tuple[float, float]] = deque(maxlen=MOST_SERVED)
        if role:
            _WATCHED.add(self)

    @property
    def closed(self) -> bool:
        """Whether new calls are refused for good."""
        return self._closed

    def take_served(self) -> list[tuple[float, float]]:
        """The calls that ended since this was last called: seconds in the queue, and at work."""
        taken = []
        while self._served:
            taken.append(self._served.popleft())
        return taken

    @property
    def pending(self) -> int:
        """Calls that run or wait, stuck ones not counted."""
        return self._pending

    @property
    def stuck(self) -> int:
        """Threads written off that have not come back yet."""
        return self._stuck

    async def run(self, fn: Callable[..., T], *args: Any, deadline: float) -> T:
        """``fn(*args)`` on one of the threads, within ``deadline`` seconds from now.

        Raises EngineBusy (queue full), EngineTimeout (deadline passed), EngineFailed (the
        work raised, or the executor is closed or stuck), or the EngineError the work raised."""
        job = self._submit(lambda: fn(*args))
        job.timer = job.loop.call_later(deadline, self._expire, job, deadline)
        try:
            return await job.done
        except asyncio.CancelledError:
            self._drop(job)
            raise

    async def stream(
        self,
        produce: Callable[[Callable[[T], bool]], object],
        *,
        deadline: float,
        limit: int = STREAM_LIMIT,
    ) -> AsyncGenerator[T, None]:
        """The items that ``produce(emit)`` emits while it runs on one of the threads.

        ``emit(item)`` may be called from any thread; it waits while ``limit`` items are not
        taken yet and returns False once the consumer has gone: ``produce`` must then return.
        ``deadline`` is the longest wait in seconds for the next item, the first one included,
        and what ``produce`` has to return after the consumer has gone. Errors as ``run``,
        after the items emitted before them."""
        handoff: Handoff[T] = Handoff(asyncio.get_running_loop(), limit, STREAM_PATIENCE)
        job = self._submit(lambda: produce(handoff.emit))
        job.done.add_done_callback(lambda done: handoff.end(_error_of(done)))
        try:
            while True:
                yield await handoff.take(deadline)
        except HandoffEnded:
            return
        except TimeoutError:
            self._expire(job, deadline)
            raise self._timeout(deadline) from None
        finally:
            handoff.stop()
            if not self._drop(job) and job.state is _State.RUNNING:
                job.timer = job.loop.call_later(deadline, self._expire, job, deadline)

    def iterate(
        self, make: Callable[[], Iterable[T]], *, deadline: float, limit: int = STREAM_LIMIT
    ) -> AsyncGenerator[T, None]:
        """The items of a blocking iterable that is made and walked on one of the threads.

        As ``stream``; a generator is closed on its own thread when the consumer has gone."""

        def produce(emit: Callable[[T], bool]) -> None:
            items = make()
            try:
                for item in items:
                    if not emit(item):
                        return
            finally:
                close = getattr(items, "close", None)
                if close is not None:
                    close()

        return self.stream(produce, deadline=deadline, limit=limit)

    async def close(self, deadline: float = 5.0) -> bool:
        """Refuse new calls, fail the waiting ones, let the running ones end.

        True when every thread has ended within ``deadline`` seconds. Harmless when repeated."""
        with self._lock:
            self._closed = True
            waiting = [job for job in self._open if job.state is _State.QUEUED]
            threads = list(self._threads)
            self._lock.notify_all()
        for job in waiting:
            self._drop(job)
            job.settle(None, EngineFailed(f"{self.name}: the engine is shutting down"))
        return await asyncio.to_thread(_join_all, threads, time.monotonic() + deadline)

    def _submit(self, work: Callable[[], T]) -> _Job[T]:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise EngineFailed(f"{self.name}: the engine is shutting down")
            if self._stuck >= 2 * self.workers:
                raise EngineFailed(f"{self.name}: the engine does not answer; restart the server")
            job = _Job(work, loop)
            if self._pending >= self.workers + self.queue_limit:
                self._make_room(job.flow)
            self._open.add(job)
            self._pending += 1
            if self._live < min(self.workers, self._pending):
                self._start_thread()
            self._jobs.push(job, job.flow)
            self._lock.notify()
        return job

    def _make_room(self, flow: str) -> None:
        """Drop another flow's newest job for one of ``flow``; raises EngineBusy. Under the lock."""
        busy = EngineBusy(f"{self.name}: {self._pending} calls are under way; try later")
        dropped = self._jobs.displaced(flow)
        if dropped is None:
            raise busy
        dropped.state = _State.DROPPED
        self._forget(dropped)
        dropped.loop.call_soon_threadsafe(dropped.settle, None, busy)

    def _start_thread(self) -> None:
        """Add a worker; called under the lock."""
        self._serial += 1
        self._live += 1
        thread = Thread(target=self._work, name=f"{self.name}-{self._serial}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        """One worker thread: jobs until the executor is closed or its own job got stuck."""
        replaced = False
        while not replaced and (job := self._next()) is not None:
            replaced = self._carry_out(job)
            del job  # an idle worker must not keep audio alive
        with self._lock:
            self._threads.discard(current_thread())
            if replaced:
                self._stuck -= 1
            else:
                self._live -= 1

    def _next(self) -> _Job[Any] | None:
        """The next job, waiting for one; None once the executor is closed."""
        with self._lock:
            while not self._jobs:
                if self._closed:
                    return None
                self._lock.wait()
            job = self._jobs.pop()
            job.state = _State.RUNNING
            return job

    def _carry_out(self, job: _Job[Any]) -> bool:
        """Run ``job`` and notify its loop; True when it took so long that it was written off."""
        result, error = self._perform(job)
        with self._lock:
            replaced = job.state is _State.STUCK
            if not replaced:
                job.state = _State.DONE
                self._forget(job)
        try:
            job.loop.call_soon_threadsafe(job.settle, result, error)
        except RuntimeError:
            log.debug("%s: a call outlived its event loop", self.name)
        return replaced

    def _perform(self, job: _Job[T]) -> tuple[T | None, BaseException | None]:
        began = time.monotonic()
        try:
            return job.work(), None
        except EngineError as error:
            return None, error
        except BaseException as error:  # the edge to vendor code: whatever it raises ends here
            log.error("%s: the engine failed", self.name, exc_info=error)
            return None, EngineFailed(f"{self.name}: the engine failed ({type(error).__name__})")
        finally:
            self._served.append((began - job.since, time.monotonic() - began))

    def _expire(self, job: _Job[Any], deadline: float) -> None:
        """The deadline of ``job`` has passed."""
        with self._lock:
            if job.state is _State.QUEUED:
                self._unqueue(job)
            elif job.state is _State.RUNNING:
                job.state = _State.STUCK
                self._forget(job)
                self._stuck += 1
                self._live -= 1
                if not self._closed:
                    self._start_thread()
                log.error("%s: a call has been stuck for %.1f s", self.name, deadline)
            else:
                return
        job.settle(None, self._timeout(deadline))

    def _drop(self, job: _Job[Any]) -> bool:
        """Take ``job`` out of the queue; False when it has begun or is over."""
        with self._lock:
            if job.state is not _State.QUEUED:
                return False
            self._unqueue(job)
        if job.timer is not None:
            job.timer.cancel()
        return True

    def _unqueue(self, job: _Job[Any]) -> None:
        """Take a waiting job out; called under the lock."""
        self._jobs.remove(job, job.flow)
        job.state = _State.DROPPED
        self._forget(job)

    def _forget(self, job: _Job[Any]) -> None:
        """Book ``job`` as no longer pending; called under the lock, once a job."""
        self._open.discard(job)
        self._pending -= 1

    def _timeout(self, deadline: float) -> EngineTimeout:
        return EngineTimeout(f"{self.name}: no answer within {deadline:g} s")


_WATCHED: WeakSet[EngineExecutor] = WeakSet()


def watched_executors() -> list[EngineExecutor]:
    """The open executors of this process that have a role."""
    return [one for one in _WATCHED if not one.closed]


def _error_of(done: "asyncio.Future[Any]") -> BaseException | None:
    return None if done.cancelled() else done.exception()


def _join_all(threads: list[Thread], expires: float) -> bool:
    for thread in threads:
        thread.join(max(0.0, expires - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
