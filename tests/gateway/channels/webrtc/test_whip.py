"""/v1/whip according to RFC 9725, with a real peer behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.webrtc import IceSettings, TurnServer
from gateway.channels.webrtc.calls import RequestError
from gateway.channels.webrtc.whip import FRAGMENT, MAX_CANDIDATES, read_fragment
from sessions.channel import Piece
from tests.support.gateway.scripted_server import ScriptedServer, server
from tests.support.paths import CHROMIUM_OFFER

__all__ = ["server"]

from tests.support.gateway.webrtc_client import LOOPBACK, Caller, speech
from tests.support.gateway.webrtc_server import EchoGateway, serve

CHROMIUM = CHROMIUM_OFFER.read_bytes().decode()
SDP = {"Content-Type": "application/sdp"}
HOST = "1 1 udp 2130706431 127.0.0.1 {port} typ host"


@pytest.fixture
async def gateway() -> AsyncIterator[EchoGateway]:
    async with serve() as running:
        yield running


async def ask(
    method: str, url: str, data: Any = None, **headers: str
) -> tuple[int, Any, dict[str, Any]]:
    """Status, headers and, where it is JSON, the error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, data=data, headers=named) as answer,
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        is_json = answer.content_type == "application/json"
        return answer.status, answer.headers, (await answer.json())["error"] if is_json else {}


async def test_a_session_is_created_used_and_ended(gateway: EchoGateway) -> None:
    async with Caller(gateway.whip_url) as caller:
        assert caller.answered["Location"] == f"/v1/whip/{caller.call_id}"
        assert caller.answered["ETag"].startswith('"')
        assert caller.answered["Content-Type"].startswith("application/sdp")
        assert "Location" in caller.answered["Access-Control-Expose-Headers"]
        await caller.event("session.created")
        await caller.say(speech("joe_yes"))
        await caller.listen(0.2)
        assert max(map(abs, memoryview(caller.heard()).cast("h"))) > 2_000
        session = f"{gateway.whip_url}/{caller.call_id}"
        assert (await ask("DELETE", session))[0] == 200
        await asyncio.wait_for(caller.closed.wait(), 5)
        assert (await ask("DELETE", session))[0] == 404
    assert gateway.calls.live == 0


async def test_replies_to_a_send_only_encoder_are_heard_by_the_clock(
    gateway: EchoGateway,
) -> None:
    """sendonly: its reply's audio is dropped, and playout counts by time."""
    gateway.echo_audio = False
    caller = Caller(gateway.whip_url)
    caller.connection.getTransceivers()[0].direction = "sendonly"
    async with caller:
        channel = gateway.channels[caller.call_id]
        assert channel.played() is None
        channel.play(Piece("resp", "item", bytes(31 * 2 * channel.output_rate)))
        await caller.say(speech("joe_yes"))
        assert channel.closed_reason is None
        assert gateway.frames[caller.call_id]


