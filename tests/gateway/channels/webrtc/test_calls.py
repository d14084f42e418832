"""POST /v1/realtime/calls with real callers: answers, refusals, and no leaks."""

import asyncio
import gc
import threading
from pathlib import Path

import aiohttp
import pytest
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.channels.webrtc import calls as calls_module
from gateway.channels.webrtc import ice as ice_module
from tests.support.examples import examples
from tests.support.gateway.webrtc_client import LOOPBACK, Caller, speech, use_ice
from tests.support.gateway.webrtc_server import EchoGateway, serve
from tests.support.paths import CHROMIUM_OFFER

pytestmark = pytest.mark.slow

CHROMIUM = CHROMIUM_OFFER.read_bytes().decode()
SDP = {"Content-Type": "application/sdp"}


async def settled(gateway: EchoGateway, timeout: float = 5) -> None:
    """Wait until the server has let go of every call."""
    async with asyncio.timeout(timeout):
        while gateway.tasks:
            await asyncio.wait(gateway.tasks)
    assert gateway.calls.live == 0


@pytest.fixture
async def gateway():
    async with serve() as running:
        yield running


async def post(gateway: EchoGateway, data, path: str = "", **headers: str):
    async with (
        aiohttp.ClientSession() as http,
        http.post(gateway.url + path, data=data, headers=headers) as response,
    ):
        return response.status, response.headers, await response.text()


async def refused(gateway: EchoGateway, data, **headers: str):
    async with (
        aiohttp.ClientSession() as http,
        http.post(gateway.url, data=data, headers=headers) as response,
    ):
        body = await response.json()
        assert set(body["error"]) == {"type", "code", "message", "param"}
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        return response.status, body["error"]["code"], body["error"]["message"]


async def test_a_call_connects_and_carries_events_both_ways(gateway):
    async with Caller(gateway.url, session={"voice": "anna"}) as caller:
        created = await caller.event("session.created")
        assert created["session"] == {"voice": "anna"}
        caller.send({"type": "session.update", "instructions": "u" * 200_000})
        echo = await caller.event("echo")
        assert echo["message"]["instructions"] == "u" * 200_000
        caller.send("{broken")
        error = (await caller.event("error"))["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_json")
    await settled(gateway)


async def test_speech_comes_back_whole(gateway):
    async with Caller(gateway.url) as caller:
        pcm = speech("joe_yes")
        await caller.say(pcm)
        await caller.listen(0.2)
        taken = b"".join(frame for _, frame in gateway.frames[caller.call_id])
        assert len(taken) >= len(pcm)
        numbers = [packet.sequence for packet in caller.ear.heard]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert loudest(caller.heard()) > loudest(pcm) / 2


async def test_a_stock_aiortc_client_is_understood(gateway):
    connection = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    transceiver = connection.addTransceiver(AudioStreamTrack(), "sendrecv")
    use_ice(transceiver.receiver.transport, LOOPBACK)
    channel = connection.createDataChannel("oai-events")
    got = asyncio.Event()
    channel.on("message", lambda _: got.set())
    await connection.setLocalDescription()
    status, headers, answer = await post(gateway, connection.localDescription.sdp, **SDP)
    assert status == 201
    assert headers["Content-Type"].startswith("application/sdp")
    assert headers["Location"].startswith("/v1/realtime/calls/rtc_")
    assert headers["Access-Control-Expose-Headers"] == "Location"
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.wait_for(got.wait(), 5)
    frame = await asyncio.wait_for(transceiver.receiver.track.recv(), 5)
    assert frame.sample_rate == 48_000
    await connection.close()
    await settled(gateway)


