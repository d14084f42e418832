"""Tokens: our own are read, all others refused."""

import base64
import json
import time
from typing import Any

import jwt
import pytest

from rest.accounts.signing import ALGORITHM, InvalidToken, Tokens, is_token

SECRET = b"s" * 32
TOKENS = Tokens(SECRET)


def made(secret: bytes = SECRET, algorithm: str = ALGORITHM, **changes: Any) -> str:
    claims = {
        "iss": "blab",
        "aud": "blab-api",
        "sub": "usr_1",
        "jti": "1",
        "iat": int(time.time()),
        "exp": int(time.time()) + 60,
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, secret, algorithm)


def test_a_token_names_its_user_for_twelve_hours() -> None:
    token = TOKENS.issue("usr_7", 3)
    assert is_token(token)
    assert TOKENS.user_of(token) == ("usr_7", 3)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 12 * 3600
    assert set(claims) == {"iss", "aud", "sub", "iat", "exp", "jti", "password_number"}
    assert TOKENS.issue("usr_7") != token
    assert TOKENS.user_of(made()) == ("usr_1", 1)  # of an earlier version


@pytest.mark.parametrize(
    "token",
    [
        made(b"t" * 32),
        made(b"s" * 64, "HS512"),
        made(exp=int(time.time()) - 60),
        made(iat=int(time.time()) + 3600),
        made(iss="else"),
        made(aud="else"),
        made(iss=None),
        made(aud=None),
        made(sub=None),
        made(jti=None),
        made(iat=None),
        made(exp=None),
        made(password_number="three"),
        made(password_number=[1]),
        made(password_number=True),
        "eyJ.eyJ.",
        "eyJ\udcff..",
        "eyJ\u00e9..",
        "eyJ" + "x" * 5000 + "..",
        "",
    ],
)
def test_a_foreign_token_is_refused_without_quoting_it(token: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        TOKENS.user_of(token)
    assert not token or token not in str(caught.value)


def test_an_unsigned_token_is_refused() -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    body = made().split(".")[1]
    with pytest.raises(InvalidToken):
        TOKENS.user_of(f"{header.decode().rstrip('=')}.{body}.")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Tokens(b"short")


@pytest.mark.parametrize("text", ["blab_sk_" + "0" * 38, "ek_1.2.3", "eyJ.a", ""])
def test_keys_are_not_tokens(text: str) -> None:
    assert not is_token(text)
