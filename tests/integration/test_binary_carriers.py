"""Calls over carriers other than Twilio, through the whole application on scripted engines."""

from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from gateway.app import HOST
from pipelines.engines.base import ChatMessage
from pipelines.engines.scripted.live import tone, tone_of
from tests.integration.test_telephony_calls import LONG_ANSWER, RATE, new_agent, turn_of
from tests.support.gateway.binary_telephone import (
    AsteriskTelephone,
    BinaryTelephone,
    GenesysTelephone,
    PlivoTelephone,
    VonageTelephone,
)
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server"]

SPEECH = tone(440, RATE // 2, RATE)
TELEPHONES = {
    "asterisk": AsteriskTelephone,
    "vonage": VonageTelephone,
    "plivo": PlivoTelephone,
    "genesys": GenesysTelephone,
}


async def telephone(server: ScriptedServer, carrier: str) -> Any:
    agent_id = await new_agent(server)
    url = f"{server.ws_url}/api/agents/{agent_id}/{carrier}/{server.key}"
    return TELEPHONES[carrier](url)


async def talking(caller: BinaryTelephone) -> None:
    caller.say(SPEECH)
    await caller.until(lambda: bool(caller.pcm), "answer")


@pytest.mark.parametrize("carrier", TELEPHONES)
async def test_a_call_is_answered_and_stored(server: ScriptedServer, carrier: str) -> None:
    async with await telephone(server, carrier) as caller:
        await talking(caller)
        await caller.until(lambda: caller.silent, "end of the answer")
        turn = await turn_of(server)
        assert abs(tone_of(caller.pcm, RATE) - 500) < 20
    assert (turn["reply_text"], turn["heard_text"]) == ("Answer 500.", "Answer 500.")
    assert turn["status"] == "completed"
    row = await server.database.fetchrow("SELECT * FROM calls")
    assert row is not None
    assert row["channel"] == carrier
    await server.empty()


@pytest.mark.parametrize("carrier", TELEPHONES)
async def test_an_interruption_clears_unplayed_audio(server: ScriptedServer, carrier: str) -> None:
    server.engines.chat_model.answer = lambda _: LONG_ANSWER
    async with await telephone(server, carrier) as caller:
        await talking(caller)
        heard_at = len(caller.heard)
        await caller.until(lambda: len(caller.heard) > heard_at + RATE, "a second of it")
        server.engines.ears.texts = ("wait stop I meant something else",)
        caller.say(SPEECH)
        turn = await turn_of(server)
        await caller.until(lambda: not caller._ear, "silence")
    assert turn["status"] == "cancelled"
    assert turn["reply_text"].startswith(turn["heard_text"])
    assert 1 <= len(turn["heard_text"].split()) < len(LONG_ANSWER.split()) - 8


@pytest.mark.parametrize("carrier", TELEPHONES)
async def test_the_agent_hangs_up(server: ScriptedServer, carrier: str) -> None:
    async with await telephone(server, carrier) as caller:
        await talking(caller)
        (call_id,) = server.app[HOST]._sessions
        headers = {"Authorization": f"Bearer {server.key}"}
        url = f"{server.url}/v1/realtime/calls/{call_id}/hangup"
        async with aiohttp.ClientSession(headers=headers) as http, http.post(url) as answer:
            assert answer.status == 200
        await caller.until(lambda: caller.closed is not None, "close")
        last = caller.came[-1]
    if carrier == "asterisk":
        assert last == {"command": "HANGUP"}
    elif carrier in ("vonage", "plivo"):
        assert caller.closed == (1000, "client_hangup")
    else:
        disconnect = next(message for message in caller.came if message["type"] == "disconnect")
        assert disconnect["parameters"] == {"reason": "completed", "info": "client_hangup"}


async def test_the_carriers_facts_reach_the_agent(server: ScriptedServer) -> None:
    prompts: list[str] = []

    def answer(messages: Sequence[ChatMessage]) -> str:
        prompts.append(messages[0].content)
        return "Answer 500."

    server.engines.chat_model.answer = answer
    for carrier in TELEPHONES:
        async with await telephone(server, carrier) as caller:
            await talking(caller)
        await server.empty()
    assert all("- order: A-1734" in prompt for prompt in prompts)
    assert "- caller: +15555550100" in prompts[-1]


async def test_a_probe_of_genesys_is_opened_and_closed_without_a_call(
    server: ScriptedServer,
) -> None:
    caller = await telephone(server, "genesys")
    said = caller.tell

    async def tell(kind: str, **parameters: Any) -> None:
        if kind == "open":
            parameters["conversationId"] = "00000000-0000-0000-0000-000000000000"
        await said(kind, **parameters)

    caller.tell = tell
    async with caller:
        assert not server.app[HOST]._sessions
    assert caller.kinds == ["opened", "pong", "closed"]
    await server.empty()


async def test_genesys_learns_that_no_format_is_understood(server: ScriptedServer) -> None:
    caller = await telephone(server, "genesys")

    async def begin() -> None:
        await caller.tell("open", conversationId="090eaa2f-72fa-480a-83e0-8667ff89c0ec", media=[])
        await caller.until(lambda: caller.kinds == ["disconnect"], "disconnect")

    async def end() -> None:
        pass

    caller.begin, caller.end = begin, end
    async with caller:
        assert caller.came[0]["parameters"] == {
            "reason": "error",
            "info": "unsupported_media_format",
        }
    await server.empty()
