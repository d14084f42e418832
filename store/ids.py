"""Identifiers: a prefix that names the kind, then 26 characters that sort by creation time.

The layout is ULID's (48 bits of milliseconds, 80 random bits, Crockford's base 32) in lower case:
URL-safe, without look-alikes, no counter that could be guessed, and not a secret. Those that one
process makes within a millisecond sort in the order of their making, as ULID has it, too.
"""

import re
import secrets
import time
from datetime import datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_STEP_BITS = 64
_LETTERS = 26
_ID = re.compile(rf"[a-z]+_[{ALPHABET}]{{{_LETTERS}}}")


def new_id(prefix: str) -> str:
    """A new identifier such as ``call_01jd…``; ``prefix`` is lower-case letters."""
    now = time.time_ns() // 1_000_000
    if _last[0] >> _RANDOM_BITS == now:
        number = _last[0] + 1 + secrets.randbits(_STEP_BITS)
    else:
        number = now << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    _last[0] = number
    return prefix + "_" + _encoded(number)


_last = [0]
"""The number of the identifier that was made last."""


def first_id(prefix: str, moment: datetime) -> str:
    """Sorts before every identifier with ``prefix`` that is made at ``moment`` or later, and behind
    all that were made earlier."""
    number = int(moment.timestamp() * 1000) << _RANDOM_BITS
    return prefix + "_" + _encoded(number)


def _encoded(number: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LETTERS)))


def is_id(text: str) -> bool:
    """Whether ``text`` has the form of an identifier (of any kind)."""
    return _ID.fullmatch(text) is not None
