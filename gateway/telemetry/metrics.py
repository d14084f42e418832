"""What this process counts and measures, as Prometheus metrics.

Rules
- One registry of our own per process. Labels are closed sets (channels, end reasons, route
  patterns, engines): nothing a client sends becomes one.
- What others know (queues, memory, files) is read by ``refresh``: before each answer to /metrics,
  and every ``REFRESH_SECONDS``. The database is read every ``BACKLOG_SECONDS``.
- With PROMETHEUS_MULTIPROC_DIR set, the processes of one machine share their metrics through files
  in that directory, and any of them answers for all
  (https://prometheus.github.io/client_python/multiprocess/). Whoever starts the processes empties
  the directory before, and calls ``forget_process`` after the end of each. prometheus_client reads
  the variable by itself, when it is imported.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from pipelines.engines.base import HearingLoad
from pipelines.engines.executor import watched_executors
from sessions.admission import Admission, Reason
from sessions.core.commands import Command, Publish
from sessions.core.events import (
    CallResumed,
    Event,
    FinalTranscript,
    ReplyFailed,
    ReplyGenerated,
    TranscriptionWaits,
)
from sessions.core.notices import Latency
from sessions.fanout import Fanout
from sessions.host import CallObserver, CallRequest
from sessions.persistence import CallJournal
from store.errors import StoreError
from store.tenants.jobs import Backlog

if TYPE_CHECKING:  # the engine process, which uses this too, has no calls
    from gateway.channels.webrtc.peer import Network

log = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0
BACKLOG_SECONDS = 15.0
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10)
_CALL_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
_REASONS = frozenset(
    {
        "client_hangup",
        "ended",
        "hangup",
        "internal_error",
        "max_duration",
        "moved",
        "peer_gone",
        "peer_lost",
        "resumed_elsewhere",
        "server_shutdown",
        "slow_reader",
    }
)


class _Registry:
    """Makes metrics, all named ``blab_…``, and renders them."""

    def __init__(self, shared: Path | None) -> None:
        self._registry = CollectorRegistry()
        self._shared = shared

    def counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"blab_{name}", what, labels, registry=self._registry)

    def gauge(self, name: str, what: str, *labels: str, shared: Any = "livesum") -> Gauge:
        """``shared``: how the values of several processes become one."""
        return Gauge(
            f"blab_{name}", what, labels, registry=self._registry, multiprocess_mode=shared
        )

    def histogram(self, name: str, what: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"blab_{name}", what, labels, registry=self._registry, buckets=buckets)

    async def render(self) -> bytes:
        """The text format 0.0.4, of all processes that share a directory."""
        if self._shared is None:
            return generate_latest(self._registry)
        return await asyncio.to_thread(_render_shared, self._shared)


def _render_shared(directory: Path) -> bytes:
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_process(pid: int, directory: Path) -> None:
    """A process that shared its metrics has ended: drop its gauges, keep what it counted."""
    multiprocess.mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]


class Metrics:
    """Counts what happens in this process."""

    def __init__(self, shared: Path | None = None) -> None:
        """``shared``: the directory of the metrics that several processes share."""
        make = self._registry = _Registry(shared)
        self._readers: list[Callable[[], None]] = [_ProcessFigures(make).read]
        self._backlog: Callable[[], Awaitable[Sequence[Backlog]]] | None = None
        self._calls = make.counter("calls", "Calls ended", "channel", "reason")
        self._call_seconds = make.histogram(
            "call_seconds", "Duration of calls", _CALL_SECONDS, "channel"
        )
        self._refusals = make.counter("calls_refused", "Calls refused", "reason")
        for reason in Reason:
            self._refusals.labels(reason)
        self._resumed = make.counter("calls_resumed", "Calls that went on after an interruption")
        self._empty_answers = make.counter(
            "empty_answers",
            "Replies whose chat model had nothing to say: answered when asked again, or failed",
            "outcome",
        )
        self._stages = make.histogram(
            "turn_stage_seconds",
            "Where the waiting time of a turn went, by stage; total: all but heard",
            _STAGE_SECONDS,
            "channel",
            "stage",
        )
        self._speculations = make.counter(
            "speculative_replies",
            "Replies begun before the end of the turn was certain, of answered turns",
            "outcome",
        )
        self._discarded_tokens = make.counter(
            "discarded_tokens",
            "Tokens of discarded speculative replies, estimated at four characters each",
        )
        self._prompt_tokens = make.counter(
            "prompt_tokens",
            "Tokens of the prompts of replies; cached: read by the chat model before",
            "cached",
        )
        self._waits = make.counter(
            "utterances_waited", "Utterances of calls that waited for a recogniser"
        )
        self._wait_seconds = make.histogram(
            "utterance_wait_seconds",
            "From the request to the final transcript of such utterances",
            _STAGE_SECONDS,
        )
        self._lag = make.histogram(
            "event_loop_lag_seconds", "How late timers of the event loop ran", _LAG_SECONDS
        )
        self._requests = make.counter("http_requests", "HTTP requests", "method", "route", "status")
        self._request_seconds = make.histogram(
            "http_request_seconds", "Time to answer, calls excluded", _SECONDS, "route"
        )

    # ------------------------------------------------------------------ what is read

    def watch_calls(self, count: Callable[[], int], admission: Admission) -> None:
        """Report the calls in progress, and how many there may be."""
        active = self._registry.gauge("calls_active", "Calls in progress")
        capacity = self._registry.gauge("calls_capacity", "Calls that may be in progress at once")

        def read() -> None:
            active.set(count())
            capacity.set(admission.capacity)

        self._readers.append(read)

    def watch_engines(self, loads: Callable[[], Mapping[str, HearingLoad]]) -> None:
        """Report the utterances of each transcriber of calls, and the queues and service times of
        this process's embedded engines."""
        self._watch_hearing(loads)
        make, names = self._registry, ("role", "engine")
        running = make.gauge("engine_running", "Requests that an engine is carrying out", *names)
        waiting = make.gauge("engine_waiting", "Requests that wait for an engine", *names)
        what = "Time of an engine's requests in the queue, and in the engine"
        seconds = make.histogram("engine_seconds", what, _SECONDS, *names, "part")

        def read() -> None:
            for executor in watched_executors():
                engine = executor.role, executor.name
                at_work = min(executor.pending, executor.workers)
                running.labels(*engine).set(at_work)
                waiting.labels(*engine).set(executor.pending - at_work)
                for waited, ran in executor.take_served():
                    seconds.labels(*engine, "queue").observe(waited)
                    seconds.labels(*engine, "service").observe(ran)

        self._readers.append(read)

    def _watch_hearing(self, loads: Callable[[], Mapping[str, HearingLoad]]) -> None:
        make, what = self._registry, "Utterances being transcribed"
        running = make.gauge("utterances_transcribed", what, "engine")
        what = "Utterances that wait to be transcribed"
        waiting = make.gauge("utterances_waiting", what, "engine")

        def read() -> None:
            for engine, load in loads().items():
                running.labels(engine).set(load.running)
                waiting.labels(engine).set(load.waiting)

        self._readers.append(read)

    def watch_network(self, take: "Callable[[], Iterable[Network]]") -> None:
        """Report how the network carries WebRTC calls; ``take`` counts from its last call on."""
        make = self._registry
        packets = make.counter(
            "webrtc_packets", "Packets of voice: received, or lost", "direction", "outcome"
        )
        what = "Variation of the packets' delay (RFC 3550)"
        jitter = make.histogram("webrtc_jitter_seconds", what, _LAG_SECONDS, "direction")
        what = "Round trip between the server and a caller"
        round_trip = make.histogram("webrtc_round_trip_seconds", what, _SECONDS)

        def read() -> None:
            for call in take():
                packets.labels("received", "received").inc(call.received)
                packets.labels("received", "lost").inc(call.lost)
                packets.labels("sent", "received").inc(call.sent_received)
                packets.labels("sent", "lost").inc(call.sent_lost)
                for direction, value in (("received", call.jitter), ("sent", call.sent_jitter)):
                    if value is not None:
                        jitter.labels(direction).observe(value)
                if call.round_trip is not None:
                    round_trip.observe(call.round_trip)

        self._readers.append(read)

    def watch_writers(self, fanout: Fanout, journal: CallJournal) -> None:
        """Report what waits to be written, and what was dropped."""
        waiting = self._registry.gauge(
            "writes_waiting", "Events and journal entries that wait to be written", "writer"
        )
        dropped = self._registry.counter(
            "writes_dropped", "Events and journal entries that were never written", "writer"
        )
        writers: dict[str, Fanout | CallJournal] = {"fanout": fanout, "journal": journal}
        counted = dict.fromkeys(writers, 0)
        for name in writers:
            dropped.labels(name)

        def read() -> None:
            for name, writer in writers.items():
                waiting.labels(name).set(writer.waiting)
                dropped.labels(name).inc(writer.dropped - counted[name])
                counted[name] = writer.dropped

        self._readers.append(read)

    def watch_backlog(self, backlog: Callable[[], Awaitable[Sequence[Backlog]]]) -> None:
        """Report the jobs that wait or run, of all nodes."""
        self._backlog = backlog
        self._types: set[str] = set()
        """The types of jobs that were seen."""
        self._jobs = self._registry.gauge(
            "jobs", "Jobs that wait or run", "type", "status", shared="livemostrecent"
        )
        self._job_age = self._registry.gauge(
            "job_wait_seconds",
            "How long the oldest job of a type has waited",
            "type",
            shared="livemostrecent",
        )

    # ------------------------------------------------------------------ what happens

    def observer(self, request: CallRequest, channel: str) -> CallObserver:
        """Follows one call, for the session host."""
        return CallMeter(self, request.call_id, channel)

    def call_ended(self, channel: str, reason: str, seconds: float) -> None:
        """A call is over, after so many seconds."""
        self._calls.labels(channel, reason if reason in _REASONS else "other").inc()
        self._call_seconds.labels(channel).observe(seconds)

    def call_refused(self, reason: str) -> None:
        """A call was refused before it began; ``reason``: one of our own words."""
        self._refusals.labels(reason).inc()

    def call_resumed(self) -> None:
        """A call goes on whose connection or node was lost."""
        self._resumed.inc()

    def empty_answer(self, outcome: str) -> None:
        """A chat model returned nothing; ``outcome``: "retried" (and answered), or "failed"."""
        self._empty_answers.labels(outcome).inc()

    def turn_answered(self, channel: str, latency: Latency) -> None:
        """The caller has begun to hear the answer to a turn."""
        stages = {
            "endpointing": latency.endpointing_ms,
            "transcript": latency.stt_ms,
            "first_token": latency.first_token_ms,
            "first_clause": latency.llm_ms - latency.first_token_ms,
            "first_audio": latency.tts_ms,
            "sent": latency.gateway_ms,
            "heard": latency.heard_ms,
            "total": latency.total_ms,
        }
        for stage, milliseconds in stages.items():
            if milliseconds is not None:
                self._stages.labels(channel, stage).observe(milliseconds / 1000)
        self._speculations.labels("kept").inc(latency.head_start_ms > 0)
        self._speculations.labels("discarded").inc(latency.discarded_replies)
        self._discarded_tokens.inc(latency.discarded_tokens)

    def prompt_read(self, tokens: int, cached: int) -> None:
        """A reply was generated; its prompt had ``tokens``, of which ``cached`` were known."""
        self._prompt_tokens.labels("yes").inc(cached)
        self._prompt_tokens.labels("no").inc(max(0, tokens - cached))

    def utterance_waits(self, seconds: float | None) -> None:
        """An utterance waits for a recogniser; or, with ``seconds``, has waited so long."""
        if seconds is None:
            self._waits.inc()
        else:
            self._wait_seconds.observe(seconds)

    def loop_lagged(self, seconds: float) -> None:
        """A timer of the event loop ran so late."""
        self._lag.observe(seconds)

    def request_done(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``route``: the pattern, not the path."""
        self._requests.labels(method, route, str(status)).inc()
        if status != 101:
            self._request_seconds.labels(route).observe(seconds)

    # ------------------------------------------------------------------ output

    def refresh(self) -> None:
        """Read what others know."""
        for read in self._readers:
            read()

    async def render(self) -> bytes:
        """All metrics, in Prometheus' text format 0.0.4."""
        self.refresh()
        return await self._registry.render()

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """For ``cleanup_ctx``: refresh while the application runs."""
        tasks = [asyncio.create_task(self.keep_fresh(), name="metrics")]
        if self._backlog is not None:
            tasks.append(asyncio.create_task(self._count_jobs(self._backlog), name="job-metrics"))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def keep_fresh(self) -> None:
        """Refresh until cancelled."""
        while True:
            self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    async def _count_jobs(self, backlog: Callable[[], Awaitable[Sequence[Backlog]]]) -> None:
        while True:
            try:
                found = await backlog()
            except StoreError as error:
                log.debug("the jobs could not be counted: %s", error)
                await asyncio.sleep(BACKLOG_SECONDS)
                continue
            by_type = {jobs.type: jobs for jobs in found}
            self._types |= by_type.keys()
            for kind in self._types:
                jobs = by_type.get(kind, Backlog(kind))
                self._jobs.labels(kind, "queued").set(jobs.queued)
                self._jobs.labels(kind, "running").set(jobs.running)
                self._job_age.labels(kind).set(jobs.oldest_seconds)
            await asyncio.sleep(BACKLOG_SECONDS)


class _ProcessFigures:
    """Memory, open files, threads and tasks of this process."""

    def __init__(self, make: _Registry) -> None:
        self._resident = make.gauge(
            "process_resident_bytes", "Resident memory of a gateway process", shared="liveall"
        )
        self._files = make.gauge(
            "process_open_files", "File descriptors of a gateway process", shared="liveall"
        )
        self._threads = make.gauge(
            "process_threads", "Threads of Python in a gateway process", shared="liveall"
        )
        self._tasks = make.gauge(
            "process_tasks", "Tasks of a gateway process's event loop", shared="liveall"
        )
        self._page = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> None:
        """For ``Metrics.refresh``."""
        self._threads.set(threading.active_count())
        self._tasks.set(len(asyncio.all_tasks()))
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            files = len(os.listdir("/proc/self/fd"))
        except OSError:  # not Linux, or out of descriptors
            return
        self._resident.set(pages * self._page)
        self._files.set(files)


class CallMeter:
    """Counts what one call publishes; see CallObserver."""

    def __init__(self, metrics: Metrics, call_id: str, channel: str) -> None:
        self._metrics = metrics
        self._call_id = call_id
        self._channel = channel
        self._began = asyncio.get_running_loop().time()
        self._has_waited = False

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:  # noqa: ARG002
        """Count waiting times, tokens and empty answers."""
        for command in commands:
            if isinstance(command, Publish) and isinstance(command.notice, Latency):
                self._metrics.turn_answered(self._channel, command.notice)
        match event:
            case ReplyGenerated():
                self._metrics.prompt_read(event.prompt_tokens, event.cached_tokens)
                if event.empty:
                    self._metrics.empty_answer("retried")
            case ReplyFailed() if event.empty:
                self._metrics.empty_answer("failed")
            case CallResumed():
                self._metrics.call_resumed()
            case TranscriptionWaits():
                self._note_wait(event)
            case FinalTranscript() if event.waited:
                self._metrics.utterance_waits(event.waited)

    def ended(self, reason: str) -> None:
        """Count the call."""
        seconds = asyncio.get_running_loop().time() - self._began
        self._metrics.call_ended(self._channel, reason, seconds)

    def _note_wait(self, event: TranscriptionWaits) -> None:
        if not self._has_waited:
            self._has_waited = True
            log.warning(
                "call %s waits for speech recognition, %d ahead of it", self._call_id, event.ahead
            )
        self._metrics.utterance_waits(None)
