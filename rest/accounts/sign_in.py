"""Signing in: passwords, and how often they may be tried.

Rules for passwords (argon2id, off the event loop): at least OWASP's floor (19 MiB, 2 passes); at
most ``AT_ONCE`` are computed at a time and ``WAITING`` wait, further ones are refused; a password
is normalised (NFKC), so that the same characters typed on another machine are the same password.
Where there is no hash to compare with, the same work is done anyway, so that the time a refusal
takes gives nothing away.

Rules for attempts: they are counted per address, against those who try many accounts, and per
account, against those who try many passwords from many addresses. An attempt is counted before it
is judged, so that attempts at the same moment count too; a success clears its account. The wait
grows: once the first quota is used up an attempt is allowed every few minutes, once the second is,
every half hour. The price: somebody who keeps failing for an account can keep its owner from
signing in anew (not from using the tokens and keys that they have).
"""

import asyncio
import base64
import hashlib
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from rest.http.errors import Unavailable
from rest.http.ratelimit import ClientAddress, Rate, RateLimiter

T = TypeVar("T")

MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
SALT_BYTES, HASH_BYTES = 16, 32
AT_ONCE, WAITING = 4, 64
MIN_CHARS, MAX_CHARS = 8, 1024


class Passwords:
    """Hashes and verifies passwords."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(
            passes, memory_kib, LANES, hash_len=HASH_BYTES, salt_len=SALT_BYTES, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._pending = 0
        settings = f"m={memory_kib},t={passes},p={LANES}"
        self._nobodys = f"$argon2id$v=19${settings}${_random(SALT_BYTES)}${_random(HASH_BYTES)}"

    async def hash(self, password: str) -> str:
        """The hash to store; raises Unavailable where too many are waiting."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password matches the hash; None (no such user) takes as long."""
        return await self._run(lambda: self._matches(stored or self._nobodys, password))

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than the present ones."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Release the threads; what they are computing ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _normal(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= AT_ONCE + WAITING:
            raise Unavailable("Too many people are signing in just now.", retry_after=2)
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pending -= 1


def _normal(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode()


def _random(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class SignInRates:
    """Attempts per address, and per account: each rate of ``accounts`` counts them."""

    address: Rate = Rate(10, 60)
    accounts: Sequence[Rate] = (Rate(5, 15 * 60), Rate(12, 6 * 3600))


class SignInThrottle:
    """Counts attempts to sign in or to register."""

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
