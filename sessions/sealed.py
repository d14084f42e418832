"""Sealed texts: what a call's configuration carries and nobody who records it may read.

Request headers of tools hold keys, and the configuration goes into event logs and the calls
table. There they are ciphertext under a key that this process made and only it has: a sealed text
can be opened where the call runs, and nowhere else.
"""

from collections.abc import Mapping

import msgspec
from cryptography.fernet import Fernet, InvalidToken

_KEY = Fernet(Fernet.generate_key())


def seal(headers: Mapping[str, str]) -> str:
    """The headers, sealed; empty where there are none."""
    return _KEY.encrypt(msgspec.json.encode(dict(headers))).decode() if headers else ""


def unseal(sealed: str) -> dict[str, str]:
    """What was sealed by this process; nothing where another process did it."""
    if not sealed:
        return {}
    try:
        return msgspec.json.decode(_KEY.decrypt(sealed.encode()), type=dict[str, str])
    except InvalidToken:
        return {}
