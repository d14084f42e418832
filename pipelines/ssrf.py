"""CustomerHttp: the only way in which requests reach addresses that customers gave.

Rules
- Only http and https, without credentials. An IPv4 address is written as four decimal numbers:
  its other spellings (octal, hexadecimal, short, one number) are refused, whatever they mean.
- The name is resolved here, once, for every request. If any of its addresses is not allowed
  (``may_be_called``) none is. The socket is made for a checked address, and the peer is checked
  again before the first byte is sent.
- No redirects, no proxies from the environment, no cookies, no kept connections, nothing
  decompressed. Of the response to a ``post`` only the status is used; at most ``DRAIN_BYTES`` of
  its body are read.
- Messages about a refusal or failure show no address that the customer did not write.

Which addresses are public is decided by IANA's registries of special-purpose addresses, written
out: what ``ipaddress`` calls global differs between Python versions, and includes multicast. IPv6
is allowed by prefix (2000::/3 is all that is assigned), so every form that carries an IPv4 address
elsewhere (mapped, compatible, NAT64) is refused without being unpacked; those within are listed.
"""

import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pipelines.engines.base import EngineError
from pipelines.engines.executor import EngineExecutor

_INSIDE: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carriers' NAT, and overlay networks
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
)
"""Private and loopback: an operator may allow them, all together."""

_NEVER: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),  # link-local: the clouds' metadata
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.0.2.0/24"),
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("198.18.0.0/15"),
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("224.0.0.0/3"),  # multicast, reserved, broadcast
    IPv6Network("2001::/23"),  # Teredo and other protocols'
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),
)
_ASSIGNED = IPv6Network("2000::/3")


def may_be_called(address: str, *, allow_private: bool = False) -> bool:
    """Whether ``address``, as ``ipaddress`` parses it, is public; ``allow_private``: or private or
    loopback. False for anything that is not an address."""
    try:
        number = ip_address(address)
    except ValueError:
        return False
    if _is_in(number, _INSIDE):
        return allow_private
    if isinstance(number, IPv6Address) and (number.scope_id or number not in _ASSIGNED):
        return False
    return not _is_in(number, _NEVER)


def _is_in(
    number: IPv4Address | IPv6Address, networks: tuple[IPv4Network | IPv6Network, ...]
) -> bool:
    return any(number in network for network in networks if network.version == number.version)


DEADLINE_SECONDS = 20.0
"""For a whole request, including the look-up of the name."""
LOOK_UP_SECONDS = 5.0
ADMISSION_SECONDS = 2.0
"""For the look-up of a new URL's name; a name that is not found by then is admitted."""
DRAIN_BYTES = 64 * 1024
MAX_URL = 2048
_LOOK_UPS = 8
"""Names looked up at once: slow name servers only delay look-ups, nothing else."""
_NAME = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}\.?")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")
"""Hosts that some resolvers read as an IPv4 address: the last label is a number."""
_PRIVATE = "The URL leads to an address that is not public; nothing is sent there."

LookUp = Callable[[str], list[str]]
"""The addresses of a name; blocking; raises OSError if there are none."""


class UrlRefused(OSError):
    """The URL is not allowed. The message says why and is safe to show.

    An OSError, because the HTTP client lets that pass through."""


class Undelivered(Exception):
    """There was no response. The message says why and is safe to show."""


