"""ICE for a server: where to listen, whom to trust, when to give up (RFC 8445, RFC 7675).

``IceConnection`` is aioice's connection with four differences:

- **Addresses** are chosen by ``IceSettings``: interfaces, a port range, addresses to advertise for
  a one-to-one NAT; STUN and TURN only if configured, with ``GATHER_TIMEOUT`` for both.
- **Strangers are ignored**: a datagram that is not STUN is dropped unless it comes from an address
  that ICE has paired. Anyone may send to our port, and one forged record is enough to break a
  DTLS handshake.
- **mDNS candidates** (``.local``) are ignored: their address is learned from the peer's own checks,
  and resolving them costs a second.
- **Consent** is checked every ``CONSENT_INTERVAL``, and at once after a check that was not
  answered; the connection is closed when the peer has not answered for ``CONSENT_EXPIRY``. What the
  answers say of the path goes to ``reach``.

TURN credentials are time-limited ("A REST API for Access to TURN Services",
draft-uberti-behave-turn-rest-00, coturn's ``use-auth-secret``): the name is the Unix time until
which it is valid and a label; the password is base64 of HMAC-SHA1 over it with the shared secret.
A fixed password is this server's own and is never given to a client.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import logging
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import aioice
from aioice import ice, mdns, stun
from aioice.candidate import candidate_foundation, candidate_priority

from .reach import Reach

logger = logging.getLogger(__name__)

TESTED_AIOICE = "0.13."
"""The version whose internals this file relies on; see test_ice.py."""

GATHER_TIMEOUT = 1.0
"""Seconds that STUN and TURN servers have to answer; later candidates are left out."""
CONSENT_INTERVAL = 2.0
CONSENT_EXPIRY = 9.0
DOUBT_PAUSE = 0.1
"""Between a check that was not answered (within 0.5 s) and the next one."""
MAX_QUEUED_DATAGRAMS = 512
"""Received and not read yet; further ones are dropped, as by a full socket buffer."""
MAX_REMOTE_CANDIDATES = 32
SOCKET_BUFFER = 256 * 1024


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A relay, ``turn:host:port?transport=udp`` or ``turns:…``, and how to sign in: with a fixed
    name and password, or with the secret from which time-limited ones are made."""

    url: str
    username: str = ""
    credential: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class IceSettings:
    """How this server is reached. The default uses all interfaces and no STUN or TURN server."""

    stun_server: str | None = None
    """``stun:host:port``; only needed behind a NAT whose public address is unknown."""
    turn_server: TurnServer | None = None
    bind_addresses: tuple[str, ...] = ()
    """Addresses to listen on; empty: those of all interfaces."""
    advertised_addresses: tuple[str, ...] = ()
    """Public addresses that a one-to-one NAT (Docker, a cloud) maps to ours, port by port."""
    port_range: tuple[int, int] | None = None
    """First and last UDP port; None: any free port."""
    allow_loopback: bool = False
    """Also listen on 127.0.0.1, for callers on this machine."""

    def __post_init__(self) -> None:
        for address in (*self.bind_addresses, *self.advertised_addresses):
            ip_address(address)
        if self.port_range is not None:
            first, last = self.port_range
            if not 1 <= first <= last <= 65_535:
                raise ValueError(f"UDP port range {first}-{last}: 1 ≤ first ≤ last ≤ 65535")


DEFAULT_ICE = IceSettings()


def is_media(data: bytes) -> bool:
    """Whether a datagram is SRTP, and neither SRTCP nor another protocol (RFC 7983, RFC 5761)."""
    return len(data) > 1 and 127 < data[0] < 192 and not 192 <= data[1] < 224


