"""ClientAddress: where a request comes from, as far as it can be believed.

The peer of the connection is the client, unless it is one of the proxies that the operator named:
then it is what the nearest proxy that was not named came from, read from ``X-Forwarded-For`` from
the right. What stands further left was written by the client and is not believed.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

Network = IPv4Network | IPv6Network
_HOUSEHOLD = 64
"""Bits of an IPv6 address that are one household's: whoever has one, has 2^64."""
_LOCAL = "local"


class ClientAddress:
    """Tells who is counted as one client. ``proxies``: networks of the operator's own proxies."""

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
        """Who a connection from ``peer`` is counted for before any request has come on it; None
        for loopback, unix sockets and the operator's proxies, which stand for many clients."""
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
