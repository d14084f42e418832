"""Identifiers: a prefix that names the kind, then 26 characters that sort by time of birth.

The layout is ULID's (48 bits of milliseconds, 80 random bits, Crockford's base 32) in lower
case: URL-safe, no look-alikes, unguessable enough to be no secret but never a counter.
"""

import re
import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_LETTERS = 26
_ID = re.compile(rf"[a-z]+_[{ALPHABET}]{{{_LETTERS}}}")


def new_id(prefix: str) -> str:
    """A new identifier such as ``call_01jd…``; ``prefix`` is lower-case letters."""
    number = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return prefix + "_" + "".join(ALPHABET[number >> 5 * i & 31] for i in reversed(range(_LETTERS)))


def is_id(text: str) -> bool:
    """True where ``text`` has the form of an identifier (of whatever kind)."""
    return _ID.fullmatch(text) is not None
