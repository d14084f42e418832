"""Origins of web pages (RFC 6454): scheme, host and port, written in one way.

``https://shop.example`` and ``http://localhost:8000`` name one origin each.
``https://*.example.com`` names every host below ``example.com``, at any depth, but not
``example.com`` itself; scheme and port are as exact as without it. Nothing names all pages.

Hosts are compared in lower case, international ones as Punycode, and the default port of a scheme
is left out, as browsers do in ``Origin``.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from yarl import URL

MAX_CHARS = 300
_WRITTEN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(:[0-9]{1,5})?")
_BELOW = re.compile(r"(https?://)\*\.(.+)", re.IGNORECASE)


def canonical(text: str) -> str | None:
    """The origin as it is compared; None where ``text`` is none (``null`` is none)."""
    if len(text) > MAX_CHARS or not text.isprintable():
        return None
    try:
        url = URL(text)
        if url.raw_host is None or url.user or url.password or url.raw_path not in ("", "/"):
            return None
        if url.raw_query_string or url.raw_fragment or text.endswith(("?", "#")):
            return None
        written = str(url.origin()).lower()
    except ValueError:
        return None
    return written if _WRITTEN.fullmatch(written) else None


def canonical_pattern(text: str) -> str | None:
    """An origin, or ``https://*.example.com`` with at least two names behind the star, as it is
    stored; None where ``text`` is neither."""
    below = _BELOW.fullmatch(text)
    if below is None:
        return canonical(text)
    origin = canonical(below[1] + below[2])
    if origin is None:
        return None
    scheme, _, host = origin.partition("://")
    names = host.partition(":")[0].split(".")
    numbers = "[" in host or names[-1].isdigit()
    return None if len(names) < 2 or numbers else f"{scheme}://*.{host}"


def covers(patterns: Iterable[str], origin: str) -> bool:
    """Whether one of the stored ``patterns`` names the canonical ``origin``."""
    scheme, _, host = origin.partition("://")
    for pattern in patterns:
        if pattern == origin:
            return True
        of_scheme, _, below = pattern.partition("://*.")
        if below and of_scheme == scheme and host.endswith(f".{below}"):
            return True
    return False


def origin_of(http: web.Request) -> str | None:
    """The origin of the page that sends a request; None where it names none, or not one."""
    given = http.headers.getall(hdrs.ORIGIN, [])
    return canonical(given[0]) if len(given) == 1 else None


def is_same_origin(http: web.Request) -> bool:
    """Whether the page was served under the name it now calls; True without Origin."""
    origin = http.headers.get(hdrs.ORIGIN)
    if origin is None:
        return True
    return _authority(origin) == http.headers.get(hdrs.HOST, "").lower()


def is_own_page(http: web.Request) -> bool:
    """Whether a page of this server sends the request, or a program. Browsers say where it comes
    from in Origin and Sec-Fetch-Site, which no page can forge; programs need not."""
    site = http.headers.get("Sec-Fetch-Site", "none")
    return is_same_origin(http) and site in ("none", "same-origin")


def _authority(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None
