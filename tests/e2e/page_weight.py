"""What a page loads in use: its HTML, and every style, script and worklet reachable from it."""

import gzip
import posixpath
import re

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
        path = STATIC / address.removeprefix("/")
        if address in found or not path.is_file():
            continue
        found[address] = packed(address)
        if not address.startswith("/vendor/uPlot"):  # which loads nothing
            home = posixpath.dirname(address)
            names = _NAMED.findall(path.read_text())
            waiting += [posixpath.normpath(posixpath.join(home, name)) for name in names]
    return found


def packed(address: str) -> int:
    """Bytes of a file of static/ as it is served, with gzip."""
    body = (STATIC / address.removeprefix("/")).read_bytes()
    if not address.startswith(_AS_THEY_ARE):
        body = without_comments(address, body)
    return len(gzip.compress(body, 9))
