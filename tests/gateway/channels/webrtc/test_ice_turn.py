"""Time-limited TURN credentials, against another implementation of HMAC-SHA1."""

import base64
import subprocess

from gateway.channels.webrtc import IceSettings, TurnServer
from gateway.channels.webrtc.ice import LIFETIME_SECONDS, client_servers, turn_login

NOW = 1_800_000_000.9


def test_name_and_password_follow_the_turn_rest_draft() -> None:
    username, password = turn_login(TurnServer("turn:h", secret="north"), NOW)
    assert username == f"{1_800_000_000 + LIFETIME_SECONDS}:blab"
    openssl = ["openssl", "dgst", "-sha1", "-hmac", "north", "-binary"]
    digest = subprocess.run(openssl, input=username.encode(), capture_output=True, check=True)
    assert base64.b64decode(password) == digest.stdout


def test_a_fixed_password_is_used_and_never_revealed() -> None:
    turn = TurnServer("turn:h", "user", "password")
    assert turn_login(turn, NOW) == ("user", "password")
    assert client_servers(IceSettings("stun:h:1", turn), NOW) == [{"urls": ["stun:h:1"]}]
    assert "password" not in repr(turn)
    assert "north" not in repr(TurnServer("turn:h", secret="north"))


def test_a_browser_gets_every_server_it_can_use() -> None:
    turn = TurnServer("turn:h:2", secret="north")
    username, credential = turn_login(turn, NOW)
    assert client_servers(IceSettings("stun:h:1", turn), NOW) == [
        {"urls": ["stun:h:1"]},
        {"urls": ["turn:h:2"], "username": username, "credential": credential},
    ]
    assert client_servers(IceSettings(), NOW) == []
