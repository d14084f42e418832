"""Time-limited names and passwords for TURN servers, and the servers as a client is told of them.

Source: "A REST API for Access to TURN Services" (draft-uberti-behave-turn-rest-00), as coturn's
``use-auth-secret`` has it: the name is the Unix time until which it holds and a label; the
password is base64 of HMAC-SHA1 over it with the shared secret. Pure: the time is an argument.

Rule: a fixed password is this server's own and is told to no client.
"""

import base64
import hashlib
import hmac
from typing import Any

from .ice import IceSettings, TurnServer

LIFETIME_SECONDS = 2 * 3600
"""Twice the longest call: a relay asks for the password again while it is used."""
_LABEL = "blab"


def turn_login(turn: TurnServer, now: float) -> tuple[str, str]:
    """Name and password that ``turn`` takes; ``now`` in Unix seconds."""
    if not turn.secret:
        return turn.username, turn.credential
    username = f"{int(now) + LIFETIME_SECONDS}:{_LABEL}"
    digest = hmac.new(turn.secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def client_servers(ice: IceSettings, now: float) -> list[dict[str, Any]]:
    """The entries of a browser's ``RTCConfiguration.iceServers``."""
    servers: list[dict[str, Any]] = []
    if ice.stun_server is not None:
        servers.append({"urls": [ice.stun_server]})
    if ice.turn_server is not None and ice.turn_server.secret:
        username, credential = turn_login(ice.turn_server, now)
        servers.append(
            {"urls": [ice.turn_server.url], "username": username, "credential": credential}
        )
    return servers
