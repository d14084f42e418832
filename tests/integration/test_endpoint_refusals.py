"""Every endpoint with every kind of wrong name, URL and scope: refused at once, in its own form.

The refusal has the place and what is accepted. One server for each test, as its client meets it.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtcconfiguration import RTCBundlePolicy

from gateway.settings import Settings, serves_this_machine_only
from rest.accounts.keys import EphemeralKeys, Grant
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents, NewAgent
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import ScriptedServer, ask, second_node, server

__all__ = ["second_node", "server"]

ABSENT = frozenset({"nope-1", "nope-stt", "nope-tts", "zorro", "xx"})
BAD_URLS = (
    "http://0177.0.0.1/",
    "http://127.0.0.1:9/",
    "http://[1::2::3]/",
    "http://ex..com/",
    "http://a.com:99999/",
    "https://u:p@a.com/",
    "ftp://a.com/",
    "http://" + "\u00fc" * 70 + ".com/",
)

# ---------------------------------------------------------------- sessions, by their own place

NESTED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "nope-1"}, "model", "nope-1"),
    ({"audio": {"output": {"voice": "zorro"}}}, "audio.output.voice", "zorro"),
    ({"audio": {"output": {"voice": {"id": "zorro"}}}}, "audio.output.voice", "zorro"),
    ({"voice": "zorro"}, "voice", "zorro"),
    (
        {"audio": {"input": {"transcription": {"model": "nope-stt"}}}},
        "audio.input.transcription.model",
        "nope-stt",
    ),
    (
        {"input_audio_transcription": {"model": "nope-stt"}},
        "input_audio_transcription.model",
        "nope-stt",
    ),
    (
        {"audio": {"input": {"transcription": {"language": "xx"}}}},
        "audio.input.transcription.language",
        "xx",
    ),
    ({"blab": {"language": "xx"}}, "blab.language", "xx"),
    ({"blab": {"speech_model": "nope-tts"}}, "blab.speech_model", "nope-tts"),
]
STOCK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "audio": {
        "input": {"transcription": {"model": "whisper-1", "language": "en"}},
        "output": {"voice": "alloy"},
    },
}
STOCK_IDS = frozenset({"gpt-4o-mini", "gpt-realtime", "whisper-1", "gpt-4o-transcribe", "tts-1"})


@pytest.fixture
async def http(server: ScriptedServer) -> AsyncIterator[aiohttp.ClientSession]:
    server.engines.absent = ABSENT | STOCK_IDS
    headers = {"Authorization": f"Bearer {server.key}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        yield session


async def error_of(answer: aiohttp.ClientResponse) -> tuple[int, str, str | None, str]:
    error = (await answer.json())["error"]
    return answer.status, error["code"], error["param"], error["message"]


async def post(http: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, str, Any, str]:
    async with http.post(path, json=body) as answer:
        return await error_of(answer)


async def test_a_bad_session_is_refused_wherever_it_is_given(
    server: ScriptedServer, http: aiohttp.ClientSession
) -> None:
    async with server.client() as caller:
        await caller.wait_for("session.created")
        count = 0
        for session, place, name in NESTED:
            count += 1
            await caller.send({"type": "session.update", "event_id": "mine", "session": session})
            error = (await caller.wait_for("error", count=count))["error"]
            told = (error["code"], error["param"], error["event_id"], error["type"])
            assert told == (
                "invalid_value",
                f"session.{place}",
                "mine",
                "invalid_request_error",
            )
            assert repr(name) in error["message"]
            assert "Accepted: 'default'" in error["message"]
            told_by_http = await post(http, "/v1/realtime/client_secrets", {"session": session})
            assert told_by_http[:3] == (400, "invalid_value", f"session.{place}")
        for place, response in (
            ("response.audio.output.voice", {"audio": {"output": {"voice": "zorro"}}}),
            ("response.voice", {"voice": "zorro"}),
        ):
            count += 1
            await caller.send({"type": "response.create", "response": response})
            error = (await caller.wait_for("error", count=count))["error"]
            assert (error["code"], error["param"]) == ("invalid_value", place)
        await caller.send({"type": "session.update", "session": STOCK})
        await caller.wait_for("session.updated")
        await ask(caller)
        assert len(caller.of("error")) == count
    for address, place in (
        ("sessions", "voice"),
        ("transcription_sessions", "input_audio_transcription.model"),
    ):
        wrong = next(session for session, where, _ in NESTED if where == place)
        told_by_http = await post(http, f"/v1/realtime/{address}", wrong)
        assert told_by_http[:3] == (400, "invalid_value", place)


async def test_a_bad_address_is_refused_before_the_call(
    server: ScriptedServer, http: aiohttp.ClientSession
) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with http.get("/v1/realtime?model=nope-1", headers=upgrade) as answer:
        assert (await error_of(answer))[:3] == (400, "invalid_value", "model")
    offer, sdp = await _offer(), {"Content-Type": "application/sdp"}
    for path in ("/v1/realtime/calls", "/v1/realtime", "/v1/whip"):
        async with http.post(f"{path}?model=nope-1", data=offer, headers=sdp) as answer:
            assert (await error_of(answer))[:3] == (400, "invalid_value", "model"), path
    form = aiohttp.FormData()
    form.add_field("sdp", offer, content_type="application/sdp")
    form.add_field(
        "session", '{"audio":{"output":{"voice":"zorro"}}}', content_type="application/json"
    )
    async with http.post("/v1/realtime/calls", data=form) as answer:
        told = await error_of(answer)
    assert told[:3] == (400, "invalid_value", "session.audio.output.voice")
    assert server.slots_taken == 0
    async with server.client(query="model=gpt-4o-mini") as caller:
        await ask(caller)


async def _offer() -> str:
    connection = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    connection.addTransceiver("audio")
    await connection.setLocalDescription()
    sdp = str(connection.localDescription.sdp)
    await connection.close()
    return sdp


async def test_an_agent_is_refused_at_creation_and_once_its_names_are_gone(
    server: ScriptedServer, http: aiohttp.ClientSession
) -> None:
    made = {}
    async with http.post("/api/agents", json={"name": "A", "model": "gpt-4o-mini"}) as answer:
        assert answer.status == 200
        made = (await answer.json())["data"]
    one = f"/api/agents/{made['id']}"
    for field, name, status, code in (
        ("model", "nope-1", 404, "MODEL_UNAVAILABLE"),
        ("ttsModel", "nope-tts", 404, "MODEL_UNAVAILABLE"),
        ("voice", "zorro", 400, "VALIDATION_ERROR"),
        ("language", "xx", 400, "VALIDATION_ERROR"),
    ):
        for method, path in (("POST", "/api/agents"), ("PATCH", one)):
            async with http.request(method, path, json={"name": "A", field: name}) as answer:
                error = (await answer.json())["error"]
            told = (answer.status, error["code"], error["details"]["path"])
            assert told == (status, code, field)
            assert "Accepted: " in error["message"]
    for column, name in (("voice", "zorro"), ("model", "nope-1")):
        old = await Agents(server.database).create(
            LOCAL_WORKSPACE, NewAgent("Old", **{column: name})
        )
        path = f"/v1/realtime?agent_id={old.id}"
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        async with http.get(path, headers=headers) as answer:
            status, code, param, message = await error_of(answer)
        assert (status, code, param) == (409, "agent_not_usable", column)
        assert old.id in message
        assert name in message
        async with http.get(f"/api/agents/{old.id}/twilio/{server.key}", headers=headers) as answer:
            assert answer.status == 409
    async with server.client(query=f"agent_id={old.id}&model=default") as caller:
        await ask(caller)  # what is asked for stands in for what the agent names


# ---------------------------------------------------------------- URLs


async def test_bad_urls_are_refused_when_given_and_harmless_when_stored(
    server: ScriptedServer, http: aiohttp.ClientSession
) -> None:
    async with server.client() as caller:
        count = 0
        for url in BAD_URLS:
            mcp = {"type": "mcp", "server_label": "shop", "server_url": url}
            tool = {"type": "blab.http", "name": "look_up", "url": url}
            for entry, name in ((mcp, "server_url"), (tool, "url")):
                count += 1
                update = {"type": "session.update", "session": {"tools": [entry]}}
                await caller.send(update)
                error = (await caller.wait_for("error", count=count))["error"]
                assert (error["code"], error["param"]) == (
                    "invalid_value",
                    f"session.tools[0].{name}",
                ), url
                body = {"name": "A", "tools": [entry]}
                async with http.post("/api/agents", json=body) as answer:
                    refused = (await answer.json())["error"]
                assert answer.status == 400, url
                assert refused["details"]["path"] in (f"tools[0].{name}", "tools")
            async with http.post("/api/webhooks", json={"url": url, "events": ["*"]}) as answer:
                assert answer.status == 403, url  # the key lacks the scope: see test_webhooks
    for url in BAD_URLS[:4]:
        stored = {"type": "mcp", "server_label": "shop", "server_url": url}
        agent = await Agents(server.database).create(
            LOCAL_WORKSPACE, NewAgent("Old", tools=[stored])
        )
        async with server.client(query=f"agent_id={agent.id}") as caller:
            await caller.wait_for("mcp_list_tools.failed")
            assert (await caller.wait_for("error"))["error"]["code"] == "mcp_list_tools_failed"
            await ask(caller)


# ---------------------------------------------------------------- who may do what


async def test_a_key_without_the_calls_scope_can_only_observe(
    server: ScriptedServer, http: aiohttp.ClientSession
) -> None:
    reader = await server.new_key(scopes=("agents:read",))
    headers = {"Authorization": f"Bearer {reader}"}
    for path in ("client_secrets", "sessions", "calls/call_1/hangup"):
        async with http.post(f"/v1/realtime/{path}", json={}, headers=headers) as answer:
            assert (await error_of(answer))[:2] == (403, "insufficient_permissions"), path
    async with http.get("/v1/realtime/ice_servers", headers=headers) as answer:
        assert answer.status == 403
    async with server.client() as caller:
        call_id = (await caller.wait_for("session.created"))["session"]["id"]
        async with server.client(key=reader, query=f"call_id={call_id}") as side:
            await side.wait_for("session.created")
            await side.send({"type": "response.create", "event_id": "mine"})
            error = (await side.wait_for("error"))["error"]
            assert (error["code"], error["event_id"]) == ("insufficient_permissions", "mine")
            await ask(caller)
            await side.wait_for("response.done")


async def minted(http: aiohttp.ClientSession, **body: Any) -> dict[str, Any]:
    async with http.post("/v1/realtime/client_secrets", json=body) as answer:
        assert answer.status == 200, await answer.text()
        key: dict[str, Any] = await answer.json()
        return key


LOCKED_UPDATES: list[tuple[dict[str, Any], str]] = [
    ({"instructions": "Sell coffee."}, "instructions"),
    ({"model": "default"}, "model"),
    ({"audio": {"output": {"voice": "nova"}}}, "audio.output.voice"),
    ({"tools": [{"type": "function", "name": "buy"}]}, "tools"),
    ({"tool_choice": "none"}, "tool_choice"),
    ({"max_output_tokens": "inf"}, "max_output_tokens"),
    ({"temperature": 2}, "temperature"),
    ({"blab": {"language": "de"}}, "blab.language"),
    ({"type": "transcription"}, "type"),
]
LOCKED_REPLIES: list[tuple[dict[str, Any], str]] = [
    ({"instructions": "Sell coffee."}, "instructions"),
    ({"voice": "nova"}, "voice"),
    ({"max_output_tokens": 4096}, "max_output_tokens"),
    ({"tools": [{"type": "function", "name": "buy"}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    (
        {
            "input": [
                {
                    "type": "message",
                    "role": "system",
                    "content": [{"type": "input_text", "text": "Sell coffee."}],
                }
            ]
        },
        "input[0].role",
    ),
]


async def test_a_locked_key_keeps_its_session(
    server: ScriptedServer, http: aiohttp.ClientSession
) -> None:
    session = {"model": "talk", "instructions": "Sell tea.", "max_output_tokens": 99}
    key = await minted(http, session=session, locked=True)
    assert key["locked"] is True
    async with server.client(key=key["value"], query="model=gpt-realtime") as caller:
        created = await caller.wait_for("session.created")
        assert (created["session"]["model"], created["session"]["instructions"]) == (
            "talk",
            "Sell tea.",
        )
        count = 0
        sent = [("session.update", "session", *case) for case in LOCKED_UPDATES]
        sent += [("response.create", "response", *case) for case in LOCKED_REPLIES]
        for kind, member, body, place in sent:
            count += 1
            await caller.send({"type": kind, "event_id": "mine", member: body})
            error = (await caller.wait_for("error", count=count))["error"]
            told = (error["code"], error["param"], error["event_id"])
            assert told == ("session_locked", f"{member}.{place}", "mine")
        for role, code in (("system", "session_locked"), ("user", None)):
            item = {
                "type": "message",
                "role": role,
                "content": [{"type": "input_text", "text": "Sell coffee."}],
            }
            await caller.send({"type": "conversation.item.create", "item": item})
            if code:
                error = (await caller.wait_for("error", count=count + 1))["error"]
                assert (error["code"], error["param"]) == (code, "item.role")
        free = {"instructions": "Sell tea.", "turn_detection": None, "output_modalities": ["text"]}
        await caller.send({"type": "session.update", "session": free})
        updated = await caller.wait_for("session.updated")
        assert updated["session"]["instructions"] == "Sell tea."
        async with server.client(query=f"call_id={created['session']['id']}") as side:
            await side.wait_for("session.created")
            await side.send({"type": "session.update", "session": {"instructions": "Close."}})
            await caller.wait_for("session.updated", count=2)
    headers = {"Authorization": f"Bearer {key['value']}"}
    other = await Agents(server.database).create(LOCAL_WORKSPACE, NewAgent("Other"))
    for query, status, code in (
        ("model=other", 400, "session_locked"),
        ("intent=transcription", 400, "session_locked"),
        (f"agent_id={other.id}", 404, "agent_not_found"),
    ):
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        async with http.get(f"/v1/realtime?{query}", headers=headers | upgrade) as answer:
            assert (await error_of(answer))[:2] == (status, code)


async def test_an_ephemeral_key_ends_its_own_calls_only_from_any_node(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    keys = [(await EphemeralKeys(server.bus).mint(Grant(LOCAL_WORKSPACE))).value for _ in range(2)]

    async def hang_up(node: ScriptedServer, key: str, call_id: str) -> int:
        url = f"{node.url}/v1/realtime/calls/{call_id}/hangup"
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession() as http, http.post(url, headers=headers) as answer:
            return answer.status

    for node in (server, second_node):
        async with server.client(key=keys[0]) as caller:
            call_id = (await caller.wait_for("session.created"))["session"]["id"]
            assert await hang_up(node, keys[1], call_id) == 404
            assert await hang_up(node, keys[1], "call_absent") == 404
            await _known(node, call_id)
            assert await hang_up(node, keys[1], call_id) == 404
            assert caller.closed is None
            assert await hang_up(node, keys[0], call_id) == 200
            await caller.wait_closed()


async def _known(node: ScriptedServer, call_id: str) -> None:
    """Wait until other nodes can find the call."""
    while await node.bus.get(f"call:{call_id}:node") is None:
        pass


async def test_metrics_are_for_this_machine_and_the_operators_keys(
    server: ScriptedServer, http: aiohttp.ClientSession
) -> None:
    usage = await server.new_key(scopes=("usage:read",))
    foreign = await server.new_key(await server.foreign_workspace(), scopes=("usage:read",))
    async with aiohttp.ClientSession(server.url) as plain:
        async with plain.get("/metrics") as answer:
            assert answer.status == 200
        for headers in (
            {"X-Forwarded-For": "9.9.9.9"},
            {"Host": "voice.example.com"},
            {"Via": "1.1 proxy"},
        ):
            async with plain.get("/metrics", headers=headers) as answer:
                assert answer.status == 401
            for key, status in ((usage, 200), (server.key, 403), (foreign, 403)):
                bearer = {"Authorization": f"Bearer {key}"}
                async with plain.get("/metrics", headers=headers | bearer) as answer:
                    assert answer.status == status
                    assert ("blab_calls" in await answer.text()) == (status == 200)


@pytest.mark.parametrize(
    ("host", "public_url", "alone"),
    [
        ("127.0.0.1", None, True),
        ("::1", None, True),
        ("0.0.0.0", None, False),
        ("10.0.0.5", None, False),
        ("127.0.0.1", "https://voice.example.com", False),
        ("127.0.0.1", "http://localhost:8080", True),
    ],
)
def test_the_demo_gets_no_key_from_another_machine(
    host: str, public_url: str | None, alone: bool
) -> None:
    settings = dataclasses.replace(Settings(), host=host, public_url=public_url)
    assert serves_this_machine_only(settings) is alone


# ---------------------------------------------------------------- the beta's addresses


async def test_the_betas_session_carries_its_key(
    server: ScriptedServer, http: aiohttp.ClientSession
) -> None:
    body = {"model": "gpt-4o-realtime-preview", "voice": "verse", "instructions": "talk 500"}
    async with http.post("/v1/realtime/sessions", json=body) as answer:
        session = await answer.json()
    assert (session["object"], session["voice"]) == ("realtime.session", "verse")
    key = session["client_secret"]["value"]
    assert session["client_secret"]["expires_at"]
    options: dict[str, Any] = {"key": key, "headers": {"OpenAI-Beta": "realtime=v1"}}
    async with RealtimeClient(server.ws_url, checked=False, **options) as caller:
        created = await caller.wait_for("session.created")
        assert created["session"]["instructions"] == "talk 500"
    async with http.post("/v1/realtime/transcription_sessions", json={}) as answer:
        captions = await answer.json()
    assert captions["object"] == "realtime.transcription_session"
    async with server.client(key=captions["client_secret"]["value"]) as caller:
        created = await caller.wait_for("session.created")
        assert created["session"]["type"] == "transcription"


# ---------------------------------------------------------------- bytes that are no text

_WS = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
_KEY = b"Authorization: Bearer %s\r\n"
_JSON = b"Content-Type: application/json\r\n"
_FORM = b"Content-Type: multipart/form-data; boundary=x\r\n"
NO_TEXT: list[tuple[bytes, bytes, bytes]] = [
    (b"GET /v1/realtime", _WS + b"Authorization: Bearer ek_\xff\xfe\r\n", b""),
    (b"GET /v1/realtime", _WS + b"Authorization: Bearer \xff\xfe\r\n", b""),
    (b"GET /v1/realtime", _WS + b"Authorization: Bearer a.\xff.b\r\n", b""),
    (b"GET /v1/realtime", _WS + b"Authorization: Bearer eyJ\xff..\r\n", b""),
    (b"GET /api/auth/me", b"Authorization: Bearer eyJ\xff..\r\n", b""),
    (b"GET /api/auth/me", b"Cookie: blab_sign_in=\xff\r\n", b""),
    (
        b"GET /v1/realtime",
        _WS + b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.\xff\r\n",
        b"",
    ),
    (b"GET /v1/realtime", _WS + _KEY + b"Sec-WebSocket-Protocol: \xff\r\n", b""),
    (b"GET /v1/realtime?model=%ff%fe", _WS + _KEY, b""),
    (b"GET /v1/realtime?agent_id=%ed%a0%80", _WS + _KEY, b""),
    (b"GET /v1/realtime?agent_id=%00", _WS + _KEY, b""),
    (b"GET /v1/realtime?call_id=%ed%a0%80", _WS + _KEY, b""),
    (b"GET /v1/realtime?call_id=%00&after=%ff", _WS + _KEY, b""),
    (b"GET /v1/realtime?intent=%ff", _WS + _KEY + b"OpenAI-Beta: \xff\r\n", b""),
    (b"GET /api/agents/%ff/twilio", _WS + b"X-Twilio-Signature: \xff\xfe\r\n", b""),
    (b"GET /api/agents/%ed%a0%80/twilio?key=%ff", _WS, b""),
    (b"GET /api/agents/agt_1/twilio/%ff%fe", _WS, b""),
    (b"GET /api/auth/me", b"Expect: \xff\r\n", b""),
    (b"GET /metrics", b"X-Forwarded-For: \xff\r\nAuthorization: Bearer \xff\r\n", b""),
    (b"POST /demo/session", b"Origin: http://\xff\r\n", b""),
    (b"POST /v1/realtime/calls/%ff/hangup", _KEY, b""),
    (b"PATCH /v1/whip/%ed%a0%80", _KEY + b"If-Match: \xff\r\n", b""),
    (b"DELETE /v1/whip/%ff", _KEY, b""),
    (b"POST /v1/realtime/client_secrets", _KEY + _JSON, b'{"agent_id": "\xff"}'),
    (b"POST /v1/realtime/client_secrets", _KEY + _JSON, b'{"agent_id": "\\ud800"}'),
    (b"POST /v1/realtime/client_secrets", _KEY + _JSON, b'{"session": {"\\ud800": 1}}'),
    (b"POST /v1/realtime/client_secrets", _KEY + _JSON, b'{"agent_id": "\\u0000"}'),
    (b"POST /v1/realtime/sessions", _KEY + _JSON, b'{"voice": "\xed\xa0\x80"}'),
    (b"POST /v1/realtime/calls?model=%ff", _KEY + b"Content-Type: application/sdp\r\n", b"\xff"),
    (
        b"POST /v1/realtime/calls",
        _KEY + _FORM,
        b'--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n--x\r\n'
        b'Content-Disposition: form-data; name="session"\r\n\r\n{"a":"\xff"}\r\n--x--\r\n',
    ),
    (
        b"POST /v1/realtime/calls",
        _KEY + _FORM,
        b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nv=0\r\n--x--\r\n',
    ),
    (b"POST /api/agents", _KEY + _JSON, b'{"name": "\xff"}'),
    (b"POST /api/agents", _KEY + _JSON, b'{"name": "A", "systemPrompt": "\\ud800"}'),
    (
        b"POST /api/agents",
        _KEY + _JSON,
        b'{"name": "A", "tools": [{"type": "blab.http", "name": "a", "url": "http://a.com/",'
        b' "parameters": {"\\udfff": 1}}]}',
    ),
]


@pytest.mark.parametrize("origin", [b"", b"Origin: http://127.0.0.1\r\n"])
async def test_invalid_utf8_is_refused_like_any_other_fault(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, origin: bytes
) -> None:
    for request, headers, body in NO_TEXT:
        if b"Origin" in headers and origin:
            continue
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        fields = headers.replace(b"%s", server.key.encode()) + origin
        length = b"Content-Length: %d\r\n" % len(body)
        writer.write(
            request + b" HTTP/1.1\r\nHost: localhost\r\n" + fields + length + b"\r\n" + body
        )
        try:
            answer = await asyncio.wait_for(reader.read(4096), 5)
        finally:
            writer.transport.abort()
        status = int(answer.split(b" ", 2)[1])
        opened = _WS in headers and status == 101  # to be refused over the WebSocket
        assert 400 <= status < 500 or opened, (request, headers, answer)
    assert not [record for record in caplog.records if record.exc_info]
