"""Calls over AudioSocket's TCP connections, through the whole application on scripted engines."""

import asyncio
import logging
import struct
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.calls.telephony import AUDIOSOCKET_PORT
from gateway.channels.telephony.audiosocket import uuid_of
from gateway.services import ServiceUrls
from pipelines.engines.scripted.live import tone, tone_of
from store.database import Database
from store.ids import new_id
from tests.integration.test_telephony_calls import LONG_ANSWER, new_agent, turn_of
from tests.support.gateway.scripted_server import ScriptedServer, running_node

RATE = 16_000
SLIN16 = 0x12
FRAME = 640
SILENCE = bytes(FRAME)


@pytest.fixture
async def server(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedServer]:
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(database, urls, tmp_path, audiosocket=("127.0.0.1", 0)) as node:
        yield node


class Telephone:
    """Asterisk's side: 20 ms a message in real time, both ways.

    Other than Asterisk it does not play what comes, and reports no error (0xff).
    https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/ has the kinds 0x00, 0x01,
    0x03, 0x10 and 0xff; the rates above 8 kHz (0x11 to 0x18) are in the protocol's own repository,
    https://github.com/CyCoreSystems/audiosocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.mouth = bytearray()
        self.heard = bytearray()
        self.kinds: list[int] = []

    def send(self, kind: int, payload: bytes = b"") -> None:
        self._writer.write(struct.pack(">BH", kind, len(payload)) + payload)

    async def speak(self) -> None:
        due = asyncio.get_running_loop().time()
        while True:
            self.send(SLIN16, bytes(self.mouth[:FRAME]).ljust(FRAME, b"\0"))
            del self.mouth[:FRAME]
            due += 0.02
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    async def listen(self) -> None:
        """Until the other side is gone."""
        while head := await self._reader.read(1):
            (length,) = struct.unpack(">H", await self._reader.readexactly(2))
            self.kinds.append(head[0])
            payload = await self._reader.readexactly(length)
            if head[0] == SLIN16:
                self.heard += payload


@asynccontextmanager
async def call(server: ScriptedServer, agent: str | uuid.UUID) -> AsyncIterator[Telephone]:
    """A call to an agent by its id, or with a key's digits."""
    port = server.app[AUDIOSOCKET_PORT]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    telephone = Telephone(reader, writer)
    telephone.send(0x01, (uuid_of(agent) if isinstance(agent, str) else agent).bytes)
    speaking = asyncio.create_task(telephone.speak())
    try:
        yield telephone
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        telephone.send(0x00)
        writer.close()


async def test_a_call_is_answered_at_the_callers_rate(server: ScriptedServer) -> None:
    async with call(server, await new_agent(server)) as telephone, asyncio.timeout(15):
        listening = asyncio.create_task(telephone.listen())
        telephone.mouth += tone(440, RATE // 2, RATE)
        turn = await turn_of(server)
        listening.cancel()
        spoken = bytes(telephone.heard)
    assert abs(tone_of(spoken[: RATE // 2], RATE) - 500) < 20
    assert (turn["reply_text"], turn["status"]) == ("Answer 500.", "completed")
    row = await server.database.fetchrow("SELECT * FROM calls")
    assert row is not None
    assert row["channel"] == "audiosocket"
    await server.empty()


async def test_little_audio_follows_an_interruption(server: ScriptedServer) -> None:
    server.engines.chat_model.answer = lambda _: LONG_ANSWER
    async with call(server, await new_agent(server)) as telephone, asyncio.timeout(15):
        listening = asyncio.create_task(telephone.listen())
        telephone.mouth += tone(440, RATE // 2, RATE)
        while len(telephone.heard) < 2 * RATE:
            await asyncio.sleep(0.01)
        server.engines.ears.texts = ("wait stop I meant something else",)
        telephone.mouth += tone(440, RATE // 2, RATE)
        turn = await turn_of(server)
        listening.cancel()
    assert turn["status"] == "cancelled"
    words = len(turn["heard_text"].split())
    assert 1 <= words < len(LONG_ANSWER.split()) - 8


async def test_a_key_made_over_rest_opens_one_call(server: ScriptedServer) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    url = f"{server.url}/v1/realtime/client_secrets"
    body = {
        "agent_id": await new_agent(server),
        "expires_after": {"anchor": "created_at", "seconds": 60},
    }
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, json=body) as made:
        key = uuid.UUID(hex=(await made.json())["value"].removeprefix("ek_"))
    async with call(server, key) as telephone, asyncio.timeout(15):
        listening = asyncio.create_task(telephone.listen())
        telephone.mouth += tone(440, RATE // 2, RATE)
        assert (await turn_of(server))["status"] == "completed"
        listening.cancel()
    await server.empty()
    async with call(server, key) as telephone, asyncio.timeout(5):
        await telephone.listen()
    assert telephone.kinds == [0x00]


async def test_a_caller_of_an_unknown_agent_is_disconnected(server: ScriptedServer) -> None:
    async with call(server, new_id("agt")) as telephone, asyncio.timeout(5):
        await telephone.listen()
    await server.empty()


@pytest.mark.parametrize(
    "raw", [b"GET / HTTP/1.1\r\n\r\n" * 400, b"\x01\0\x03abc" * 200, b"\xff" * 70_000, b"\0" * 3]
)
async def test_garbage_ends_the_connection_and_leaves_nothing(
    server: ScriptedServer, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app[AUDIOSOCKET_PORT])
    writer.write(raw)
    writer.write_eof()
    async with asyncio.timeout(5):
        try:
            while await reader.read(1024):
                pass
        except ConnectionError:
            pass
    writer.close()
    await server.empty()
    assert [record for record in caplog.records if record.exc_info] == []
    async with call(server, await new_agent(server)) as telephone, asyncio.timeout(15):
        listening = asyncio.create_task(telephone.listen())
        telephone.mouth += tone(440, RATE // 2, RATE)
        assert (await turn_of(server))["status"] == "completed"
        listening.cancel()
