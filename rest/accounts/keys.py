"""API keys: ``blab_sk_`` + 32 random characters (190 bits) + 6 characters of checksum, and scopes.

The layout is that of GitHub's tokens: base 62, and a CRC-32 of what stands before it, so that a
mistyped or invented key is refused without asking the database, and secret scanners recognise a
real one. The checksum is no secret and proves nothing else.

Rules: the text is shown once and never stored; its SHA-256 is (the key has 190 random bits, so a
slow hash would add nothing). ``repr`` and ``str`` never show the text.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Literal, get_args

Scope = Literal[
    "tts:write",
    "tts:read",
    "stt:write",
    "stt:read",
    "voices:read",
    "voices:write",
    "batch:read",
    "batch:write",
    "dubbing:read",
    "dubbing:write",
    "webhooks:read",
    "webhooks:write",
    "projects:write",
    "projects:read",
    "jobs:read",
    "usage:read",
    "api-keys:read",
    "api-keys:write",
    "agents:read",
    "agents:write",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)


PREFIX = "blab_sk_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
"""The digits of base 62, in ascending order."""
RANDOM_LETTERS = 32
CHECKSUM_LETTERS = 6
SHOWN_LETTERS = 4
"""Random characters in the displayed prefix; 166 random bits stay hidden."""
_KEY = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{RANDOM_LETTERS}}})([0-9A-Za-z]{{{CHECKSUM_LETTERS}}})")


class MalformedKey(ValueError):
    """Not an API key: wrong form or wrong checksum. The message does not quote it."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as text."""

    text: str = field(repr=False)

    @property
    def prefix(self) -> str:
        """What may be shown and stored: ``blab_sk_`` and the first characters."""
        return self.text[: len(PREFIX) + SHOWN_LETTERS]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text (32 bytes): what is stored and looked up."""
        return hashlib.sha256(self.text.encode("ascii")).digest()


def new_key() -> Key:
    """A new key from the system's random source."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LETTERS))
    return Key(body + checksum(body))


def parse(text: str) -> Key:
    """``text`` as a key; raises MalformedKey."""
    found = _KEY.fullmatch(text)
    if found is None or checksum(PREFIX + found[1]) != found[2]:
        raise MalformedKey("not an API key of blab: it must be blab_sk_ and 38 letters or digits")
    return Key(text)


def checksum(body: str) -> str:
    """CRC-32 of ``body`` in six digits of base 62, the most significant first."""
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_LETTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
