"""Twilio's proof of a request: ``X-Twilio-Signature``.

It is the base64 of an HMAC-SHA1, keyed with the account's auth token, over the address that Twilio
asked for, followed by the name and value of each posted parameter in the order of the names (a
stream's opening request has none). Twilio knows the public address; behind a proxy the server sees
another, so the spellings that mean the same are tried: ``wss`` and ``https``, the default port
written out or not, and the slash at the end.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

HEADER = "X-Twilio-Signature"
_MAX_CHARS = 64


class TwilioSignature:
    """Checks requests. ``public_url``: what callers' addresses begin with, where a proxy stands
    in front."""

    def __init__(self, auth_token: str, public_url: str | None = None) -> None:
        self._token = auth_token.encode()
        self._public_host = urlsplit(public_url).netloc if public_url else None

    def __repr__(self) -> str:
        """Without the token."""
        return "TwilioSignature()"

    def is_valid(self, signature: str | None, host: str, path: str) -> bool:
        """Whether ``signature`` proves a request for ``path`` (with its query) at ``host``."""
        if not signature or len(signature) > _MAX_CHARS:
            return False
        given = signature.encode("ascii", "replace")
        addresses = _addresses(self._public_host or host, path)
        return any(hmac.compare_digest(given, sign(self._token, one)) for one in addresses)


def sign(token: bytes, address: str, parameters: Mapping[str, str] | None = None) -> bytes:
    """The signature of a request."""
    posted = "".join(f"{name}{value}" for name, value in sorted((parameters or {}).items()))
    digest = hmac.new(token, (address + posted).encode(), hashlib.sha1).digest()
    return base64.b64encode(digest)


def _addresses(host: str, path: str) -> list[str]:
    bare, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        bare, port = host, "443"
    hosts = [host] if port != "443" else [bare, f"{bare}:443"]
    paths = [path, path.removesuffix("/") if path.endswith("/") else f"{path}/"]
    return [f"{s}://{h}{p}" for s in ("wss", "https") for h in hosts for p in paths]
