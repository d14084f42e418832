"""What Prometheus may read at /metrics: one registry of our own, one instance a process.

Labels are closed sets (channels, end reasons, route patterns): nothing a client sends becomes one.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rest.accounts.auth import Principal
from rest.http.errors import Forbidden
from store.tenants.workspaces import LOCAL_WORKSPACE

from .origins import is_loopback_request

SCOPE = "usage:read"
Handler = Callable[[web.Request], Awaitable[web.Response]]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_REASONS = frozenset(
    {"peer_gone", "ended", "server_shutdown", "internal_error", "hangup", "client_hangup",
     "max_duration", "slow_reader"}
)  # fmt: skip


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

    def watch_active(self, count: Callable[[], int]) -> None:
        """Where the number of calls in progress comes from."""
        self._active.set_function(count)

    def call_ended(self, channel: str, reason: str) -> None:
        """A call is over."""
        self._calls.labels(channel, reason if reason in _REASONS else "other").inc()

    def call_refused(self, reason: str) -> None:
        """A call was refused before it began; ``reason`` is one of our own words."""
        self._refusals.labels(reason).inc()

    def empty_answer(self, outcome: str) -> None:
        """A chat model had nothing to say; ``outcome``: "retried" (and answered), or "failed"."""
        self._empty_answers.labels(outcome).inc()

    def request_done(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``route`` is the pattern, not the path."""
        self._requests.labels(method, route, str(status)).inc()
        if status != 101:
            self._seconds.labels(route).observe(seconds)

    def handler(self, principal_of: Callable[[web.Request], Awaitable[Principal]]) -> Handler:
        """GET /metrics: for this machine, and for the operator's keys.

        The figures are those of all workspaces: a key of any other than the local one, where only
        ``blab key`` makes keys, is refused."""

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