class GuardedProtocol(ice.StunProtocol):
    """One UDP socket; accepts only STUN and the addresses that ICE has paired with it."""

    def __init__(self, receiver: "IceConnection") -> None:
        super().__init__(receiver)
        self.dropped = 0
        self._paired: set[tuple[str, int]] = set()

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Demultiplex by the first byte (RFC 7983): STUN is 0 to 3."""
        if data and isinstance(data, bytes):
            if data[0] < 4:
                super().datagram_received(data, addr)
                return
            if self._knows((addr[0], addr[1])):
                self.receiver.data_received(data, self.local_candidate.component)
                return
        self.dropped += 1

    def _knows(self, address: tuple[str, int]) -> bool:
        if address in self._paired:
            return True
        if any(
            pair.protocol is self and pair.remote_addr == address
            for pair in self.receiver._check_list
        ):
            self._paired.add(address)
            return True
        return False


class IceConnection(aioice.Connection):
    """The ICE agent of one call; the module says how it differs from aioice's."""

    def __init__(self, settings: IceSettings, reach: Reach | None = None, **arguments: Any) -> None:
        super().__init__(ice_controlling=False, **arguments)
        self._settings = settings
        self._reach = reach or Reach()
        self.on_media: Callable[[bytes], None] | None = None
        """Receives packets of media (SRTP) as they come; None: they are queued with the others."""
        self.consent_expired = False
        """The peer has stayed silent for too long."""

    def send_media(self, data: bytes) -> None:
        """Send a packet at once; raises ConnectionError without a connection."""
        pair = self._nominated.get(1)
        if pair is None or pair.protocol.transport.is_closing():
            raise ConnectionError("there is no connection to send on")
        pair.protocol.transport.sendto(data, pair.remote_addr)

    async def add_remote_candidate(self, remote_candidate: aioice.Candidate | None) -> None:
        """Add a candidate of the peer, unless it is an mDNS name, not UDP or one too many."""
        if remote_candidate is not None and (
            mdns.is_mdns_hostname(remote_candidate.host)
            or remote_candidate.transport.lower() != "udp"
            or len(self.remote_candidates) >= MAX_REMOTE_CANDIDATES
        ):
            return
        await super().add_remote_candidate(remote_candidate)

    async def gather_candidates(self) -> None:
        """Bind the sockets and collect our candidates."""
        if self._local_candidates_start:
            return
        self._local_candidates_start = True
        addresses = list(self._settings.bind_addresses) or ice.get_host_addresses(True, True)
        if self._settings.allow_loopback and "127.0.0.1" not in addresses:
            addresses.append("127.0.0.1")
        self._local_candidates += await self.get_component_candidates(1, addresses)
        self._local_candidates_end = True

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[aioice.Candidate]:
        """Host candidates, then advertised, server-reflexive and relayed ones."""
        protocols = [p for a in addresses if (p := await self._listen(component, a)) is not None]
        self._protocols += protocols
        candidates = [protocol.local_candidate for protocol in protocols]
        for protocol in protocols:
            candidates += self._advertised(protocol)
        tasks = self._ask_servers(component, protocols)
        if tasks:
            done, late = await asyncio.wait(tasks, timeout=min(timeout, GATHER_TIMEOUT))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            for task in done:
                if (fault := task.exception()) is not None:
                    logger.warning("no candidate from a STUN or TURN server: %s", fault)
                    continue
                candidate, relay = task.result()
                candidates.append(candidate)
                if relay is not None:
                    self._protocols.append(relay)
        return candidates

    def data_received(self, data: bytes, component: int) -> None:
        """Pass on a packet of media, or queue another datagram for DTLS and SRTCP; dropped if the
        queue is full."""
        if self.on_media is not None and is_media(data):
            self.on_media(data)
        elif self._queue.qsize() < MAX_QUEUED_DATAGRAMS:
            super().data_received(data, component)

    async def query_consent(self) -> None:
        """Check the peer's consent to receive; close the connection when it stays silent."""
        loop = asyncio.get_running_loop()
        key = (self.remote_password or "").encode()
        answered, doubted = loop.time(), False
        while loop.time() - answered < CONSENT_EXPIRY:
            interval = CONSENT_INTERVAL * random.uniform(0.8, 1.2)
            await asyncio.sleep(DOUBT_PAUSE if doubted else interval)
            for pair in list(self._nominated.values()):
                sent = loop.time()
                try:
                    await pair.protocol.request(
                        self.build_request(pair, nominate=False),
                        pair.remote_addr,
                        integrity_key=key,
                        retransmissions=0,
                    )
                except stun.TransactionError:
                    self._reach.unanswered(sent)
                    doubted = True
                    continue
                answered, doubted = loop.time(), False
                self._reach.answered(sent, answered)
        self._query_consent_task = None
        self.consent_expired = True
        await self.close()

    async def _listen(self, component: int, address: str) -> GuardedProtocol | None:
        loop = asyncio.get_running_loop()
        for port in self._ports():
            try:
                transport, protocol = await loop.create_datagram_endpoint(
                    lambda: GuardedProtocol(self), local_addr=(address, port)
                )
            except OSError as fault:
                failure = fault
                continue
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER
            )
            host, port = transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = aioice.Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            return protocol
        logger.warning("cannot listen for WebRTC media on %s: %s", address, failure)
        return None

    def _ports(self) -> Iterator[int]:
        """Ports to try, starting with a random one."""
        if self._settings.port_range is None:
            return iter((0,))
        first, last = self._settings.port_range
        start = random.randint(first, last)
        return itertools.chain(range(start, last + 1), range(first, start))

    def _advertised(self, protocol: GuardedProtocol) -> list[aioice.Candidate]:
        own = protocol.local_candidate
        version = ip_address(own.host).version
        return [
            aioice.Candidate(
                foundation=candidate_foundation("srflx", "udp", own.host),
                component=own.component,
                transport="udp",
                priority=candidate_priority(own.component, "srflx"),
                host=address,
                port=own.port,
                type="srflx",
                related_address=own.host,
                related_port=own.port,
            )
            for address in self._settings.advertised_addresses
            if ip_address(address).version == version and not ip_address(own.host).is_loopback
        ]

    def _ask_servers(
        self, component: int, protocols: list[GuardedProtocol]
    ) -> list[asyncio.Task[Any]]:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(ice.server_reflexive_candidate(protocol, self.stun_server))
            for protocol in protocols
            if self.stun_server and ip_address(protocol.local_candidate.host).version == 4
        ]
        if self.turn_server:
            relayed = ice.relayed_candidate(
                component=component,
                hide_related_address=False,
                protocol_factory=lambda: GuardedProtocol(self),
                turn_server=self.turn_server,
                turn_username=self.turn_username,
                turn_password=self.turn_password,
                turn_ssl=self.turn_ssl,
                turn_transport=self.turn_transport,
            )
            tasks.append(asyncio.create_task(relayed))
        return tasks


# ------------------------------------------------------------------ TURN credentials

LIFETIME_SECONDS = 2 * 3600
"""Twice the longest call: a relay asks for the password again while it is in use."""
_LABEL = "blab"


def turn_login(turn: TurnServer, now: float) -> tuple[str, str]:
    """Name and password for ``turn``; ``now`` in Unix seconds. Pure."""
    if not turn.secret:
        return turn.username, turn.credential
    username = f"{int(now) + LIFETIME_SECONDS}:{_LABEL}"
    digest = hmac.new(turn.secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def client_servers(ice: IceSettings, now: float) -> list[dict[str, Any]]:
    """The entries of a browser's ``RTCConfiguration.iceServers``; ``now`` in Unix seconds."""
    servers: list[dict[str, Any]] = []
    if ice.stun_server is not None:
        servers.append({"urls": [ice.stun_server]})
    if ice.turn_server is not None and ice.turn_server.secret:
        username, credential = turn_login(ice.turn_server, now)
        servers.append(
            {"urls": [ice.turn_server.url], "username": username, "credential": credential}
        )
    return servers
