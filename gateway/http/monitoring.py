"""What an operator and a proxy watch: /healthz, /readyz and /metrics.

/healthz answers while the process does; /readyz says whether a call would be answered,
/readyz/resumed whether one that began before would go on here. A check returns None, or the reason
why calls cannot be answered now. Checks run concurrently, each within ``_CHECK_SECONDS``; their
outcome is cached for ``_CACHE_SECONDS``, so that frequent requests cannot load the stores.

/metrics shows what ``gateway.telemetry.metrics`` counts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from gateway.telemetry.metrics import Metrics
from rest.accounts.auth import Principal
from rest.http.errors import Forbidden
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


def metrics_handler(
    metrics: Metrics, principal_of: Callable[[web.Request], Awaitable[Principal]]
) -> Handler:
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
        return web.Response(body=await metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return handle
