"""Who may make a telephone call, with which proof, and how others are refused."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import jwt
import pytest
from websockets.exceptions import InvalidStatus

from gateway.calls.telephony import MOST_UNPROVEN, TelephonyCalls
from gateway.channels.telephony.channel import Patience
from gateway.channels.telephony.twilio import sign
from rest.accounts.keys import Grant
from store.ids import new_id
from store.tenants.agents import Agent
from tests.support.gateway.http_support import WORKSPACE, MemoryAgents, TestServer
from tests.support.gateway.twilio_client import TwilioClient

TOKEN = "a-twilio-auth-token"
VONAGE_SECRET = "a-vonage-signature-secret-of-the-account"


class AllAgents:
    """Agents of every workspace."""

    def __init__(self, agents: MemoryAgents) -> None:
        self._agents = agents

    async def of_any_workspace(self, agent_id: str) -> Agent | None:
        return next((a for (_, one), a in self._agents.agents.items() if one == agent_id), None)


class TelephonyServer(TestServer):
    """The application around an EchoHost, with the door of telephone calls."""

    __test__ = False

    def __init__(
        self,
        public_url: str | None = None,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        most_unproven: int = MOST_UNPROVEN,
    ) -> None:
        super().__init__()
        self.telephony = TelephonyCalls(
            self.calls._authorization,
            cast(Any, AllAgents(self.agents)),
            self.calls,
            {"twilio": TOKEN, "vonage": VONAGE_SECRET},
            public_url,
            patience=patience,
            most_unproven=most_unproven,
        )
        self.app.add_routes(self.telephony.routes())
        self.agent_id = self.new_agent()

    def new_agent(self, workspace_id: str = WORKSPACE) -> str:
        return self.agents.add(workspace_id, new_id("agt"), system_prompt="Sell tea.").id

    def path(self, agent_id: str = "", after: str = "") -> str:
        return f"/api/agents/{agent_id or self.agent_id}/twilio{after}"

    def client(self, path: str = "", **options: Any) -> TwilioClient:
        return TwilioClient(self.ws_url + (path or self.path()), **options)

    def signature(self, path: str = "", token: str = TOKEN) -> dict[str, str]:
        address = f"wss://127.0.0.1:{self.port}{path or self.path()}"
        return {"X-Twilio-Signature": sign(token.encode(), address).decode()}


@pytest.fixture
async def server() -> AsyncIterator[TelephonyServer]:
    async with TelephonyServer().running() as running:
        assert isinstance(running, TelephonyServer)
        yield running
        await running.host.until_empty()
        assert running.host.admission.active == 0
        assert running.telephony._unproven == 0


async def authorized(server: TelephonyServer, **options: Any) -> Any:
    """The request of a call that must get in."""
    async with server.client(**options):
        async with server.host.changed:
            await server.host.changed.wait_for(lambda: bool(server.host.calls))
        (call,) = server.host.calls.values()
    return call.request


async def refused(server: TelephonyServer, **options: Any) -> tuple[int, str]:
    """Status and body of a call that must not get as far as the upgrade."""
    with pytest.raises(InvalidStatus) as caught:
        await server.client(**options).open()
    response = caught.value.response
    return response.status_code, (response.body or b"").decode()


async def turned_away(server: TelephonyServer, **options: Any) -> tuple[int, str]:
    """Code and reason of a stream that is closed after its start."""
    async with server.client(**options) as caller:
        return await caller.wait_closed()


@pytest.mark.parametrize("by", ["header", "path", "query", "parameter", "ephemeral"])
async def test_a_key_opens_the_call(server: TelephonyServer, by: str) -> None:
    key = server.keys.add()
    if by == "ephemeral":
        session = {"type": "realtime", "instructions": "Only tea."}
        key = (await server.ephemeral.mint(Grant(WORKSPACE, server.agent_id, session))).value
    ways: dict[str, dict[str, Any]] = {
        "header": {"headers": {"Authorization": f"Bearer {key}"}},
        "path": {"path": server.path(after=f"/{key}")},
        "query": {"path": server.path(after=f"?key={key}")},
        "parameter": {"parameters": {"blab_key": key}},
        "ephemeral": {"parameters": {"blab_key": key}},
    }
    request = await authorized(server, **ways[by])
    assert (request.workspace_id, request.agent_id) == (WORKSPACE, server.agent_id)
    assert request.config.instructions == ("Only tea." if by == "ephemeral" else "Sell tea.")
    assert request.config.output_format.rate == 8_000


async def test_the_caller_is_known_by_a_digest(server: TelephonyServer) -> None:
    callers = server.calls._authorization.callers
    key = server.keys.add()
    named = await authorized(server, parameters={"blab_key": key, "blab_caller": "+49 30 901820"})
    assert named.caller == callers.of(WORKSPACE, "+4930901820")
    assert "901820" not in repr(named)
    assert (await authorized(server, parameters={"blab_key": key})).caller is None
    known = Grant(WORKSPACE, server.agent_id, caller=b"digest")
    minted = (await server.ephemeral.mint(known)).value
    other = {"blab_key": minted, "blab_caller": "somebody else"}
    assert (await authorized(server, parameters=other)).caller == b"digest"


async def test_twilios_signature_opens_the_call_in_the_agents_workspace(
    server: TelephonyServer,
) -> None:
    agent_id = server.new_agent("ws_other")
    path = server.path(agent_id)
    options = {"path": path, "headers": server.signature(path), "parameters": {"order": "A-17"}}
    request = await authorized(server, **options)
    assert (request.workspace_id, request.agent_id) == ("ws_other", agent_id)
    assert request.config.instructions.endswith("- order: A-17")


async def test_behind_a_proxy_the_public_address_is_signed() -> None:
    async with TelephonyServer("https://voice.example:8443").running() as server:
        assert isinstance(server, TelephonyServer)
        address = f"wss://voice.example:8443{server.path()}"
        headers = {"X-Twilio-Signature": sign(TOKEN.encode(), address).decode()}
        assert (await authorized(server, headers=headers)).agent_id == server.agent_id
        code, reason = await turned_away(server, headers=server.signature())
        assert (code, reason.partition(":")[0]) == (1008, "invalid_signature")


async def test_a_wrong_signature_proves_nothing(server: TelephonyServer) -> None:
    wrong = server.signature(token="guess")
    code, reason = await turned_away(server, headers=wrong)
    assert (code, reason.partition(":")[0]) == (1008, "invalid_signature")
    assert "BLAB_TWILIO_AUTH_TOKEN" in reason
    assert "BLAB_PUBLIC_URL" in reason
    assert await turned_away(server) == (1008, "missing_api_key")
    key = server.keys.add()
    assert await authorized(server, headers=wrong, parameters={"blab_key": key})


async def test_a_signature_proves_only_twilio(server: TelephonyServer) -> None:
    path = server.path().replace("twilio", "telnyx")
    headers = server.signature(path)
    async with server.client(path, headers=headers) as caller:
        await caller.send('{"event": "start", "stream_id": "s", "start": {}}')
        assert await caller.wait_closed() == (1008, "missing_api_key")


async def test_vonages_jwt_opens_the_call_and_another_jwt_needs_a_key(
    server: TelephonyServer,
) -> None:
    path, key = server.path().replace("twilio", "vonage"), server.keys.add()

    def signed(secret: str) -> dict[str, str]:
        token = jwt.encode({"iss": "Vonage", "iat": int(time.time())}, secret, "HS256")
        return {"Authorization": f"Bearer {token}"}

    connected = {"event": "websocket:connected", "content-type": "audio/l16;rate=16000"}
    foreign = signed("the-signature-secret-of-another-account")
    ways: list[tuple[dict[str, str], str, dict[str, str]]] = [
        (signed(VONAGE_SECRET), "", {}),
        (foreign, "", {"blab_key": key}),
        (foreign, f"/{key}", {}),
        ({"Authorization": f"Bearer {key}"}, "", {}),
    ]
    for headers, after, parameters in ways:
        caller = server.client(path + after, headers=headers)
        await caller.open()
        await caller.send(connected | parameters)
        async with server.host.changed:
            await server.host.changed.wait_for(lambda: bool(server.host.calls))
        (call,) = server.host.calls.values()
        assert call.request.agent_id == server.agent_id
        assert call.request.config.output_format.rate == 16_000
        await caller.connection.close()
        await server.host.until_empty()
    caller = server.client(path, headers=foreign)
    await caller.open()
    await caller.send(connected)
    code, reason = await caller.wait_closed()
    assert (code, reason.partition(":")[0]) == (1008, "invalid_signature")
    assert "BLAB_VONAGE_SIGNATURE_SECRET" in reason


@pytest.mark.parametrize("key", ["nonsense", "ek_old", "blab_sk_x"])
async def test_a_wrong_key_is_refused(server: TelephonyServer, key: str) -> None:
    status, body = await refused(server, headers={"Authorization": f"Bearer {key}"})
    assert status == 401
    assert key not in body
    assert await turned_away(server, parameters={"blab_key": key}) == (1008, "invalid_api_key")
    assert await turned_away(server) == (1008, "missing_api_key")


async def test_a_key_without_the_scope_is_refused(server: TelephonyServer) -> None:
    key = server.keys.add(scopes=("usage:read",))
    assert (await refused(server, path=server.path(after=f"/{key}")))[0] == 403
    reason = await turned_away(server, parameters={"blab_key": key})
    assert reason == (1008, "insufficient_permissions")


async def test_another_workspaces_agent_is_not_found(server: TelephonyServer) -> None:
    key = server.keys.add()
    bound = (await server.ephemeral.mint(Grant(WORKSPACE, server.new_agent()))).value
    foreign, absent = server.new_agent("ws_2"), new_id("agt")
    early, late = set(), set()
    for agent_id, credential in (
        (foreign, key),
        (absent, key),
        ("%00", key),
        ("x" * 900, key),
        (server.agent_id, bound),
    ):
        headers = {"Authorization": f"Bearer {credential}"}
        status, body = await refused(server, path=server.path(agent_id), headers=headers)
        early.add((status, body.split('"meta"')[0]))
        options = {"path": server.path(agent_id), "parameters": {"blab_key": credential}}
        late.add(await turned_away(server, **options))
    assert len(early) == 1
    assert next(iter(early))[0] == 404
    assert late == {(1008, "agent_not_found")}
    path = server.path(absent)
    assert (await refused(server, path=path, headers=server.signature(path)))[0] == 404


async def test_a_full_server_says_so(server: TelephonyServer) -> None:
    server.host.admission.capacity = 0
    key = server.keys.add()
    assert (await refused(server, path=server.path(after=f"/{key}")))[0] == 503
    assert await turned_away(server, parameters={"blab_key": key}) == (1013, "server_full")


async def test_unproven_streams_are_bounded_and_take_no_slot() -> None:
    async with TelephonyServer(most_unproven=1).running() as server:
        assert isinstance(server, TelephonyServer)
        waiting = server.client()
        await waiting.open()
        assert server.host.admission.active == 0
        assert (await refused(server))[0] == 503
        await waiting.hang_up()


async def test_a_stream_that_never_starts_is_closed() -> None:
    async with TelephonyServer(patience=Patience(start=0.05)).running() as server:
        assert isinstance(server, TelephonyServer)
        caller = server.client(headers=server.signature())
        await caller.open()
        assert await caller.wait_closed() == (1008, "no_start")
        await caller.hang_up()


async def test_an_unsupported_format_closes_the_stream(server: TelephonyServer) -> None:
    caller = server.client(headers=server.signature())
    await caller.open()
    form = {"encoding": "audio/opus"}
    await caller.tell("start", {"streamSid": caller.stream, "mediaFormat": form})
    assert await caller.wait_closed() == (1008, "unsupported_media_format")
    await caller.hang_up()


@pytest.mark.parametrize(
    ("carrier", "query", "header"),
    [
        ("twilio", b"?x=\xff", b"X-Twilio-Signature: x"),
        ("vonage", b"", b"Authorization: Bearer a.\xff.b"),
        ("vonage", b"", b"Authorization: Bearer eyJ\xff.."),
    ],
)
async def test_what_is_no_text_proves_nothing(
    server: TelephonyServer, carrier: str, query: bytes, header: bytes
) -> None:
    path = server.path().replace("twilio", carrier).encode() + query
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    upgrade += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    writer.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b%b\r\n\r\n" % (path, upgrade, header))
    answer = await asyncio.wait_for(reader.read(4096), 5)
    writer.transport.abort()
    assert int(answer.split(b" ", 2)[1]) in (101, 400, 401, 403), answer
    async with asyncio.timeout(5):
        while server.telephony._unproven:
            await asyncio.sleep(0.005)


async def test_plain_http_gets_a_hint_to_connect_by_websocket(server: TelephonyServer) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.get(server.url + server.path()) as answer,
    ):
        assert answer.status == 426
        assert "wss://" in (await answer.json())["error"]["message"]


async def test_no_key_is_logged(server: TelephonyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = server.keys.add()
    await authorized(server, path=server.path(after=f"/{key}"))
    await authorized(server, parameters={"blab_key": key})
    ours = [record for record in caplog.records if not record.name.startswith("websockets")]
    assert ours
    assert not [record for record in ours if key in record.getMessage()]
