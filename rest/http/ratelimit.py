"""Rate limits: how many requests a key, a user or an address may send, counted in Redis.

Rules
- A key or a user has a count of its own; requests with neither (public operations, refused
  credentials) count for their address. The whole quota may be used at once and refills evenly.
- Every answer reports what is left (``RateLimit-Limit``, ``RateLimit-Remaining``,
  ``RateLimit-Reset`` in seconds); of several rates, the one nearest to its limit.
- While Redis is unreachable every request passes; it is tried again after ``REST_SECONDS``, so
  that an outage costs no request more than one wait.
- The address is the peer's, unless the peer is one of the proxies that the operator named: then it
  is the nearest address in ``X-Forwarded-For``, read from the right, that is not such a proxy. What
  stands further left was written by the client and is not trusted.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

from rest.accounts.auth import Principal
from store.bus import Bus, Taken
from store.errors import BusUnavailable

from .errors import RateLimited

Network = IPv4Network | IPv6Network
_HOUSEHOLD = 64
"""Leading bits of an IPv6 address that identify one household, which has 2^64 addresses."""
_LOCAL = "local"


class ClientAddress:
    """Decides what counts as one client. ``proxies``: networks of the operator's own proxies."""

    def __init__(self, proxies: Iterable[Network] = ()) -> None:
        self._proxies = tuple(proxies)

    def of(self, http: web.Request) -> str:
        """The address; IPv6 by its first 64 bits; ``local`` for a unix socket."""
        address = _parsed(http.remote or "")
        if address is None:
            return _LOCAL
        forwarded = ",".join(http.headers.getall("X-Forwarded-For", [])).split(",")
        while self._is_proxy(address) and forwarded:
            before = _parsed(forwarded.pop().strip())
            if before is None:
                break
            address = before
        return _household(address)

    def of_peer(self, peer: str) -> str | None:
        """What a connection from ``peer`` counts for before it has carried a request; None for
        loopback, unix sockets and the operator's proxies, which stand for many clients."""
        address = _parsed(peer)
        if address is None or address.is_loopback or self._is_proxy(address):
            return None
        return _household(address)

    def _is_proxy(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._proxies)


def _household(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _HOUSEHOLD), strict=False))
    return str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


log = logging.getLogger(__name__)

REST_SECONDS = 5.0
WARN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """``limit`` in ``seconds``."""

    limit: int
    seconds: float


SHOWN = web.RequestKey("rate_shown", tuple[Rate, Taken])
"""The rate that the answer to a request reports."""


class RateLimiter:
    """Counts whatever has a name."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._resting_until = -math.inf
        self._quiet_until = -math.inf

    async def take(self, http: web.Request, name: str, rate: Rate, message: str) -> None:
        """Count one for ``name``; raises RateLimited with ``message`` where there were too many."""
        if self._clock() < self._resting_until:
            return
        try:
            taken = await self._bus.take(f"rate:{name}", rate.limit, rate.seconds)
        except BusUnavailable as error:
            self._rest(error)
            return
        shown = http.get(SHOWN)
        if shown is None or taken.remaining < shown[1].remaining or not taken.allowed:
            http[SHOWN] = (rate, taken)
        if not taken.allowed:
            raise RateLimited(message, retry_after=math.ceil(taken.retry_after))

    async def forget(self, name: str) -> None:
        """Reset the count of ``name``."""
        try:
            await self._bus.delete(f"rate:{name}")
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
    """Write what is left of the rate into an answer's headers; for
    ``Application.on_response_prepare``."""
    if (shown := http.get(SHOWN)) is not None:
        rate, taken = shown
        response.headers["RateLimit-Limit"] = str(rate.limit)
        response.headers["RateLimit-Remaining"] = str(taken.remaining)
        response.headers["RateLimit-Reset"] = str(math.ceil(taken.reset))
