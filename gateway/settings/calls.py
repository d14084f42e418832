"""Settings of live calls: how many, over which networks, and which carriers may bring them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import parsers
from .parsers import IceServer, setting


def _carrier_secret(name: str, form: str, proof: str) -> Any:
    """What proves a carrier's streams without a key; ``proof``: whose streams, and by what."""
    effect = (
        f"Accepts {proof} of their opening request, for the agent in their address; see "
        "docs/telephony.md. Never printed or logged."
    )
    return setting(name, parsers.text, None, "streams need a key", form, effect, secret=True)


@dataclass(frozen=True)
class CallSettings:
    """Live calls."""

    max_calls: int = setting(
        "BLAB_MAX_CALLS",
        parsers.integer(1, 10_000),
        0,
        "2 per core",
        "a whole number from 1 to 10000",
        "Simultaneous calls on this node; further ones are refused because the server is full.",
    )
    max_calls_per_workspace: int = setting(
        "BLAB_MAX_CALLS_PER_WORKSPACE",
        parsers.integer(0, 10_000),
        0,
        "0",
        "a whole number from 0 to 10000 (0: no limit)",
        "Simultaneous calls of one workspace on this node; see docs/operations.md for what else "
        "refuses a call.",
    )
    resume_seconds: int = setting(
        "BLAB_RESUME_SECONDS",
        parsers.integer(0, 600),
        60,
        "60",
        "a whole number from 0 to 600",
        "How long a call that lost its connection or its node can be resumed; 0: it ends at once. "
        "See docs/realtime.md.",
    )
    record_calls: Path | None = setting(
        "BLAB_RECORD_CALLS",
        parsers.directory_or_off,
        None,
        "off",
        "off, or a directory's path",
        "Write each call's event log there, for `blab replay`. The logs contain what was said.",
    )
    ice_servers: tuple[IceServer, ...] = setting(
        "BLAB_ICE_SERVERS",
        parsers.ice_servers,
        (),
        "none",
        "addresses separated by commas: stun:host[:port], "
        "turn:[user:password@]host[:port] or turns:[user:password@]host[:port]",
        "STUN and TURN servers for WebRTC. For a TURN server without a password, "
        "`BLAB_TURN_SECRET` makes the credentials.",
        secret=True,
    )
    turn_secret: str | None = setting(
        "BLAB_TURN_SECRET",
        parsers.text,
        None,
        "none",
        "the secret that the TURN server shares (coturn: `static-auth-secret`)",
        "Makes time-limited names and passwords for TURN servers without a fixed one, for "
        "this server and for callers (`GET /v1/realtime/ice_servers`).",
        secret=True,
    )
    advertised_address: str | None = setting(
        "BLAB_ADVERTISED_ADDRESS",
        parsers.ip_address,
        None,
        "the machine's own addresses",
        "an IP address",
        "Address that WebRTC peers send to, if the machine is behind NAT.",
    )
    udp_ports: tuple[int, int] | None = setting(
        "BLAB_UDP_PORTS",
        parsers.port_range,
        None,
        "any free port",
        "a range such as 40000-40999",
        "UDP ports that WebRTC may use.",
    )
    twilio_auth_token: str | None = _carrier_secret(
        "BLAB_TWILIO_AUTH_TOKEN",
        "the account's auth token",
        "Twilio's media streams by the signature",
    )
    vonage_signature_secret: str | None = _carrier_secret(
        "BLAB_VONAGE_SIGNATURE_SECRET",
        "the account's signature secret",
        "Vonage's WebSockets by the JWT",
    )
    plivo_auth_token: str | None = _carrier_secret(
        "BLAB_PLIVO_AUTH_TOKEN",
        "the account's auth token",
        "Plivo's audio streams by the signature",
    )
    genesys_client_secret: str | None = _carrier_secret(
        "BLAB_GENESYS_CLIENT_SECRET",
        "the integration's client secret, in base64",
        "the streams of Genesys Cloud's Audio Connector by the signature",
    )
    audiosocket: tuple[str, int] | None = setting(
        "BLAB_AUDIOSOCKET",
        parsers.host_and_port,
        None,
        "off",
        "HOST:PORT, such as 10.0.0.5:9092",
        "Where Blab accepts AudioSocket calls. They need a one-time key, except on loopback in"
        " embedded mode, and are not encrypted: keep the address private. See docs/telephony.md.",
    )
    tool_private: bool = setting(
        "BLAB_TOOL_PRIVATE",
        parsers.yes_or_no,
        False,
        "no",
        "yes or no",
        "Whether agents' tools may go to private, loopback and carrier-grade NAT addresses.",
    )
