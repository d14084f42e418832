"""Callers: who calls, as a digest by which the caller's calls can be found and erased.

A client names the caller in the header ``OpenAI-Safety-Identifier`` (OpenAI's own for "a stable
identifier of the end user"), a carrier by the telephone number. The name itself is not stored: only
its HMAC-SHA256 with a secret of the installation, made for one workspace, so that the same caller
cannot be recognised in another.

Two spellings of a telephone number are the same caller: spaces, hyphens, dots, parentheses and
``tel:`` do not count, and ``00`` is ``+``. Any other name is compared as it is, without the
white space around it.
"""

import hashlib
import hmac
import re

from aiohttp import web

from rest.http.errors import ValidationFailed

HEADER = "OpenAI-Safety-Identifier"
MAX_CHARS = 256
_NUMBER = re.compile(r"(?:tel:)?(\+?[0-9][0-9 ().\-]{4,40})", re.IGNORECASE)
_BETWEEN = re.compile(r"[ ().\-]")


class CallerIds:
    """Makes digests; ``secret``: the installation's."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, workspace_id: str, name: str | None) -> bytes | None:
        """The caller's digest (32 bytes); None where there is no name, or none that fits."""
        name = plain(name or "")
        if not name or len(name) > MAX_CHARS:
            return None
        message = f"{workspace_id}\n{name}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).digest()

    def of_request(self, workspace_id: str, http: web.Request) -> bytes | None:
        """The digest of the caller whom a request's header names; None where it names none. Raises
        ValidationFailed."""
        name = http.headers.get(HEADER)
        if name is not None and (len(name) > MAX_CHARS or not plain(name)):
            raise ValidationFailed(
                f"{HEADER} has 1 to {MAX_CHARS} characters.", param=HEADER, reason="invalid_caller"
            )
        return self.of(workspace_id, name)


def plain(name: str) -> str:
    """A name in the spelling that is compared."""
    name = name.strip()
    number = _NUMBER.fullmatch(name)
    if number is None:
        return name
    digits = _BETWEEN.sub("", number[1])
    return "+" + digits[2:] if digits.startswith("00") else digits
