"""What an operator watches: /healthz, /readyz and /metrics.

/healthz answers while the process does; /readyz says whether a call would be answered. A check
returns None, or the reason why calls cannot be answered now. Checks run concurrently, each within
``_CHECK_SECONDS``; their outcome is cached for ``_CACHE_SECONDS``, so that frequent requests cannot
load the stores.

/metrics is one Prometheus registry of our own per process. Labels are closed sets (channels, end
reasons, route patterns): nothing a client sends becomes one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipelines.engines.base import HearingLoad
from rest.accounts.auth import Principal
from rest.http.errors import Forbidden
from sessions.core.notices import Latency
from store.errors import StoreError
from store.tenants.accounts import LOCAL_WORKSPACE

from .requests import is_loopback_request
from .responses import json_response

Check = Callable[[], Awaitable[str | None]]
_CHECK_SECONDS = 2.0
_CACHE_SECONDS = 0.5


class Health:
    """Answers /healthz and /readyz; ``checks`` by name."""

    def __init__(
        self, checks: Mapping[str, Check], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._cached: tuple[float, dict[str, str]] | None = None

    async def live(self, _request: web.Request) -> web.Response:
        """GET /healthz: 200 as long as the event loop turns."""
        return json_response({"status": "ok"})

    async def ready(self, _request: web.Request) -> web.Response:
        """GET /readyz: 200, or 503 with the reasons."""
        reasons = await self.reasons()
        if not reasons:
            return json_response({"ready": True})
        body = {"ready": False, "detail": " ".join(reasons.values()), "reasons": reasons}
        return json_response(body, status=503, headers={"Retry-After": "1"})

    async def reasons(self) -> dict[str, str]:
        """Name of each failing check and why; empty when a call would be answered."""
        now = self._clock()
        if self._cached is not None and self._cached[0] > now:
            return self._cached[1]
        outcomes = await asyncio.gather(*(_outcome(check) for check in self._checks.values()))
        reasons = {
            name: outcome
            for name, outcome in zip(self._checks, outcomes, strict=True)
            if outcome is not None
        }
        self._cached = (now + _CACHE_SECONDS, reasons)
        return reasons


async def _outcome(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return f"No answer within {_CHECK_SECONDS:g} s."
    except StoreError as error:
        return f"{error}."


# ------------------------------------------------------------------ /metrics

SCOPE = "usage:read"
Handler = Callable[[web.Request], Awaitable[web.Response]]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10)
_REASONS = frozenset(
    {
        "client_hangup",
        "ended",
        "hangup",
        "internal_error",
        "max_duration",
        "peer_gone",
        "server_shutdown",
        "slow_reader",
    }
)


class _Hearing(Collector):
    """Utterances by transcriber, read for each request of the metrics."""

    def __init__(self, loads: Callable[[], Mapping[str, HearingLoad]]) -> None:
        self._loads = loads

    def collect(self) -> Iterable[Metric]:
        """What Prometheus' client calls."""
        running = GaugeMetricFamily(
            "blab_utterances_transcribed", "Utterances being transcribed", labels=["engine"]
        )
        waiting = GaugeMetricFamily(
            "blab_utterances_waiting", "Utterances that wait to be transcribed", labels=["engine"]
        )
        for engine, load in self._loads().items():
            running.add_metric([engine], load.running)
            waiting.add_metric([engine], load.waiting)
        return (running, waiting)


class Metrics:
    """Counts what happens in this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "blab_calls", "Calls ended", ["channel", "reason"], registry=self._registry
        )
        self._refusals = Counter(
            "blab_calls_refused", "Calls refused", ["reason"], registry=self._registry
        )
        self._empty_answers = Counter(
            "blab_empty_answers",
            "Replies whose chat model had nothing to say: answered when asked again, or failed",
            ["outcome"],
            registry=self._registry,
        )
        self._stages = Histogram(
            "blab_turn_stage_seconds",
            "Where the waiting time of a turn went, by stage; total: all but heard",
            ["channel", "stage"],
            registry=self._registry,
            buckets=_STAGE_SECONDS,
        )
        self._speculations = Counter(
            "blab_speculative_replies",
            "Replies begun before the end of the turn was certain, of answered turns",
            ["outcome"],
            registry=self._registry,
        )
        self._discarded_tokens = Counter(
            "blab_discarded_tokens",
            "Tokens of discarded speculative replies, estimated at four characters each",
            registry=self._registry,
        )
        self._prompt_tokens = Counter(
            "blab_prompt_tokens",
            "Tokens of the prompts of replies; cached: read by the chat model before",
            ["cached"],
            registry=self._registry,
        )
        self._waits = Counter(
            "blab_utterances_waited",
            "Utterances of calls that waited for a recogniser",
            registry=self._registry,
        )
        self._wait_seconds = Histogram(
            "blab_utterance_wait_seconds",
            "From the request to the final transcript of such utterances",
            registry=self._registry,
            buckets=_STAGE_SECONDS,
        )
        self._active = Gauge("blab_calls_active", "Calls in progress", registry=self._registry)
        self._requests = Counter(
            "blab_http_requests",
            "HTTP requests",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "blab_http_request_seconds",
            "Time to answer, calls excluded",
            ["route"],
            registry=self._registry,
            buckets=_SECONDS,
        )

    def watch_hearing(self, loads: Callable[[], Mapping[str, HearingLoad]]) -> None:
        """Set the function that gives how many utterances each transcriber of calls has."""
        self._registry.register(_Hearing(loads))

    def watch_active(self, count: Callable[[], int]) -> None:
        """Set the function that counts the calls in progress."""
        self._active.set_function(count)

    def call_ended(self, channel: str, reason: str) -> None:
        """A call is over."""
        self._calls.labels(channel, reason if reason in _REASONS else "other").inc()

    def call_refused(self, reason: str) -> None:
        """A call was refused before it began; ``reason``: one of our own words."""
        self._refusals.labels(reason).inc()

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

    def request_done(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``route``: the pattern, not the path."""
        self._requests.labels(method, route, str(status)).inc()
        if status != 101:
            self._seconds.labels(route).observe(seconds)

    def handler(self, principal_of: Callable[[web.Request], Awaitable[Principal]]) -> Handler:
        """GET /metrics: for this machine, and for the operator's keys.

        The figures cover all workspaces, so only keys of the local workspace, which ``blab key``
        makes, are accepted."""

        async def handle(request: web.Request) -> web.Response:
            if not is_loopback_request(request):
                principal = await principal_of(request)
                local = principal.workspace_id == LOCAL_WORKSPACE and principal.kind == "api_key"
                if not local or not {SCOPE, "*"}.intersection(principal.scopes):
                    raise Forbidden(
                        f"Metrics are for the server's own machine and for keys that 'blab key' "
                        f"made with the scope '{SCOPE}'.",
                        openai_code="insufficient_permissions",
                    )
            return web.Response(
                body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE}
            )

        return handle
