"""/healthz: the process answers. /readyz: a call would be answered.

A check returns None, or the reason why calls cannot be answered now. Checks run at once, each
within ``_CHECK_SECONDS``; their outcome is kept for ``_KEPT_SECONDS``, so that nobody can load
the stores by asking often.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from store.errors import StoreError

from .errors import json_response

Check = Callable[[], Awaitable[str | None]]
_CHECK_SECONDS = 2.0
_KEPT_SECONDS = 0.5


class Health:
    """Answers the two questions; ``checks`` by name."""

    def __init__(
        self, checks: Mapping[str, Check], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._kept: tuple[float, dict[str, str]] | None = None

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
        if self._kept is not None and self._kept[0] > now:
            return self._kept[1]
        outcomes = await asyncio.gather(*(_outcome(check) for check in self._checks.values()))
        reasons = {
            name: outcome
            for name, outcome in zip(self._checks, outcomes, strict=True)
            if outcome is not None
        }
        self._kept = (now + _KEPT_SECONDS, reasons)
        return reasons


async def _outcome(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return f"No answer within {_CHECK_SECONDS:g} s."
    except StoreError as error:
        return f"{error}."
