"""SignInThrottle: how often somebody may try to sign in or to register.

Per address against those who try many accounts, per account against those who try many passwords
from many addresses. An attempt is counted before it is judged, so that attempts at the same moment
are counted too; one that succeeds clears its account. The wait grows: when the first quota is
used up, attempts come back every few minutes, and when the second is, every half hour. The price:
whoever keeps failing for an account can keep its owner from signing in anew (not from using the
tokens and keys that they have).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from rest.http.client_address import ClientAddress
from rest.http.ratelimit import Rate, RateLimiter


@dataclass(frozen=True, slots=True)
class SignInRates:
    """Attempts per address, and per account: all of ``accounts`` are counted."""

    address: Rate = Rate(10, 60)
    accounts: Sequence[Rate] = (Rate(5, 15 * 60), Rate(12, 6 * 3600))


class SignInThrottle:
    """Counts attempts."""

    def __init__(
        self, limiter: RateLimiter, address: ClientAddress, rates: SignInRates = SignInRates()
    ) -> None:
        self._limiter = limiter
        self._address = address
        self._rates = rates

    async def enter(self, http: web.Request, action: str, email: str) -> None:
        """Count an attempt; raises RateLimited where there were too many."""
        message = "Too many attempts: wait as long as Retry-After says."
        address = f"{action}:address:{self._address.of(http)}"
        await self._limiter.take(http, address, self._rates.address, message)
        for name, rate in zip(self._names(action, email), self._rates.accounts, strict=True):
            await self._limiter.take(http, name, rate, message)

    async def succeeded(self, action: str, email: str) -> None:
        """Forget the attempts for an account."""
        for name in self._names(action, email):
            await self._limiter.forget(name)

    def _names(self, action: str, email: str) -> list[str]:
        account = hashlib.sha256(email.casefold().encode()).hexdigest()[:32]
        return [f"{action}:account:{place}:{account}" for place in range(len(self._rates.accounts))]