async def test_the_answer_to_chromium_has_what_a_browser_needs(gateway):
    status, _, answer = await post(gateway, CHROMIUM, **SDP)
    assert status == 201
    assert "a=rtpmap:111 opus/48000/2" in answer
    assert "useinbandfec=1" in answer
    assert "red/48000" not in answer
    assert "PCMU" not in answer
    assert answer.count("a=candidate:") >= 1
    assert "a=end-of-candidates" in answer
    assert "a=group:BUNDLE 0 1" in answer
    assert answer.count("a=setup:active") == 2


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"garbage", "application/sdp", 400, "invalid_sdp"),
        (b"v=0\r\nm=audio x", "application/sdp", 400, "invalid_sdp"),
        (b"\xff\xfe", "application/sdp", 400, "invalid_sdp"),
        (b"v=0" + b"x" * 70_000, "application/sdp", 413, "too_large"),
        (b"{}", "application/json", 415, "unsupported_content_type"),
        (b"no boundary", "multipart/form-data", 400, "invalid_multipart"),
        (b"nothing", "multipart/form-data; boundary=b", 400, "invalid_multipart"),
    ],
)
async def test_bad_bodies_are_refused_with_the_protocols_errors(
    gateway, data, content_type, status, code
):
    assert (await refused(gateway, data, **{"Content-Type": content_type}))[:2] == (status, code)
    assert gateway.calls.live == 0
    assert not gateway.channels


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"session": "{}"}, "missing_field"),
        ({"sdp": CHROMIUM, "session": "[]"}, "invalid_json"),
        ({"sdp": CHROMIUM, "session": "{"}, "invalid_json"),
        ({"sdp": CHROMIUM, "other": "x"}, "unknown_field"),
        ({"sdp": CHROMIUM, "session": '"' + "x" * 300_000 + '"'}, "too_large"),
    ],
)
async def test_bad_fields_are_refused(gateway, fields, code):
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value, content_type="text/plain")
    assert (await refused(gateway, form))[1] == code


async def test_a_body_that_never_comes_is_not_waited_for(gateway, monkeypatch):
    monkeypatch.setattr(calls_module, "BODY_TIMEOUT", 0.05)

    async def drip():
        yield b"v=0"
        await asyncio.sleep(0.3)
        yield b"\r\n"

    status, code, _ = await refused(gateway, drip(), **SDP)
    assert (status, code) == (408, "timeout")


async def test_a_refused_caller_leaves_nothing(gateway):
    status, headers, _ = await post(gateway, CHROMIUM, Authorization="Bearer wrong", **SDP)
    assert status == 401
    assert headers["Access-Control-Allow-Origin"] == "*"
    gateway.room = 0
    status, headers, _ = await post(gateway, CHROMIUM, **SDP)
    assert status == 503
    assert headers["Retry-After"] == "5"
    await settled(gateway)


async def test_preflight_names_what_a_browser_may_send(gateway):
    async with aiohttp.ClientSession() as http, http.options(gateway.url) as response:
        assert response.status == 204
        allowed = response.headers["Access-Control-Allow-Headers"]
        assert {"Authorization", "Content-Type", "X-OpenAI-Agents-SDK"} <= set(allowed.split(", "))


async def test_hang_up_ends_the_call_for_both(gateway):
    async with Caller(gateway.url) as caller:
        assert (await post(gateway, None, f"/{caller.call_id}/hangup"))[0] == 200
        await asyncio.wait_for(caller.closed.wait(), 5)
        assert (await post(gateway, None, f"/{caller.call_id}/hangup"))[0] == 404
    await settled(gateway)


async def test_a_caller_that_hangs_up_ends_the_call(gateway):
    async with Caller(gateway.url) as caller:
        channel = gateway.channels[caller.call_id]
    await settled(gateway)
    assert channel.closed_reason in ("data channel closed", "connection closed")


async def test_a_caller_that_vanishes_is_noticed(gateway, monkeypatch):
    assert ice_module.CONSENT_EXPIRY + 1.2 * ice_module.CONSENT_INTERVAL + 0.5 < 15
    monkeypatch.setattr(ice_module, "CONSENT_EXPIRY", 0.8)
    monkeypatch.setattr(ice_module, "CONSENT_INTERVAL", 0.1)
    async with Caller(gateway.url) as caller:
        caller.vanish()
        await settled(gateway)
        channel = gateway.channels[caller.call_id]
        assert channel.closed_reason == "connection failed"
        assert channel.dropped


