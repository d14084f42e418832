"""What a page loads in use: its HTML, and every style, script and worklet reachable from it."""

import gzip
import posixpath
import re

from gateway.http.pages import page_of
from gateway.http.static_files import without_comments
from tests.support.paths import STATIC

_NAMED = re.compile(r"""["'`]((?:/|\.{1,2}/)[\w./-]+\.(?:js|css|svg))["'`]""")
"""A name in quotes; which of them are files, the folder knows."""
_AS_THEY_ARE = ("/sdk/", "/vendor/")


def weight_of(folder: str) -> dict[str, int]:
    """Bytes of each file as it is served, with gzip, by its address."""
    found: dict[str, int] = {}
    waiting = [f"/{folder}/index.html"]
    while waiting:
        address = waiting.pop()
        body = body_of(address)
        if address in found or body is None:
            continue
        found[address] = packed(address)
        if not address.startswith("/vendor/uPlot"):  # which loads nothing
            home = posixpath.dirname(address)
            names = _NAMED.findall(body.decode())
            waiting += [posixpath.normpath(posixpath.join(home, name)) for name in names]
    return found


def packed(address: str) -> int:
    """Bytes of a file of static/ as it is served, with gzip."""
    body = body_of(address) or b""
    if not address.startswith(_AS_THEY_ARE):
        body = without_comments(address, body)
    return len(gzip.compress(body, 9))


def body_of(address: str) -> bytes | None:
    """A file of static/, or a page; None where there is none."""
    path = STATIC / address.removeprefix("/")
    if path.name == "index.html":
        return page_of(STATIC, path.parent.name)
    return path.read_bytes() if path.is_file() else None
