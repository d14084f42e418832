"""What the server's secrets vouch for: users' tokens, signed URLs of objects, sealed content.

- A token (JSON Web Token, HMAC-SHA-256 and nothing else) says who the user is, with which of their
  passwords they signed in, and no more. What they may do is looked up for each request, so that it
  ends with their membership or their password and not with the token.
- A signed URL needs no credential for a short while. The signature is an HMAC-SHA-256 over the
  method, the key, the workspace, how it is offered and when it expires. To check a URL it is made
  again and compared as a whole: a URL of which any byte was changed, even one that would mean the
  same, is not the same URL.
- Sealed content (AES-256-GCM, nonce first) can be read only with the secret that it was stored
  under and that is stored nowhere. The key is derived by HMAC-SHA-256, so the secret must be
  random.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rest.http.errors import Forbidden
from store.objects import is_key

ALGORITHM = "HS256"
ISSUER, AUDIENCE = "blab", "blab-api"
TOKEN_SECONDS = 12 * 3600
SECRET_BYTES = 32
_LEEWAY = 10
_CLAIMS = ("iss", "aud", "exp", "iat", "sub", "jti")
_PASSWORD = "password_number"  # noqa: S105 - the claim's name
_MAX_CHARS = 4096


class InvalidToken(ValueError):
    """Not one of our tokens, or an expired one. The message does not quote it."""


class Tokens:
    """Issues and reads tokens. ``secret``: 32 random bytes, the same on every node."""

    def __init__(self, secret: bytes, seconds: int = TOKEN_SECONDS) -> None:
        """Raises ValueError for a short secret."""
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"the secret of tokens has at least {SECRET_BYTES} bytes")
        self._secret = secret
        self._seconds = seconds

    def issue(self, user_id: str, password_number: int = 1) -> str:
        """A new token for a user who signed in with that password of theirs."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "iat": now,
            "exp": now + timedelta(seconds=self._seconds),
            "jti": secrets.token_hex(12),
            _PASSWORD: password_number,
        }
        return jwt.encode(claims, self._secret, ALGORITHM)

    def user_of(self, token: str) -> tuple[str, int]:
        """Id of the user who was given ``token``, and the number of the password that they signed
        in with (1 in tokens of earlier versions); raises InvalidToken."""
        if len(token) > _MAX_CHARS or not token.isascii():
            raise InvalidToken("too long for a token, or other characters than one has")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=_LEEWAY,
                options={"require": list(_CLAIMS)},
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken(type(error).__name__) from error
        number = claims.get(_PASSWORD, 1)
        if type(number) is not int:
            raise InvalidToken("the number of a password is not a whole number")
        return str(claims["sub"]), number


def is_token(text: str) -> bool:
    """Whether ``text`` has the form of a token rather than of a key."""
    return text.count(".") == 2 and text.startswith("eyJ")


FILES = "/api/files/"
URL_SECONDS = 900
_METHOD = "GET"
_MAX_TARGET = 2000
_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class SignedFile:
    """What a genuine URL gives access to. ``seconds``: how long it is still valid."""

    workspace_id: str
    key: str
    attachment: bool
    seconds: int


class UrlSigner:
    """Signs and checks URLs. ``secret`` (32 bytes or more) is the same on all nodes."""

    def __init__(
        self, secret: bytes, seconds: int = URL_SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._seconds = seconds
        self._clock = clock

    def url(
        self, request_base: str, workspace_id: str, key: str, *, attachment: bool = False
    ) -> str:
        """The URL of an object below ``request_base`` (without a slash at its end).

        ``attachment``: browsers save it instead of showing it."""
        expires = int(self._clock()) + self._seconds
        return request_base + self._target(workspace_id, key, expires, attachment=attachment)

    def check(self, target: str) -> SignedFile:
        """What ``target`` (path and query as they were sent) gives access to; raises Forbidden."""
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
        return SignedFile(
            workspace_id=workspace_id,
            key=key,
            attachment=attachment,
            seconds=max(1, int(left)),
        )

    def _target(self, workspace_id: str, key: str, expires: int, *, attachment: bool) -> str:
        offered = "&download=1" if attachment else ""
        message = "\n".join((_METHOD, key, workspace_id, offered, str(expires)))
        digest = hmac.digest(self._secret, message.encode(), hashlib.sha256)
        signature = urlsafe_b64encode(digest).decode().rstrip("=")
        return (
            f"{FILES}{key}?workspace={workspace_id}&expires={expires}{offered}"
            f"&signature={signature}"
        )


_NONCE_BYTES = 12


class Broken(Exception):
    """The content was sealed under another secret, for another purpose, or was changed."""


class Seal:
    """Seals for one ``purpose``: the same secret opens nothing that was sealed for another
    purpose."""

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose.encode()

    def close(self, secret: bytes, content: bytes) -> bytes:
        """``content``, sealed."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher(secret).encrypt(nonce, content, None)

    def open(self, secret: bytes, sealed: bytes) -> bytes:
        """The content again; raises Broken."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher(secret).decrypt(nonce, ciphertext, None)
        except (InvalidTag, ValueError) as error:
            raise Broken("sealed under another secret, or changed") from error

    def _cipher(self, secret: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._purpose, secret, "sha256"))