async def test_two_calls_at_once_do_not_mix(gateway):
    async with Caller(gateway.url) as first, Caller(gateway.url) as second:
        await first.say(speech("joe_okay"))
        await first.listen(0.2)
        assert loudest(first.heard()) > 2_000
        assert loudest(second.heard()) < 100


async def test_nothing_leaks_over_many_calls(gateway):
    """60 calls, ten at a time: hung up, refused, vanished during the handshake."""
    async with Caller(gateway.url):
        pass
    await settled(gateway)
    tasks, threads, files = census()
    for _ in range(6):
        await asyncio.gather(*(one_call(gateway, n) for n in range(10)))
    await settled(gateway)
    await asyncio.sleep(0.3)  # aiohttp's keep-alive connections of the test's own client close
    after = census()
    assert after[0] <= tasks + 1
    assert after[1] <= threads
    assert after[2] <= files + 2
    channels = len(gateway.channels)
    assert channels >= 50
    gateway.channels.clear()
    gc.collect()
    alive = [o for o in gc.get_objects() if type(o).__name__ in ("Peer", "IceConnection")]
    assert len(alive) <= 2


async def one_call(gateway: EchoGateway, n: int) -> None:
    if n == 0:
        assert (await post(gateway, "rubbish", **SDP))[0] == 400
    elif n == 1:
        caller = Caller(gateway.url)
        await caller.dial()
        await caller.hang_up()
        await gateway.channels[caller.call_id].close("test")
    else:
        async with Caller(gateway.url) as caller:
            caller.microphone.play(bytes(6400))
            await caller.event("session.created")


def census() -> tuple[int, int, int]:
    """Tasks, threads and open files of this process."""
    return (
        len(asyncio.all_tasks()),
        threading.active_count(),
        len(list(Path("/proc/self/fd").iterdir())),
    )


def loudest(pcm: bytes) -> int:
    samples = memoryview(pcm).cast("h")
    return max(map(abs, samples), default=0)


LINES = [
    "v=0",
    "o=- 1 1 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "a=ice-ufrag:abcd",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    "c=IN IP4 0.0.0.0",
    "a=mid:0",
    "a=sendrecv",
    "a=rtcp-mux",
    "a=ice-pwd:abcdefghijklmnopqrstuvwx",
    "a=setup:actpass",
    "a=rtpmap:111 opus/48000/2",
    "a=fingerprint:sha-256 " + ":".join(["AA"] * 32),
    "a=rtcp-fb:111",
    "a=fmtp:111 ;;=",
    "m=video 9 UDP/TLS/RTP/SAVPF 96",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "a=sctp-port:x",
    "a=candidate:1 1 udp 1 x 9 typ host",
    "a=ssrc:x",
    "a=extmap:999 u",
]


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.sampled_from(LINES), max_size=30).map(lambda lines: "\r\n".join(lines).encode())
    | st.binary(max_size=200),
    st.sampled_from(["application/sdp", "multipart/form-data; boundary=b", "multipart/mixed"]),
)
async def test_any_offer_is_answered(gateway, body: bytes, kind: str):
    form = b'--b\r\nContent-Disposition: form-data; name="sdp"\r\n\r\n' + body + b"\r\n--b--"
    for sent in (body, form):
        status, _, _ = await post(gateway, sent, **{"Content-Type": kind})
        assert status < 500


async def test_a_field_given_twice_is_refused(gateway):
    part = b'--b\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    status, code, message = await refused(gateway, part * 2 + b"--b--", **kind)
    assert (status, code) == (400, "invalid_multipart")
    assert message == "sdp is given twice"
