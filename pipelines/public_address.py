"""Which IP addresses are the public internet's, and which are somebody's inside. Pure.

The tables are IANA's registries of special-purpose addresses, written out: what ``ipaddress``
calls global differs between Python versions, and counts multicast in. IPv6 is allowed by what it
is (2000::/3 is all that is assigned), so every form that carries an IPv4 address elsewhere
(mapped, compatible, NAT64) is refused without being unpacked; those within are listed.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_INSIDE: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carriers' NAT, and overlay networks
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
)
"""Private and loopback: an operator may open them, all together."""

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
    """Whether ``address``, as ``ipaddress`` reads it, is public; ``allow_private``: or private or
    loopback. Anything that is no address is not."""
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
