"""Cursors: where a list goes on, as a text that says nothing and cannot be made up.

A cursor names the last thing that was shown, by its id, and not a count: what is made or deleted
meanwhile neither repeats nor hides anything. It holds for as long as the server's secret does,
even when that last thing is gone.
"""

import base64
import binascii
import hmac

from store.ids import is_id

from .errors import ValidationFailed

_SIGNATURE_BYTES = 12


class Cursors:
    """Hides ids in cursors. ``secret``: 32 random bytes, the same on every node."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def encode(self, id: str, /) -> str:
        """The cursor after ``id``."""
        return _text(self._signature(id.encode()) + id.encode())

    def decode(self, text: str, /) -> str:
        """The id in a cursor; raises ValidationFailed where it is none of ours."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            signature, id = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:].decode("ascii")
        except (binascii.Error, ValueError) as error:
            raise _unknown() from error
        genuine = hmac.compare_digest(signature, self._signature(id.encode()))
        # the same bytes can be written in several ways; only ours is accepted
        if not (genuine and is_id(id) and _text(raw) == text):
            raise _unknown()
        return id

    def _signature(self, id: bytes) -> bytes:
        return hmac.digest(self._secret, b"cursor " + id, "sha256")[:_SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unknown() -> ValidationFailed:
    return ValidationFailed(
        "The cursor is not valid: send meta.nextCursor of the page before, or none.",
        param="cursor",
        reason="unknown_cursor",
    )
