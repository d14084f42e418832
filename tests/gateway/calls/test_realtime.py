"""/v1/realtime and its keys over real sockets, with the stock OpenAI client among the callers."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI, AuthenticationError
from websockets.exceptions import InvalidStatus

from rest.accounts.keys import Grant
from tests.support.gateway.http_support import TestServer
from tests.support.gateway.realtime_client import RealtimeClient


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async with TestServer(allowed_origins=("https://app.example.com",)).running() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def refused(server: TestServer, **options: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a WebSocket that must not open."""
    with pytest.raises(InvalidStatus) as caught:
        await RealtimeClient(server.ws_url, **options).__aenter__()
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"")["error"]


async def test_the_stock_client_talks(server: TestServer) -> None:
    base = f"{server.url}/v1"
    async with (
        AsyncOpenAI(api_key=server.keys.add(), base_url=base) as openai,
        openai.realtime.connect(model="gpt-realtime") as connection,
    ):
        created = await connection.recv()
        assert created.type == "session.created"
        await connection.session.update(
            session={"type": "realtime", "instructions": "Hi.", "output_modalities": ["text"]}
        )
        updated = await connection.recv()
        assert updated.type == "session.updated"
        assert updated.session.type == "realtime"
        assert updated.session.instructions == "Hi."
        await connection.input_audio_buffer.append(audio="AAAAAAAA")
        item: Any = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hello"}],
        }
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        kinds = []
        async for event in connection:
            kinds.append(event.type)
            if event.type == "response.done":
                break
        assert kinds[:3] == [
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
        assert "response.output_text.delta" in kinds


async def test_a_refused_key_reads_as_openais(server: TestServer) -> None:
    async with AsyncOpenAI(
        api_key="sk-wrong", base_url=f"{server.url}/v1", max_retries=0
    ) as openai:
        with pytest.raises(AuthenticationError) as caught:
            await openai.realtime.client_secrets.create()
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("key", "code"),
    [(None, "missing_api_key"), ("nonsense", "invalid_api_key"), ("ek_old", "invalid_api_key")],
)
async def test_no_call_without_a_valid_key(server: TestServer, key: str | None, code: str) -> None:
    status, error = await refused(server, key=key)
    assert (status, error["code"]) == (401, code)
    assert not server.host.ended
    assert server.host.admission.active == 0


async def test_the_agent_chooses_the_session(server: TestServer) -> None:
    key = server.keys.add()
    server.agents.add("ws_1", "agt_mine", system_prompt="You sell tea.", language="de")
    async with RealtimeClient(server.ws_url, key, query="agent_id=agt_mine") as caller:
        session = (await caller.wait_for("session.created"))["session"]
        assert session["instructions"] == "You sell tea."
        assert session["model"] == "verinova-stable"
        assert session["audio"]["input"]["transcription"]["language"] == "de"
    async with RealtimeClient(server.ws_url, key, query="model=other") as caller:
        session = (await caller.wait_for("session.created"))["session"]
        assert (session["model"], session["instructions"]) == ("other", "Be kind.")


