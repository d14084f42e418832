"""A server as ``blab doctor --public`` addresses it."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp

CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A server's public address. ``trust``: None for plain HTTP, else how TLS is verified."""

    url: str
    host: str
    port: int
    key: str | None
    trust: ssl.SSLContext | None
    addresses: tuple[str, ...] = ()

    @classmethod
    def of(cls, url: str, key: str | None, trust: ssl.SSLContext | None = None) -> "Target":
        """``url`` has no path; ``trust`` default: the authorities that this machine trusts."""
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        context = (trust or ssl.create_default_context()) if is_tls else None
        return cls(url, parts.hostname or "", port, key, context)

    @property
    def local(self) -> bool:
        """Whether all its addresses are this machine's loopback."""
        return all(ip_address(address).is_loopback for address in self.addresses)

    @property
    def headers(self) -> dict[str, str]:
        """What signs a request."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    @contextlib.asynccontextmanager
    async def http(self, seconds: float = CONNECT_SECONDS) -> AsyncIterator[aiohttp.ClientSession]:
        """A client of the server whose requests take at most ``seconds``."""
        timeout = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(ssl=self.trust if self.trust is not None else True)
        async with aiohttp.ClientSession(self.url, timeout=timeout, connector=connector) as http:
            yield http
