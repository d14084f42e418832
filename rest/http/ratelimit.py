"""Rate limits: so many requests in a time for each key, user and address, counted in Redis.

Rules
- A key or user is counted by its own; whoever shows neither (public operations, refused
  credentials) by the address. The whole quota may be used at once and comes back evenly.
- Every answer tells what is left (``RateLimit-Limit``, ``RateLimit-Remaining``,
  ``RateLimit-Reset`` in seconds), of several rates the one nearest to its end.
- Where Redis is away everybody is let through; it is asked again after ``REST_SECONDS``, so that
  an outage costs no request more than one wait.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from rest.accounts.auth import Principal
from store.bus import Taken
from store.errors import BusUnavailable

from .client_address import ClientAddress
from .errors import RateLimited

log = logging.getLogger(__name__)

REST_SECONDS = 5.0
WARN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """``limit`` in ``seconds``."""

    limit: int
    seconds: float


SHOWN = web.RequestKey("rate_shown", tuple[Rate, Taken])
"""The rate that the answer to a request tells of."""


class Counters(Protocol):
    """What is needed of the bus."""

    async def take(self, key: str, limit: int, seconds: float) -> Taken: ...

    async def delete(self, key: str) -> None: ...


class RateLimiter:
    """Counts anything by name."""

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._clock = clock
        self._resting_until = -math.inf
        self._quiet_until = -math.inf

    async def take(self, http: web.Request, name: str, rate: Rate, message: str) -> None:
        """Count one of ``name``; raises RateLimited with ``message`` where there were too many."""
        if self._clock() < self._resting_until:
            return
        try:
            taken = await self._counters.take(f"rate:{name}", rate.limit, rate.seconds)
        except BusUnavailable as error:
            self._rest(error)
            return
        shown = http.get(SHOWN)
        if shown is None or taken.remaining < shown[1].remaining or not taken.allowed:
            http[SHOWN] = (rate, taken)
        if not taken.allowed:
            raise RateLimited(message, retry_after=math.ceil(taken.retry_after))

    async def forget(self, name: str) -> None:
        """Begin anew with ``name``."""
        try:
            await self._counters.delete(f"rate:{name}")
        except BusUnavailable as error:
            self._rest(error)

    def _rest(self, error: BusUnavailable) -> None:
        now = self._clock()
        self._resting_until = now + REST_SECONDS
        if now >= self._quiet_until:
            self._quiet_until = now + WARN_SECONDS
            log.warning("requests are not counted: %s", error)


class RequestRates:
    """Counts the requests of the API; ``rate`` for each key, user and address."""

    def __init__(self, limiter: RateLimiter, rate: Rate, address: ClientAddress) -> None:
        self._limiter = limiter
        self._rate = rate
        self._address = address

    async def count(self, http: web.Request, principal: Principal | None) -> None:
        """Count a request of ``principal``, or of its address; raises RateLimited."""
        if principal is None:
            name = f"address:{self._address.of(http)}"
        else:
            name = principal.key_id or principal.user_id or principal.workspace_id
        message = "Too many requests: wait as long as Retry-After says."
        await self._limiter.take(http, name, self._rate, message)


async def show_rate(http: web.Request, response: web.StreamResponse) -> None:
    """Write what is left of the rate on an answer; for ``Application.on_response_prepare``."""
    if (shown := http.get(SHOWN)) is not None:
        rate, taken = shown
        response.headers["RateLimit-Limit"] = str(rate.limit)
        response.headers["RateLimit-Remaining"] = str(taken.remaining)
        response.headers["RateLimit-Reset"] = str(math.ceil(taken.reset))