def look_up(name: str) -> list[str]:
    """The system's resolver; see LookUp."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class CustomerHttp:
    """Requests to customers' URLs; may be shared. ``allow_private``: private and loopback
    addresses are allowed too. ``deadline`` in seconds."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        deadline: float = DEADLINE_SECONDS,
        look_up: LookUp = look_up,
    ) -> None:
        self._allow_private = allow_private
        self._deadline = deadline
        self._look_up = look_up
        self._threads = EngineExecutor("look-up", _LOOK_UPS, 32 * _LOOK_UPS)

    def check(self, url: str) -> URL:
        """The URL, checked as far as possible without the network; raises UrlRefused."""
        if len(url) > MAX_URL:
            raise UrlRefused(f"The URL is longer than {MAX_URL} characters.")
        if re.search(r"[\x00-\x20\x7f\\]", url):
            raise UrlRefused("The URL holds blanks, control characters or backslashes.")
        try:
            parsed = URL(url)
            host = parsed.raw_host
        except (ValueError, IndexError) as error:  # yarl looks at the first letter of no host: []@
            raise UrlRefused("The URL is not well-formed.") from error
        if parsed.scheme not in ("http", "https"):
            raise UrlRefused("The URL must begin with https:// or http://.")
        if "@" in parsed.raw_authority:
            raise UrlRefused("The URL must not hold a user name or password.")
        if not host:
            raise UrlRefused("The URL names no host.")
        if not parsed.port:
            raise UrlRefused("The URL's port is not from 1 to 65535.")
        self._check_host(host)
        return parsed

    async def admit(self, url: str) -> None:
        """Raise UrlRefused for a URL that is not allowed, as far as that is known now.

        A name that does not resolve is admitted: its addresses are checked at every request."""
        host = self.check(url).raw_host or ""
        if ":" in host or _NUMERIC.fullmatch(host):
            return
        try:
            await self.resolve(host, ADMISSION_SECONDS)
        except UrlRefused:
            raise
        except OSError:
            return

    async def resolve(self, name: str, seconds: float = LOOK_UP_SECONDS) -> list[str]:
        """The name's addresses, all of them allowed; raises UrlRefused and OSError."""
        try:
            found = await self._threads.run(self._found, name, deadline=seconds)
        except EngineError as error:
            raise OSError("The host's name could not be looked up in time.") from error
        if not found:
            raise OSError("The host's name is not known.")
        for address in found:
            self.check_address(address)
        return found

    def check_address(self, address: str) -> None:
        """Raise UrlRefused for an address that is not allowed."""
        if not may_be_called(address, allow_private=self._allow_private):
            raise UrlRefused(_PRIVATE)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send ``body``; returns the response's status. Raises UrlRefused and Undelivered."""
        target = self.check(url)
        timeout = aiohttp.ClientTimeout(total=self._deadline)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=_PinnedConnector(self),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=timeout,
                    auto_decompress=False,
                ) as session,
                session.post(target, data=body, headers=headers, allow_redirects=False) as response,
            ):
                with contextlib.suppress(aiohttp.ClientError, EOFError, TimeoutError):
                    await response.content.readexactly(DRAIN_BYTES)
                response.close()
                return response.status
        except TimeoutError as error:
            raise Undelivered(f"There was no answer within {self._deadline:g} seconds.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _refusal_behind(error) or Undelivered(_described(error)) from error

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose body the user of the context reads, all within the deadline;
        compression is declined.

        Raises UrlRefused and Undelivered, also while the body is read."""
        target = self.check(url)
        timeout = aiohttp.ClientTimeout(total=self._deadline)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=_PinnedConnector(self),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=timeout,
                    auto_decompress=False,
                ) as session,
                session.request(
                    method,
                    target,
                    data=body,
                    headers={"Accept-Encoding": "identity", **headers},
                    allow_redirects=False,
                ) as response,
            ):
                try:
                    yield response
                finally:
                    response.close()
        except TimeoutError as error:
            raise Undelivered(f"There was no answer within {self._deadline:g} seconds.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _refusal_behind(error) or Undelivered(_described(error)) from error

    async def close(self) -> None:
        """End the look-up threads."""
        await self._threads.close()

    def _check_host(self, host: str) -> None:
        if ":" in host:
            try:
                self.check_address(str(IPv6Address(host)))
            except ValueError as error:
                raise UrlRefused("The URL's host is not an IPv6 address.") from error
        elif _NUMERIC.fullmatch(host):
            try:
                self.check_address(str(IPv4Address(host)))
            except ValueError as error:
                raise UrlRefused(
                    "The URL's host must be a name, or an address as four decimal numbers."
                ) from error
        elif len(host) > 253 or not _NAME.fullmatch(host):
            raise UrlRefused("The URL's host is not a valid name.")

    def _found(self, name: str) -> list[str]:
        try:
            return self._look_up(name)
        except (OSError, UnicodeError):
            return []


class _Resolver(AbstractResolver):
    """CustomerHttp's look-up behind the HTTP client's interface."""

    def __init__(self, guard: CustomerHttp) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found = await self._guard.resolve(host)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=own, proto=0, flags=numeric
            )
            for address in found
            if (own := _family(address)) == family or family == socket.AF_UNSPEC
        ]

    async def close(self) -> None:
        """Nothing is held."""


class _PinnedConnector(aiohttp.TCPConnector):
    """Makes sockets only for allowed addresses, and checks the peer before the request is sent."""

    def __init__(self, guard: CustomerHttp) -> None:
        super().__init__(
            resolver=_Resolver(guard),
            socket_factory=self._socket,
            use_dns_cache=False,
            force_close=True,
        )
        self._guard = guard

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.connector.Connection:
        """See BaseConnector; raises UrlRefused."""
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        try:
            self._guard.check_address(str(peer[0]) if peer else "")
        except UrlRefused:
            connection.close()
            raise
        return connection

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, proto, _, address = info
        self._guard.check_address(str(address[0]))
        return socket.socket(family, kind, proto)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _refusal_behind(error: BaseException | None) -> UrlRefused | None:
    """The refusal that the HTTP client wrapped into ``error``, if it was one."""
    while error is not None and not isinstance(error, UrlRefused):
        error = error.__cause__
    return error


def _described(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "The host's name could not be resolved."
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "The host's TLS certificate or handshake is not valid."
    if isinstance(error, aiohttp.ClientConnectorError):
        return "The host could not be connected to."
    return "The connection was lost before there was a response."
