"""``blab doctor --public``: whether UDP reaches a WebRTC call, and whether the TURN servers relay.

A call is made without STUN or TURN on this side: it connects only if datagrams reach one of the
addresses in the server's answer. Where they do not, it is made again through the TURN server.
"""

import asyncio
import contextlib
import re
import socket
import ssl
import time
from ipaddress import ip_address
from typing import Any

import aiohttp
from aioice import ice, stun, turn
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription

from .findings import Finding, Verdict
from .target import Target

SETUP_SECONDS = 20.0
RELAY_SECONDS = 8.0
_CANDIDATE = re.compile(
    r"^a=candidate:\S+ \d+ (?P<transport>\S+) \d+ (?P<host>\S+) (?P<port>\d+) typ (?P<type>\S+)",
    re.MULTILINE,
)
_SERVER = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[^\]]+\]|[^:?]+)(?::(?P<port>\d+))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?"
)


class NoCall(Exception):
    """The call did not connect. ``offered``: the server's candidates, (type, host, port)."""

    def __init__(self, reason: str, offered: list[tuple[str, str, int]]) -> None:
        super().__init__(reason)
        self.offered = offered


async def call_over_webrtc(target: Target) -> list[Finding]:
    """A WebRTC call, set up and hung up."""
    if not target.key:
        return []
    began = time.perf_counter()
    try:
        offered = await _call(target, [])
    except NoCall as failure:
        if not failure.offered:
            return [Finding("udp", Verdict.FAILED, str(failure))]
        return [await _over_relay(target, failure)]
    except (aiohttp.ClientError, OSError) as error:
        return [Finding("udp", Verdict.FAILED, f"no answer to the offer: {error}")]
    detail = f"WebRTC connects in {time.perf_counter() - began:.1f} s to {_listed(offered)}"
    if target.local or set(target.addresses) & set(ice.get_host_addresses(True, True)):
        detail += ". This is the same machine: its firewall has not been tried"
    return [Finding("udp", Verdict.OK, detail)]


async def _over_relay(target: Target, failure: NoCall) -> Finding:
    servers = [entry for entry in await ice_servers(target) if "username" in entry]
    change = advice(target, failure.offered)
    if servers:
        with contextlib.suppress(NoCall, aiohttp.ClientError, OSError):
            await _call(target, [RTCIceServer(**entry) for entry in servers])
            detail = f"only through the TURN server, which adds delay. {change}"
            return Finding("udp", Verdict.SLOW, detail)
    return Finding("udp", Verdict.FAILED, change)


def advice(target: Target, offered: list[tuple[str, str, int]]) -> str:
    """What keeps datagrams from arriving, by what the server offers."""
    direct = [one for one in offered if one[0] != "relay"]
    public = [one for one in direct if ip_address(one[1]).is_global]
    reached = [address for address in target.addresses if ip_address(address).is_global]
    if reached and not public:
        return (
            f"the server offers only private addresses ({_listed(direct)}): set "
            f"BLAB_ADVERTISED_ADDRESS={reached[0]}, and let in the UDP ports of BLAB_UDP_PORTS"
        )
    return (
        f"no datagram reaches {_listed(public or direct)}: let the UDP ports of BLAB_UDP_PORTS in "
        "at the machine's and the provider's firewall (and map them, in a container); for callers "
        "without UDP, add a TURN server (BLAB_ICE_SERVERS)"
    )


def _listed(offered: list[tuple[str, str, int]]) -> str:
    distinct = list(dict.fromkeys(offered))
    shown = [f"{host} UDP {port} ({kind})" for kind, host, port in distinct[:4]]
    return ", ".join(shown) + (" and others" if len(distinct) > 4 else "")


