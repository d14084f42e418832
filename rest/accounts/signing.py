"""UrlSigner: addresses of objects that need no credential, for a short while.

The signature is an HMAC-SHA256 over the method, the key, the workspace, how it is offered and when
the address ends. An address is checked by making the one that it should be and comparing all of
it: whatever byte was changed, also one that would mean the same, it is not the same address.
"""

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from rest.http.errors import Forbidden
from store.objects import is_key

FILES = "/api/files/"
SECONDS = 900
_METHOD = "GET"
_MAX_TARGET = 2000
_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class SignedFile:
    """What a genuine address stands for. ``seconds``: how long it still holds."""

    workspace_id: str
    key: str
    attachment: bool
    seconds: int


class UrlSigner:
    """Makes and checks addresses. ``secret`` (32 bytes or more) is the same on all nodes."""

    def __init__(
        self, secret: bytes, seconds: int = SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._seconds = seconds
        self._clock = clock

    def url(
        self, request_base: str, workspace_id: str, key: str, *, attachment: bool = False
    ) -> str:
        """The address of an object below ``request_base`` (no slash at its end).

        ``attachment``: browsers save it rather than show it."""
        expires = int(self._clock()) + self._seconds
        return request_base + self._target(workspace_id, key, expires, attachment=attachment)

    def check(self, target: str) -> SignedFile:
        """What ``target`` (path and query as they came) stands for; raises Forbidden."""
        forged = Forbidden(
            "The address is not one that was signed here: use it exactly as it was given.",
            reason="bad_signature",
        )
        if len(target) > _MAX_TARGET or not target.isascii():
            raise forged
        path, _, given = target.partition("?")
        query = parse_qs(given)
        key = path.removeprefix(FILES)
        workspace_id = query.get("workspace", [""])[0]
        expires = query.get("expires", [""])[0]
        if not (expires.isascii() and expires.isdigit() and len(expires) <= _MAX_DIGITS):
            raise forged
        attachment = "download" in query
        genuine = self._target(workspace_id, key, int(expires), attachment=attachment)
        if not hmac.compare_digest(genuine.encode(), target.encode()) or not is_key(key):
            raise forged
        left = int(expires) - self._clock()
        if left <= 0:
            raise Forbidden(
                "The address has expired: ask for it again to get a new one.", reason="expired"
            )
        return SignedFile(workspace_id, key, attachment, max(1, int(left)))

    def _target(self, workspace_id: str, key: str, expires: int, *, attachment: bool) -> str:
        offered = "&download=1" if attachment else ""
        message = "\n".join((_METHOD, key, workspace_id, offered, str(expires)))
        digest = hmac.digest(self._secret, message.encode(), hashlib.sha256)
        signature = urlsafe_b64encode(digest).decode().rstrip("=")
        return (
            f"{FILES}{key}?workspace={workspace_id}&expires={expires}{offered}"
            f"&signature={signature}"
        )
