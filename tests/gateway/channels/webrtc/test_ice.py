"""Addresses, strangers, mDNS: where our ICE differs from aioice's."""

import asyncio
import re
import socket
from typing import Any

import aioice
import pytest

from gateway.channels.webrtc.ice import (
    MAX_QUEUED_DATAGRAMS,
    MAX_REMOTE_CANDIDATES,
    TESTED_AIOICE,
    IceConnection,
    IceSettings,
)
from tests.support.gateway.webrtc_client import LOOPBACK, Caller
from tests.support.gateway.webrtc_server import serve


def candidate(host: str, port: int = 4000) -> aioice.Candidate:
    return aioice.Candidate("1", 1, "udp", 2122260223, host, port, "host")


async def gathered(settings: IceSettings) -> IceConnection:
    connection = IceConnection(settings)
    await connection.gather_candidates()
    return connection


def test_aioice_is_the_pinned_version():
    assert aioice.__version__.startswith(TESTED_AIOICE)
    for name in ("_check_list", "_protocols", "_queue", "_nominated", "_local_candidates_end"):
        assert hasattr(IceConnection(LOOPBACK), name), name


async def test_addresses_and_ports_are_those_of_the_settings():
    connection = await gathered(
        IceSettings(
            bind_addresses=("127.0.0.1",),
            advertised_addresses=("203.0.113.9",),
            port_range=(45_000, 45_200),
        )
    )
    (host,) = connection.local_candidates
    assert host.host == "127.0.0.1"
    assert 45_000 <= host.port <= 45_200
    await connection.close()


async def test_a_taken_port_is_passed_over():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        connection = await gathered(
            IceSettings(bind_addresses=("127.0.0.1",), port_range=(port, port))
        )
        assert connection.local_candidates == []
        await connection.close()


async def test_advertised_addresses_stand_beside_the_real_ones():
    settings = IceSettings(advertised_addresses=("203.0.113.9",), allow_loopback=True)
    connection = await gathered(settings)
    kinds = {(c.type, c.host) for c in connection.local_candidates}
    assert ("host", "127.0.0.1") in kinds
    outer = [c for c in connection.local_candidates if c.type == "srflx"]
    inner = {c.port for c in connection.local_candidates if c.type == "host"}
    assert {c.host for c in outer} <= {"203.0.113.9"}
    assert {c.port for c in outer} <= inner
    await connection.close()


@pytest.mark.slow
async def test_a_stun_server_that_does_not_answer_costs_a_second_at_most():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        connection = IceConnection(LOOPBACK, stun_server=silent.getsockname())
        started = asyncio.get_running_loop().time()
        await connection.gather_candidates()
        assert asyncio.get_running_loop().time() - started < 1.5
        assert [c.type for c in connection.local_candidates] == ["host"]
        await connection.close()


async def test_names_of_mdns_and_a_flood_of_candidates_are_ignored():
    connection = await gathered(LOOPBACK)
    await asyncio.wait_for(connection.add_remote_candidate(candidate("3f1f0c2e.local")), 0.1)
    assert connection.remote_candidates == []
    for port in range(1000, 1200):
        await connection.add_remote_candidate(candidate("127.0.0.1", port))
    assert len(connection.remote_candidates) == MAX_REMOTE_CANDIDATES
    await connection.close()


async def test_only_paired_addresses_are_read_and_the_queue_is_bounded():
    connection = await gathered(LOOPBACK)
    protocol: Any
    (protocol,) = connection._protocols
    await connection.add_remote_candidate(candidate("127.0.0.1", 4000))
    connection._pair_remote_candidate(connection.remote_candidates[0])
    for data in (b"\x16\xfe\xff", b"\x80abc", b"", b"\x50"):
        protocol.datagram_received(data, ("127.0.0.1", 4001))
    assert protocol.dropped == 4
    assert connection._queue.qsize() == 0
    for _ in range(2 * MAX_QUEUED_DATAGRAMS):
        protocol.datagram_received(b"\x16\xfe\xff", ("127.0.0.1", 4000))
    assert connection._queue.qsize() == MAX_QUEUED_DATAGRAMS
    protocol.datagram_received(b"\x00\x01 no stun", ("127.0.0.1", 4001))
    await connection.close()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"bind_addresses": ("localhost",)}, "localhost"),
        ({"advertised_addresses": ("1.2.3",)}, r"1\.2\.3"),
        ({"port_range": (9, 8)}, "port range 9-8"),
    ],
)
def test_wrong_settings_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        IceSettings(**settings)


HELLO = bytes.fromhex("16feff0000000000000000002e010000220000000000000022fefd") + bytes(32)
ALERT = bytes.fromhex("15feff000000000000000000020228")


@pytest.mark.parametrize(
    "forged", [HELLO, ALERT, b"", b"\x80" * 40], ids=["hello", "alert", "empty", "rtp"]
)
async def test_a_stranger_cannot_kill_the_handshake_or_the_call(forged):
    """Forged datagrams hit the server's ports from before the handshake to the end."""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flood: list[asyncio.Task[None]] = []

    async def attack(ports: list[int]) -> None:
        while True:
            for port in ports:
                stranger.sendto(forged, ("127.0.0.1", port))
            await asyncio.sleep(0.001)

    def on_answer(answer: str) -> None:
        ports = re.findall(r"a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+)", answer)
        flood.append(asyncio.create_task(attack([int(port) for port in ports])))

    try:
        async with serve() as gateway:
            for _ in range(3):
                async with Caller(gateway.url, on_answer=on_answer) as caller:
                    caller.send({"type": "still here"})
                    await caller.event("echo")
    finally:
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        stranger.close()
