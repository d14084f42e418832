"""What a request says about itself: its id, the page it comes from, the machine it comes from.

Origin and Host are compared without trusting either. A browser sets both itself and a page cannot
forge them; other programs may send what they like, so nothing here replaces a key.
"""

import secrets
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from rest.accounts.origins import is_same_origin

REQUEST_ID_HEADER = "X-Request-Id"


def new_request_id() -> str:
    """``req_`` and 96 random bits: for the envelope, a header and the log."""
    return f"req_{secrets.token_hex(12)}"


ANY = "*"
_OF_PROXIES = (
    hdrs.FORWARDED,
    hdrs.X_FORWARDED_FOR,
    hdrs.X_FORWARDED_HOST,
    hdrs.X_FORWARDED_PROTO,
    hdrs.VIA,
    "X-Real-IP",
)
"""Headers that a proxy adds."""


def is_allowed_origin(request: web.Request, allowed: Collection[str]) -> bool:
    """Whether the origin is the same, absent, or among ``allowed`` (the deployment's setting)."""
    origin = request.headers.get(hdrs.ORIGIN, "").lower().rstrip("/")
    return is_same_origin(request) or ANY in allowed or origin in allowed


def is_loopback_request(request: web.Request) -> bool:
    """Whether the peer is this machine, calls us by a loopback name and comes through no proxy.

    The name matters: a page whose own name was made to resolve to us (DNS rebinding) still sends
    that name as Host."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    proxied = any(name in request.headers for name in _OF_PROXIES)
    if not isinstance(peer, tuple) or proxied:
        return False
    return _is_loopback(str(peer[0])) and _is_loopback(_host(request))


def _host(request: web.Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get(hdrs.HOST, '')}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host.split("%", 1)[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def is_upgrade(request: web.Request) -> bool:
    """Whether the request asks for a WebSocket."""
    return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
