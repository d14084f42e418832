"""Tokens: what a user who signed in shows instead of a password, for twelve hours.

JSON Web Tokens under HMAC-SHA-256 and nothing else; issuer, audience, expiry and subject are
demanded. A token says who the user is and no more: what they may do is looked up anew, so that it
ends with their membership and not with the token.
"""

import secrets
from datetime import UTC, datetime, timedelta

import jwt

ALGORITHM = "HS256"
ISSUER, AUDIENCE = "blab", "blab-api"
SECONDS = 12 * 3600
SECRET_BYTES = 32
_LEEWAY = 10
_CLAIMS = ("iss", "aud", "exp", "iat", "sub", "jti")
_MAX_CHARS = 4096


class InvalidToken(ValueError):
    """Not a token of ours, or one that has expired. The message does not quote it."""


class Tokens:
    """Makes and reads tokens. ``secret``: 32 random bytes, the same on every node."""

    def __init__(self, secret: bytes, seconds: int = SECONDS) -> None:
        """Raises ValueError for a short secret."""
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"the secret of tokens has at least {SECRET_BYTES} bytes")
        self._secret = secret
        self._seconds = seconds

    def issue(self, user_id: str) -> str:
        """A new token for a user."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "iat": now,
            "exp": now + timedelta(seconds=self._seconds),
            "jti": secrets.token_hex(12),
        }
        return jwt.encode(claims, self._secret, ALGORITHM)

    def user_of(self, token: str) -> str:
        """Id of the user who was given ``token``; raises InvalidToken."""
        if len(token) > _MAX_CHARS:
            raise InvalidToken("too long for a token")
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
        return str(claims["sub"])


def is_token(text: str) -> bool:
    """Whether ``text`` has the form of a token rather than of a key."""
    return text.count(".") == 2 and text.startswith("eyJ")
