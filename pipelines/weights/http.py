"""Files over HTTP(S), continued where an earlier attempt stopped (RFC 9110, section 14).

Blocking: runs on the command line or in a thread. Follows redirects, honours the proxy variables of
the environment, and checks certificates.
"""

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from .manifest import FetchStopped, SourceFailed

CHUNK = 1 << 20
ATTEMPTS = 5
TIMEOUT = 30.0
"""Seconds without a byte after which a connection is closed."""


def download(
    url: str,
    target: Path,
    size: int | None,
    report: Callable[[int], None],
    stop: Callable[[], bool],
    *,
    pause: float = 1.0,
) -> None:
    """Make ``target`` the whole of ``url``, continuing what it already holds.

    ``size`` is its expected size in bytes, if known; ``report`` is called with the bytes so far.
    Broken connections and 5xx are tried ATTEMPTS times, ``pause * 2**n`` seconds apart, counted
    anew whenever bytes arrived. Raises SourceFailed, FetchStopped."""
    failures = 0
    while True:
        before = _size(target)
        try:
            return _continue(url, target, size, report, stop)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                if error.headers.get("Content-Range") == f"bytes */{before}":
                    return None  # it was whole already
                target.unlink()
            elif error.code < 500 and error.code not in (408, 429):
                raise SourceFailed(f"{url}: HTTP {error.code}") from error
            reason: Exception = error
        except (OSError, http.client.HTTPException) as error:
            reason = error
        failures = 1 if _size(target) > before else failures + 1
        if failures >= ATTEMPTS:
            raise SourceFailed(f"{url}: {reason}") from reason
        if stop():
            raise FetchStopped("stopped")
        time.sleep(pause * 2 ** (failures - 1))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _continue(
    url: str,
    target: Path,
    size: int | None,
    report: Callable[[int], None],
    stop: Callable[[], bool],
) -> None:
    have = _size(target)
    if size is not None and have > size:
        target.unlink()
        have = 0
    if size is not None and have == size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "blab", "Accept": "*/*"})  # noqa: S310 - from the manifest
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        if answer.status == http.client.PARTIAL_CONTENT:
            begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            if begins is None or int(begins[1]) != have:
                target.unlink()
                raise OSError("the server continued at another place")
        else:
            have = 0
        with target.open("ab" if have else "wb") as out:
            got = _copy(answer, out, have, size, report, stop)
            os.fsync(out.fileno())
        length = answer.headers.get("Content-Length")
        if length is not None and got - have < int(length):
            raise OSError(f"the connection broke off after {got} bytes")


def _copy(
    answer: IO[bytes],
    out: IO[bytes],
    have: int,
    size: int | None,
    report: Callable[[int], None],
    stop: Callable[[], bool],
) -> int:
    report(have)
    while chunk := answer.read(CHUNK):
        if stop():
            raise FetchStopped("stopped")
        out.write(chunk)
        have += len(chunk)
        if size is not None and have > size:
            raise SourceFailed(f"the server sends more than the expected {size} bytes")
        report(have)
    return have
