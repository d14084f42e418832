"""Seal: content that can be read only with the secret it was stored under.

For what is stored in a place that others may read, under a secret that its owner brings again and
that is stored nowhere: AES-256-GCM, its key derived from the secret by HMAC-SHA256, so the secret
must be a random one. Sealed content begins with its nonce.
"""

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class Broken(Exception):
    """The content was sealed under another secret, for another purpose, or was changed."""


class Seal:
    """Seals for one ``purpose``: the same secret opens nothing that another purpose has sealed."""

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