async def test_another_workspaces_agent_is_not_found(server: TestServer) -> None:
    server.agents.add("ws_2", "agt_foreign")
    key = server.keys.add()
    answers = [
        await refused(server, key=key, query=f"agent_id={agent}")
        for agent in ("agt_foreign", "agt_unknown")
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


async def test_a_key_needs_a_scope_for_calls(server: TestServer) -> None:
    status, error = await refused(server, key=server.keys.add(scopes=("usage:read",)))
    assert (status, error["code"]) == (403, "insufficient_permissions")


async def test_a_long_lived_key_in_a_foreign_page_is_refused(server: TestServer) -> None:
    key = server.keys.add()
    evil = {"Origin": "https://evil.example"}
    refusals = ((key, "foreign_origin", 1008), ("nonsense", "invalid_api_key", 4001))
    for wrong, code, closed in refusals:
        async with RealtimeClient(server.ws_url, wrong, headers=evil, checked=False) as caller:
            assert (await caller.wait_for("error"))["error"]["code"] == code
            assert (await caller.wait_closed())[0] == closed
    for origin in ("https://app.example.com", f"http://127.0.0.1:{server.port}"):
        async with RealtimeClient(server.ws_url, key, headers={"Origin": origin}) as caller:
            await caller.wait_for("session.created")


async def test_a_full_server_says_so_before_the_upgrade(server: TestServer) -> None:
    server.host.admission.capacity = 1
    key = server.keys.add()
    async with RealtimeClient(server.ws_url, key) as caller:
        await caller.wait_for("session.created")
        status, error = await refused(server, key=key)
        assert (status, error["code"]) == (503, "server_full")
    await server.host.until_empty()
    async with RealtimeClient(server.ws_url, key) as caller:
        await caller.wait_for("session.created")


async def test_absent_calls_and_plain_http_are_refused_with_a_reason(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    status, error = await refused(server, key=server.keys.add(), query="call_id=call_1")
    assert (status, error["param"]) == (404, "call_id")
    async with http.get(f"{server.url}/v1/realtime") as answer:
        assert answer.status == 426
    status, error = await refused(server, key="x", subprotocols=["chat"])
    assert (status, error["code"]) == (400, "unknown_subprotocol")


async def test_a_browsers_key_comes_as_subprotocol_and_is_never_logged_or_echoed(
    server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    minted = await server.ephemeral.mint(Grant("ws_1"))
    offered = ["realtime", f"openai-insecure-api-key.{minted.value}", "openai-agents-sdk.0.3.1"]
    origin = {"Origin": "https://shop.example"}
    async with RealtimeClient(server.ws_url, subprotocols=offered, headers=origin) as caller:
        await caller.wait_for("session.created")
        assert caller.connection.subprotocol == "realtime"
    await refused(server, subprotocols=[f"openai-insecure-api-key.{minted.value}"])
    ours = [record for record in caplog.records if not record.name.startswith("websockets")]
    assert ours
    assert not [record for record in ours if minted.value in record.getMessage()]


async def mint(
    http: aiohttp.ClientSession, server: TestServer, key: str, body: Any
) -> tuple[int, dict[str, Any]]:
    url = f"{server.url}/v1/realtime/client_secrets"
    headers = {"Authorization": f"Bearer {key}"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.post(url, data=data, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_an_ephemeral_key_carries_its_session_until_it_expires(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    session = {"type": "realtime", "instructions": "Only tea.", "audio": {"output": {"speed": 1.2}}}
    body = {"expires_after": {"anchor": "created_at", "seconds": 60}, "session": session}
    status, secret = await mint(http, server, server.keys.add(), body)
    assert status == 200
    assert secret["value"].startswith("ek_")
    assert secret["expires_at"] == int(server.bus.now) + 60
    assert secret["session"]["instructions"] == "Only tea."
    assert secret["value"] not in str(server.bus.values)
    for _ in range(2):
        async with RealtimeClient(server.ws_url, secret["value"]) as caller:
            created = (await caller.wait_for("session.created"))["session"]
            assert created["instructions"] == "Only tea."
            assert created["audio"]["output"]["speed"] == 1.2
    server.bus.now += 61
    assert (await refused(server, key=secret["value"]))[0] == 401


async def test_the_stock_client_mints(server: TestServer) -> None:
    async with AsyncOpenAI(api_key=server.keys.add(), base_url=f"{server.url}/v1") as openai:
        secret = await openai.realtime.client_secrets.create()
        captions = await openai.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 30},
            session={"type": "transcription"},
        )
    assert secret.value.startswith("ek_")
    assert secret.expires_at == int(server.bus.now) + 600
    assert secret.session.type == "realtime"
    assert secret.session.object == "realtime.session"
    assert secret.session.id.startswith("sess_")
    assert secret.session.model
    assert captions.expires_at == int(server.bus.now) + 30
    assert captions.session.type == "transcription"
    assert captions.session.object == "realtime.transcription_session"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"session": {"audio": {"output": {"speed": 99}}}}, "session.audio.output.speed"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_a_bad_key_request_is_refused_by_field(
    server: TestServer, http: aiohttp.ClientSession, body: Any, param: str | None
) -> None:
    status, answer = await mint(http, server, server.keys.add(), body)
    assert (status, answer["error"]["param"]) == (400, param)
    assert answer["error"]["type"] == "invalid_request_error"


async def test_keys_are_not_minted_by_ephemeral_keys_nor_for_foreign_agents(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    key = server.keys.add()
    _, secret = await mint(http, server, key, {})
    assert (await mint(http, server, secret["value"], {}))[0] == 403
    server.agents.add("ws_2", "agt_foreign")
    assert (await mint(http, server, key, {"agent_id": "agt_foreign"}))[0] == 404
    assert (await mint(http, server, key, b" " * 300_000))[0] == 413


async def test_only_the_workspace_can_hang_up(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    async with RealtimeClient(server.ws_url, server.keys.add()) as caller:
        call_id = (await caller.wait_for("session.created"))["session"]["id"]
        foreign = _Request(server.keys.add("ws_2"))
        assert not await server.calls.hang_up(foreign, call_id)
        mine = _Request(server.keys.add())
        assert not await server.calls.hang_up(mine, "call_unknown")
        assert await server.calls.hang_up(mine, call_id)
        assert await caller.wait_closed() == (1000, "client_hangup")


@pytest.mark.parametrize("verb", ["accept", "reject", "refer"])
async def test_sip_only_operations_are_refused_with_a_reason(
    server: TestServer, http: aiohttp.ClientSession, verb: str
) -> None:
    url = f"{server.url}/v1/realtime/calls/call_1/{verb}"
    async with http.post(url) as answer:
        assert answer.status == 401
    headers = {"Authorization": f"Bearer {server.keys.add()}"}
    async with http.post(url, headers=headers, json={"target_uri": "tel:1"}) as answer:
        assert answer.status == 400
        error = (await answer.json())["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "sip_only")
    assert "hangup" in error["message"]


async def test_a_preflight_lists_what_a_page_may_send(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    async with http.options(f"{server.url}/v1/realtime/client_secrets") as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


class _Request:
    def __init__(self, key: str) -> None:
        self.headers = {"Authorization": f"Bearer {key}"}


async def test_nothing_leaks_over_200_calls(server: TestServer) -> None:
    key = server.keys.add()

    def left() -> tuple[int, int, int]:
        sockets = [fd for fd in Path("/proc/self/fd").iterdir() if _is_socket(fd)]
        return len(asyncio.all_tasks()), threading.active_count(), len(sockets)

    async def call(number: int) -> None:
        async with RealtimeClient(server.ws_url, key, binary=bool(number % 2)) as caller:
            await caller.wait_for("session.created")
            await caller.send_audio(bytes(960))
            if number % 5 == 0:
                caller.connection.transport.abort()

    await call(1)
    await server.host.until_empty()
    before = left()
    for batch in range(0, 200, 10):
        await asyncio.gather(*(call(batch + number) for number in range(10)))
    await server.host.until_empty()
    async with asyncio.timeout(5):
        while left() > before:
            await asyncio.sleep(0.01)
    assert len(server.host.ended) == 201


def _is_socket(fd: Path) -> bool:
    try:
        return str(fd.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False