async def _call(target: Target, servers: list[RTCIceServer]) -> list[tuple[str, str, int]]:
    """The candidates of the server's answer, once its data channel is open; raises NoCall."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    opened = asyncio.Event()
    channel = peer.createDataChannel("oai-events")
    channel.on("open", opened.set)
    peer.addTransceiver("audio")
    offered: list[tuple[str, str, int]] = []
    location = ""
    try:
        async with asyncio.timeout(SETUP_SECONDS):
            await peer.setLocalDescription(await peer.createOffer())
            answer, location = await _exchange(target, peer.localDescription.sdp)
            offered = candidates(answer)
            await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await opened.wait()
        return offered
    except TimeoutError:
        raise NoCall("no answer to the offer in time", offered) from None
    finally:
        await peer.close()
        if location:
            await _hang_up(target, location)


async def _exchange(target: Target, offer: str) -> tuple[str, str]:
    """The server's answer to an offer, and the call's path; raises NoCall."""
    headers = target.headers | {"Content-Type": "application/sdp"}
    async with (
        target.http(SETUP_SECONDS) as http,
        http.post("/v1/realtime/calls", data=offer, headers=headers) as response,
    ):
        body = await response.text()
        if response.status != 201:
            raise NoCall(f"the server refuses the offer: HTTP {response.status} {body[:200]}", [])
        return body, response.headers.get("Location", "")


async def _hang_up(target: Target, location: str) -> None:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with target.http() as http:
            await http.post(f"{location}/hangup", headers=target.headers)


def candidates(sdp: str) -> list[tuple[str, str, int]]:
    """(type, host, port) of each UDP candidate."""
    return [
        (found["type"], found["host"], int(found["port"]))
        for found in _CANDIDATE.finditer(sdp)
        if found["transport"].lower() == "udp"
    ]


# ------------------------------------------------------------------ STUN and TURN


async def ice_servers(target: Target) -> list[dict[str, Any]]:
    """What the server gives its callers for ICE; empty if it gives nothing."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError, KeyError):
        async with (
            target.http() as http,
            http.get("/v1/realtime/ice_servers", headers=target.headers) as answer,
        ):
            return list((await answer.json())["ice_servers"])
    return []


async def relays(target: Target) -> list[Finding]:
    """Whether each STUN server answers, and each TURN server relays."""
    if not target.key:
        return []
    servers = await ice_servers(target)
    if not servers:
        detail = "none is configured: callers whose networks block UDP cannot call over WebRTC"
        return [Finding("turn", Verdict.NOTE, detail)]
    return [await _relay(entry, url) for entry in servers for url in entry["urls"]]


async def _relay(entry: dict[str, Any], url: str) -> Finding:
    found = _SERVER.fullmatch(url)
    if found is None:
        return Finding("turn", Verdict.FAILED, f"{url} is no STUN or TURN address")
    is_tls = found["scheme"] in ("turns", "stuns")
    host = found["host"].strip("[]")
    port = int(found["port"] or (5349 if is_tls else 3478))
    transport = found["transport"] or ("tcp" if is_tls else "udp")
    is_turn = found["scheme"].startswith("turn")
    subject = "turn" if is_turn else "stun"
    began = time.perf_counter()
    try:
        async with asyncio.timeout(RELAY_SECONDS):
            if is_turn:
                server = host if transport == "tcp" else await _ipv4(host)
                seen = await _allocate(entry, (server, port), transport, is_tls=is_tls)
            else:
                seen = await _bind((await _ipv4(host), port))
    except stun.TransactionFailed as error:
        return Finding(subject, Verdict.FAILED, f"{url} refuses: {error}. {_ON_REFUSAL}")
    except (stun.TransactionError, OSError, TimeoutError) as error:
        detail = (
            f"{url} does not answer ({str(error) or 'timeout'}): let {transport.upper()} {port} in"
        )
        return Finding(subject, Verdict.FAILED, detail)
    milliseconds = (time.perf_counter() - began) * 1000
    return Finding(subject, Verdict.OK, f"{url} answers in {milliseconds:.0f} ms: {seen}")


_ON_REFUSAL = (
    "BLAB_TURN_SECRET must be its static-auth-secret (with use-auth-secret), and both clocks right"
)


async def _ipv4(host: str) -> str:
    """The first address; aioice's UDP wants one."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])


async def _allocate(
    entry: dict[str, Any], server: tuple[str, int], transport: str, *, is_tls: bool
) -> str:
    relayed, _ = await turn.create_turn_endpoint(
        asyncio.DatagramProtocol,
        server,
        username=entry.get("username"),
        password=entry.get("credential"),
        lifetime=60,
        ssl=ssl.create_default_context() if is_tls else None,
        transport=transport,
    )
    address = relayed.get_extra_info("relayed_address") or relayed.get_extra_info("sockname")
    relayed.close()
    return f"it relays from {address[0]} UDP {address[1]}" if address else "it relays"


class _Stun(asyncio.DatagramProtocol):
    """The first STUN answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[stun.Message] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:  # noqa: ARG002
        """Take the datagram if it is STUN."""
        with contextlib.suppress(ValueError):
            message = stun.parse_message(data)
            if not self.answer.done():
                self.answer.set_result(message)


async def _bind(server: tuple[str, int]) -> str:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Stun, remote_addr=server)
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    try:
        while not protocol.answer.done():
            transport.sendto(bytes(request))
            await asyncio.wait([protocol.answer], timeout=0.5)
        host, port = protocol.answer.result().attributes["XOR-MAPPED-ADDRESS"]
        return f"it sees us at {host} UDP {port}"
    finally:
        transport.close()
