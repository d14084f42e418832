"""Secrets: those of customers, sealed where they are stored, and those of the server itself.

``Vault``: keys of customers' own services (the headers of an agent's tools) cannot be hashed,
because they are sent to those services. In the database they are ciphertext (Fernet: AES-128-CBC
with HMAC-SHA256) under a key that is not stored there: a dump or a backup reveals none of them.
What was sealed under another key cannot be opened: it counts as absent, and the log says what to
do.

``ServerSecrets``: with these the server recognises what it has signed. A secret is generated when
it is first needed and is the same for every node and every later start. It never leaves the server
and appears in no log.
"""

import base64
import contextlib
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from .database import Queryable

log = logging.getLogger(__name__)

KEY_BYTES = 32
SEALED = "sealed"
"""The member of a stored tool that replaces those in ``SECRETS``."""
SECRETS = ("headers", "authorization")


class Vault:
    """Seals and opens under one key. ``secret``: any bytes that nobody can guess."""

    def __init__(self, secret: bytes) -> None:
        digest = hashlib.sha256(b"blab vault 1\0" + secret).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    @classmethod
    def kept_in(cls, file: Path) -> "Vault":
        """The vault whose key is in ``file``, where it is created (0600) if it is missing. Nodes
        with the same directory that start at the same moment get the same key. Raises OSError."""
        file.parent.mkdir(parents=True, exist_ok=True)
        made = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
        if not file.exists():
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as out:
                    out.write(secrets.token_bytes(KEY_BYTES))
                    out.flush()
                    os.fsync(out.fileno())
                with contextlib.suppress(
                    FileExistsError
                ):  # another process has created it meanwhile
                    os.link(made, file)
            finally:
                made.unlink()
        return cls(file.read_bytes())

    def close_tools(self, tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """An agent's tools as they are stored: their secrets in one sealed member."""
        return [self._closed(tool) for tool in tools]

    def open_tools(self, tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Stored tools with their secrets. Tools from before there was a vault are not sealed."""
        return [self._opened(tool) for tool in tools]

    def seal(self, content: bytes) -> bytes:
        """``content``, sealed."""
        return self._fernet.encrypt(content)

    def unseal(self, sealed: bytes) -> bytes | None:
        """What was sealed; None if it was sealed under another key, or changed."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            return None

    def _closed(self, tool: Mapping[str, Any]) -> dict[str, Any]:
        hidden = {name: tool[name] for name in SECRETS if tool.get(name)}
        shown = {name: value for name, value in tool.items() if name not in hidden}
        if hidden:
            shown[SEALED] = self._fernet.encrypt(json.dumps(hidden).encode()).decode()
        return shown

    def _opened(self, tool: Mapping[str, Any]) -> dict[str, Any]:
        shown = dict(tool)
        sealed = shown.pop(SEALED, None)
        if isinstance(sealed, str):
            try:
                shown |= json.loads(self._fernet.decrypt(sealed.encode()))
            except InvalidToken:
                log.error(
                    "the headers of tool %s were sealed under another key: set BLAB_SECRET_KEY (or"
                    " secret.key in the data directory) to what it was, or save the agent again",
                    shown.get("name") or shown.get("server_label"),
                )
        return shown


class ServerSecrets:
    """Queries about the server's secrets."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def get_or_create(self, name: str, size: int) -> bytes:
        """The secret of that name; generated from ``size`` random bytes if there is none yet. Nodes
        that ask at the same moment get the same one."""
        await self._db.execute(
            "INSERT INTO server_secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            name,
            secrets.token_bytes(size),
        )
        value = await self._db.fetchval("SELECT value FROM server_secrets WHERE name = $1", name)
        return bytes(value)
