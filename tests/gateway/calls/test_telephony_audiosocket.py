"""Who may call over AudioSocket: a UUID is a key that works once or, on loopback, an agent's id."""

import asyncio
import logging
import struct
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.app import answers_agents_by_id
from gateway.calls.telephony import AUDIOSOCKET_PORT, AudioSocketListener
from gateway.channels.telephony.audiosocket import uuid_of
from gateway.channels.telephony.channel import Patience
from gateway.lifecycle import bound_sockets
from gateway.processes.connections import (
    AUDIOSOCKET,
    Acceptor,
    Member,
    PassedConnections,
    channel_pair,
)
from gateway.settings import Settings
from rest.accounts.keys import DEFAULT_SECONDS, Grant
from store.ids import new_id
from tests.gateway.calls.test_telephony import TelephonyServer
from tests.support.gateway.http_support import WORKSPACE

SESSION = {"type": "realtime", "instructions": "Only tea."}


@asynccontextmanager
async def listening(open_to: str | None = None, **options: Any) -> AsyncIterator[TelephonyServer]:
    """A server with an AudioSocket port; whatever was called has ended at its end."""
    server = TelephonyServer(**options)
    listener = AudioSocketListener(("127.0.0.1", 0), server.telephony, open_to)
    server.app.cleanup_ctx.append(listener.context)
    async with server.running():
        yield server
        await server.host.until_empty()
        assert server.host.admission.active == 0
        assert server.telephony._unproven == 0


@asynccontextmanager
async def dialled(server: TelephonyServer, call: uuid.UUID) -> AsyncIterator[asyncio.StreamReader]:
    """A connection that has sent its UUID and 20 ms of audio."""
    port = server.app[AUDIOSOCKET_PORT]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(struct.pack(">BH", 0x01, 16) + call.bytes)
    writer.write(struct.pack(">BH", 0x10, 320) + bytes(320))
    try:
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


async def authorized(server: TelephonyServer, call: uuid.UUID) -> Any:
    """The request of a call that must get in."""
    async with dialled(server, call), asyncio.timeout(5):
        async with server.host.changed:
            await server.host.changed.wait_for(lambda: bool(server.host.calls))
        (made,) = server.host.calls.values()
    await server.host.until_empty()
    return made.request


async def is_refused(server: TelephonyServer, call: uuid.UUID) -> bool:
    """Whether it is hung up on without a call."""
    before = len(server.host.ended)
    async with dialled(server, call) as reader, asyncio.timeout(5):
        assert await reader.read() == b"\0\0\0"
    return len(server.host.ended) == before


async def minted(server: TelephonyServer, grant: Grant) -> uuid.UUID:
    return uuid.UUID(hex=(await server.ephemeral.mint(grant)).value.removeprefix("ek_"))


async def test_a_key_opens_one_call_of_its_agent_and_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening() as server:
        call = await minted(server, Grant(WORKSPACE, server.agent_id, SESSION))
        request = await authorized(server, call)
        assert (request.workspace_id, request.agent_id) == (WORKSPACE, server.agent_id)
        assert request.config.instructions == "Only tea."
        assert await is_refused(server, call)
    assert "refused: invalid_api_key" in caplog.text
    assert call.hex not in caplog.text.replace("-", "")


async def test_connections_that_another_process_accepts_are_answered_too() -> None:
    server = TelephonyServer()
    ours, theirs = channel_pair()
    passed = PassedConnections(theirs, lambda: None)
    port = bound_sockets("127.0.0.1", 0)
    listener = AudioSocketListener(port[0].getsockname(), server.telephony, None, passed)
    server.app.cleanup_ctx.append(listener.context)
    member = Member(ours, lambda: None, lambda: None)
    acceptor = Acceptor({AUDIOSOCKET: port}, lambda: [member])
    async with server.running():
        acceptor.start()
        call = await minted(server, Grant(WORKSPACE, server.agent_id, SESSION))
        assert (await authorized(server, call)).agent_id == server.agent_id
        assert await is_refused(server, call)
        await server.host.until_empty()
    acceptor.close()
    member.close()
    passed.close()
    port[0].close()


async def test_only_one_of_two_callers_with_one_key_gets_in() -> None:
    async with listening() as server:
        call = await minted(server, Grant(WORKSPACE, server.agent_id))
        async with dialled(server, call), dialled(server, call), asyncio.timeout(5):
            while not (server.host.calls and server.telephony._unproven == 0):
                await asyncio.sleep(0)
            assert len(server.host.calls) == 1


async def test_an_expired_or_unknown_key_and_an_agents_id_are_refused() -> None:
    async with listening() as server:
        expired = await minted(server, Grant(WORKSPACE, server.agent_id))
        server.bus.now += DEFAULT_SECONDS
        for call in (expired, uuid.UUID(int=0), uuid_of(server.agent_id)):
            assert await is_refused(server, call)


async def test_a_key_does_not_reach_another_workspaces_agent() -> None:
    async with listening(WORKSPACE) as server:
        assert await is_refused(server, await minted(server, Grant("ws_2", server.agent_id)))


async def test_where_no_key_is_needed_the_workspaces_agents_are_called_by_id() -> None:
    async with listening(WORKSPACE) as server:
        assert (await authorized(server, uuid_of(server.agent_id))).agent_id == server.agent_id
        call = await minted(server, Grant("ws_2", server.new_agent("ws_2")))
        assert (await authorized(server, call)).workspace_id == "ws_2"
        for agent_id in (server.new_agent("ws_2"), new_id("agt")):
            assert await is_refused(server, uuid_of(agent_id))


@pytest.mark.parametrize("part", [1, 2, 10, 19, 21, 300])
async def test_a_caller_that_stops_within_a_message_is_disconnected(part: int) -> None:
    async with listening(WORKSPACE, patience=Patience(start=0.05)) as server, asyncio.timeout(5):
        port = server.app[AUDIOSOCKET_PORT]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        name = struct.pack(">BH", 0x01, 16) + uuid_of(server.agent_id).bytes
        writer.write((name + struct.pack(">BH", 0x10, 320) + bytes(320))[:part])
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("host", "database_url", "open_"),
    [
        ("127.0.0.1", None, True),
        ("localhost", None, True),
        ("::1", None, True),
        ("10.0.0.5", None, False),
        ("::", None, False),
        ("127.0.0.1", "postgresql://db/blab", False),
    ],
)
def test_only_this_machine_may_call_by_id_and_only_in_embedded_mode(
    host: str, database_url: str | None, open_: bool
) -> None:
    settings = Settings(audiosocket=(host, 9092), database_url=database_url)
    assert answers_agents_by_id(settings) is open_


def test_a_server_without_audiosocket_answers_nobody_by_id() -> None:
    assert not answers_agents_by_id(Settings())