async def test_candidates_that_trickle_in_connect(gateway: EchoGateway) -> None:
    """The offer and the answer contain no address; a PATCH does."""
    caller = Caller(gateway.whip_url)
    full = await caller.offer()
    lines = full.splitlines()
    candidates = [line for line in lines if line.startswith("a=candidate")]
    ufrag = next(line for line in lines if line.startswith("a=ice-ufrag"))
    bare = "\r\n".join(line for line in lines if "candidate" not in line) + "\r\n"
    status, headers, _ = await ask("POST", gateway.whip_url, bare, **SDP)
    assert status == 201
    session = f"{gateway.whip_url}/{headers['Location'].rsplit('/', 1)[1]}"
    fragment = "\r\n".join([ufrag, "m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", *candidates, ""])
    patch = {"Content_Type": FRAGMENT, "If_Match": headers["ETag"]}
    status, patched, _ = await ask("PATCH", session, fragment, **patch)
    assert (status, patched["ETag"]) == (204, headers["ETag"])
    [channel] = gateway.channels.values()
    added = channel._peer._ice.remote_candidates
    assert {candidate.host for candidate in added} == {"127.0.0.1"}
    await caller.hang_up()
    assert (await ask("DELETE", session))[0] == 200


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, "", 428, "if_match_required"),
        ({"If_Match": "*"}, "", 422, "ice_restart_unsupported"),
        ({"If_Match": '"other"'}, "", 412, "etag_mismatch"),
        ({"If_Match": "é"}, "", 412, "etag_mismatch"),
        ({"If_Match": "own", "Content_Type": "text/plain"}, "", 415, "unsupported_content_type"),
        ({"If_Match": "own"}, "a=ice-ufrag:another\r\n", 422, "ice_restart_unsupported"),
        ({"If_Match": "own"}, "a=candidate:rubbish\r\n", 400, "invalid_sdpfrag"),
        ({"If_Match": "own"}, "rubbish", 400, "invalid_sdpfrag"),
        ({"If_Match": "own"}, b"\xff", 400, "invalid_sdp"),
        ({"If_Match": "own"}, b"a=" * 9_000, 413, "too_large"),
        (
            {"If_Match": "own"},
            "\r\n".join(f"a=candidate:{HOST.format(port=n)}" for n in range(MAX_CANDIDATES + 1)),
            400,
            "too_many_candidates",
        ),
    ],
)
async def test_bad_fragments_are_refused(
    gateway: EchoGateway, headers: dict[str, str], body: Any, status: int, code: str
) -> None:
    _, made, _ = await ask("POST", gateway.whip_url, CHROMIUM, **SDP)
    session = f"{gateway.whip_url}/{made['Location'].rsplit('/', 1)[1]}"
    sent = {"Content_Type": FRAGMENT} | headers
    if sent.get("If_Match") == "own":
        sent["If_Match"] = made["ETag"]
    answered, _, error = await ask("PATCH", session, body, **sent)
    assert (answered, error["code"]) == (status, code)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("POST", "", SDP, "rubbish", 400),
        ("POST", "", {"Content-Type": "text/plain"}, CHROMIUM, 415),
        ("POST", "", SDP, b"\xff", 400),
        ("POST", "", SDP, "v=0" + "x" * 70_000, 413),
        ("PATCH", "/call_absent", {"Content-Type": FRAGMENT}, "", 404),
        ("DELETE", "/call_absent", {}, None, 404),
    ],
)
async def test_bad_requests_are_refused(
    gateway: EchoGateway, method: str, path: str, headers: dict[str, str], body: Any, status: int
) -> None:
    answer = await ask(method, gateway.whip_url + path, body, **headers)
    assert answer[0] == status
    assert set(answer[2]) == {"type", "code", "message", "param"}
    assert gateway.calls.live == 0


@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.text(max_size=40).map("a=candidate:".__add__),
            st.text(max_size=9).map("a=ice-ufrag:".__add__),
            st.just(f"a=candidate:{HOST.format(port=9)}"),
        ),
        max_size=40,
    )
)
def test_any_fragment_is_read_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(RequestError):
        assert len(read_fragment("\r\n".join(lines), "ufrag")) <= MAX_CANDIDATES


async def test_the_endpoint_asks_for_a_key_and_an_agent_of_the_workspace(
    server: ScriptedServer,
) -> None:
    url, key = f"{server.url}/v1/whip", {"Authorization": f"Bearer {server.key}"}
    assert (await ask("POST", url, CHROMIUM, **SDP))[0] == 401
    status, _, error = await ask("POST", f"{url}?agent_id=agt_x", CHROMIUM, **SDP, **key)
    assert (status, error["code"]) == (404, "agent_not_found")
    status, made, _ = await ask("POST", url, CHROMIUM, **SDP, **key)
    assert status == 201
    session = server.url + made["Location"]
    foreign = await server.new_key(await server.foreign_workspace())
    other = {"Authorization": f"Bearer {foreign}", "If_Match": made["ETag"]}
    for method in ("PATCH", "DELETE"):
        assert (await ask(method, session, **other))[0] == 404
        assert (await ask(method, session))[0] == 401
    assert (await ask("DELETE", session, **key))[0] == 200


async def test_options_name_what_may_be_sent(gateway: EchoGateway) -> None:
    for path in ("", "/call_1"):
        status, headers, _ = await ask("OPTIONS", gateway.whip_url + path)
        assert status == 204
        assert headers["Accept-Post"] == "application/sdp"
        assert "If-Match" in headers["Access-Control-Allow-Headers"]


@pytest.mark.slow
async def test_callers_get_relays_with_credentials_that_expire() -> None:
    relay = TurnServer("turn:127.0.0.1:9", secret="s3cret")
    ice = IceSettings(LOOPBACK.stun_server, relay, bind_addresses=LOOPBACK.bind_addresses)
    async with serve(ice=ice) as gateway:
        _, headers, _ = await ask("POST", gateway.whip_url, CHROMIUM, **SDP)
    [link] = headers.getall("Link")
    assert link.startswith('<turn:127.0.0.1:9>; rel="ice-server"; username="')
    assert "s3cret" not in link
