"""A turn by a recording through the whole application: answered, stored, billed, refused."""

import asyncio
from typing import Any

import aiohttp

from gateway.app import HOST
from rest.accounts.keys import SCOPES
from store.tenants.accounts import LOCAL_WORKSPACE
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, server
from tests.support.rest.agent_app import recording
from tests.support.rest.tenancy import form, new_key

__all__ = ["server"]


async def test_a_turn_by_recording(server: ScriptedServer) -> None:
    key = await new_key(server.database, LOCAL_WORKSPACE, list(SCOPES))
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:

        async def ask(method: str, path: str, **options: Any) -> Any:
            async with http.request(method, path, **options) as answer:
                assert answer.status == 200, await answer.text()
                return (await answer.json())["data"]

        asked = {"name": "Tone", "systemPrompt": "talk 500"}
        agent = await ask("POST", "/api/agents", json=asked)
        path = f"/api/agents/{agent['id']}"
        twice = [
            await ask(
                "POST", f"{path}/turn", data=form(recording()), headers={"Idempotency-Key": "k1"}
            )
            for _ in range(2)
        ]
        turn = twice[0]
        assert twice[1] == turn
        assert (turn["userTranscript"], turn["assistantText"]) == (HEARD, "Answer 500.")
        async with http.get(turn["assistantAudioUrl"], headers={"Authorization": ""}) as audio:
            assert (audio.status, audio.content_type) == (200, "audio/mpeg")
            assert len(await audio.read()) > 1000
        [shown] = await ask("GET", f"{path}/turns")
        assert shown["id"] == turn["turnId"]
        events = await ask("GET", "/api/usage/events?type=agent")
        assert len(events) == 1


async def test_a_draining_server_takes_no_more_turns(server: ScriptedServer) -> None:
    asked = asyncio.Event()

    async def wait(_: float) -> None:
        asked.set()
        await asyncio.Event().wait()

    server.engines.chat_model.delay = wait
    headers = {"Authorization": f"Bearer {server.key}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:
        async with http.post("/api/agents", json={"name": "A"}) as made:
            path = f"/api/agents/{(await made.json())['data']['id']}/turn"

        async def turn() -> int:
            async with http.post(path, data=form(recording())) as answer:
                return answer.status

        running = asyncio.create_task(turn())
        async with asyncio.timeout(5):
            await asked.wait()
        await server.app[HOST].drain(0)
        assert [await running, await turn()] == [503, 503]
