"""What the doctor says of UDP, STUN and TURN."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aioice import stun

from gateway.commands.doctor.findings import Finding, Verdict
from gateway.commands.doctor.media import advice, candidates, relays
from gateway.commands.doctor.target import Target

from .test_public import site

ANSWER = """v=0
a=candidate:1 1 udp 2130706431 10.0.0.7 40001 typ host
a=candidate:2 1 UDP 1694498815 203.0.113.9 40001 typ srflx raddr 10.0.0.7 rport 40001
a=candidate:3 1 tcp 1 10.0.0.7 9 typ host tcptype active
"""
TARGET = replace(Target.of("https://voice.example", "key"), addresses=("8.8.8.8",))


def test_the_candidates_of_an_answer_are_read() -> None:
    assert candidates(ANSWER) == [("host", "10.0.0.7", 40001), ("srflx", "203.0.113.9", 40001)]


def test_private_addresses_behind_a_public_name_need_an_advertised_one() -> None:
    said = advice(TARGET, [("host", "10.0.0.7", 40001), ("relay", "9.9.9.9", 50000)])
    assert "BLAB_ADVERTISED_ADDRESS=8.8.8.8" in said
    assert "10.0.0.7 UDP 40001 (host)" in said


def test_a_public_address_that_cannot_be_reached_is_a_firewalls_doing() -> None:
    said = advice(TARGET, [("host", "10.0.0.7", 40001), ("host", "8.8.8.8", 40001)])
    assert said.startswith("no datagram reaches 8.8.8.8 UDP 40001 (host)")
    assert "firewall" in said


class StunServer(asyncio.DatagramProtocol):
    """Answers binding requests, and refuses every allocation."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = stun.parse_message(data)
        is_binding = request.message_method == stun.Method.BINDING
        kind = stun.Class.RESPONSE if is_binding else stun.Class.ERROR
        answer = stun.Message(request.message_method, kind, request.transaction_id)
        if is_binding:
            answer.attributes["XOR-MAPPED-ADDRESS"] = addr
        else:
            answer.attributes["ERROR-CODE"] = (401, "Unauthorized")
            answer.attributes["REALM"] = "voice.example"
            answer.attributes["NONCE"] = b"n"
        self.transport.sendto(bytes(answer), addr)


@contextlib.asynccontextmanager
async def stun_server() -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def tried(*entries: dict[str, Any]) -> list[Finding]:
    async def ice_servers(_request: web.Request) -> web.Response:
        return web.json_response({"ice_servers": entries})

    async with site(ice_servers) as port:
        return await relays(Target.of(f"http://127.0.0.1:{port}", "key"))


async def test_a_stun_server_that_answers_and_a_turn_server_that_refuses() -> None:
    async with stun_server() as port:
        login = {"username": "1:blab", "credential": "wrong"}
        findings = await tried(
            {"urls": [f"stun:127.0.0.1:{port}"]}, {"urls": [f"turn:127.0.0.1:{port}"], **login}
        )
    found, refused = findings
    assert (found.subject, found.verdict) == ("stun", Verdict.OK)
    assert "it sees us at 127.0.0.1" in found.detail
    assert (refused.subject, refused.verdict) == ("turn", Verdict.FAILED)
    assert "401" in refused.detail
    assert "BLAB_TURN_SECRET" in refused.detail


@pytest.mark.parametrize("url", ["turn:127.0.0.1:1?transport=tcp", "turns:127.0.0.1:1"])
async def test_a_turn_server_that_does_not_answer_is_named(url: str) -> None:
    (found,) = await tried({"urls": [url], "username": "u", "credential": "c"})
    assert found.verdict is Verdict.FAILED
    assert "let TCP 1 in" in found.detail


async def test_an_address_that_is_none_is_named() -> None:
    (found,) = await tried({"urls": ["http://h"]})
    assert "no STUN or TURN address" in found.detail
