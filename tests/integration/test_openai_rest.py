"""OpenAI's REST through the whole application: keys, scopes, usage, limits, the served document."""

import asyncio
from typing import Any

import aiohttp
import openai
import pytest

from pipelines.engines.scripted.jobs import ScriptedFileTranscriber, spoken
from rest.accounts.keys import SCOPES
from store.tenants.accounts import LOCAL_WORKSPACE
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, assert_discreet, server
from tests.support.rest.agent_app import recording
from tests.support.rest.all_resources import contract_with_additions

__all__ = ["server"]

FILE = ("call.wav", recording(1.0), "audio/wav")


async def used(server: ScriptedServer, key: str) -> list[tuple[str, str]]:
    """Type and model of every unit that was booked, sorted."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(server.url, headers=headers) as http,
        http.get("/api/usage/events") as answer,
    ):
        events = (await answer.json())["data"]
        return sorted((event["type"], event["model"]) for event in events)


async def all_used(server: ScriptedServer, key: str, count: int) -> list[tuple[str, str]]:
    """As ``used``, when ``count`` units are there."""
    async with asyncio.timeout(5):
        while len(found := await used(server, key)) < count:
            await asyncio.sleep(0.01)
    return found


async def test_everything_with_one_key(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.engines.jobs.ears = ScriptedFileTranscriber((spoken(HEARD),))
    server.engines.jobs.absent = frozenset({"tts-1", "whisper-1", "gpt-4o-mini"})
    key = await server.new_key(scopes=SCOPES)
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{server.url}/v1") as client:
        names = {model.id async for model in client.models.list()}
        assert {"blab-stable", "tts-1", "whisper-1", "scripted-chat"} <= names
        assert (await client.models.retrieve("tts-1")).id == "tts-1"
        asked: Any = {"model": "tts-1", "voice": "alloy", "input": HEARD}
        async with client.audio.speech.with_streaming_response.create(**asked) as answer:
            assert len(await answer.read()) > 1000
        stream = await client.audio.transcriptions.create(model="whisper-1", file=FILE, stream=True)
        assert [event async for event in stream][-1].type == "transcript.text.done"
        messages: Any = [{"role": "user", "content": HEARD}]
        chunks = await client.chat.completions.create(
            model="gpt-4o-mini", messages=messages, stream=True
        )
        assert [chunk async for chunk in chunks][-1].choices[0].finish_reason == "stop"
    assert await all_used(server, key, 3) == [
        ("agent", "verinova-stable"),
        ("stt", "scripted-file-ears"),
        ("tts", "blab-stable"),
    ]
    stranger = await server.new_key(await server.foreign_workspace(), scopes=SCOPES)
    assert await used(server, stranger) == []
    assert_discreet(caplog, key, at_most=0)


async def test_a_key_for_calls_can_chat_and_nothing_else(server: ScriptedServer) -> None:
    async with openai.AsyncOpenAI(api_key=server.key, base_url=f"{server.url}/v1") as client:
        messages: Any = [{"role": "user", "content": "Hello."}]
        assert (await client.chat.completions.create(model="default", messages=messages)).choices
        with pytest.raises(openai.PermissionDeniedError):
            await client.audio.transcriptions.create(model="whisper-1", file=FILE)


async def test_an_ephemeral_key_opens_calls_only(server: ScriptedServer) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with (
        aiohttp.ClientSession(server.url, headers=headers) as http,
        http.post("/v1/realtime/client_secrets", json={}) as answer,
    ):
        secret = (await answer.json())["value"]
    async with openai.AsyncOpenAI(api_key=secret, base_url=f"{server.url}/v1") as client:
        with pytest.raises(openai.PermissionDeniedError):
            await client.models.list()


async def test_the_served_document_is_the_contracts(server: ScriptedServer) -> None:
    async with aiohttp.ClientSession(server.url) as http, http.get("/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    assert paths.keys() == contract_with_additions()["paths"].keys()


async def test_web_pages_can_send_requests(server: ScriptedServer) -> None:
    async with aiohttp.ClientSession(server.url) as http:
        async with http.options("/v1/chat/completions") as preflight:
            assert preflight.status == 204
            assert preflight.headers["Access-Control-Allow-Origin"] == "*"
        async with http.get("/api/models", headers={"Origin": "https://page.example"}) as other:
            assert "Access-Control-Allow-Origin" not in other.headers


async def test_simultaneous_requests_share_the_engines(server: ScriptedServer) -> None:
    key = await server.new_key(LOCAL_WORKSPACE, scopes=SCOPES)
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{server.url}/v1") as client:

        async def speak(number: int) -> int:
            asked: Any = {"model": "blab-stable", "voice": "alloy", "response_format": "pcm"}
            made = await client.audio.speech.create(input=" ".join(["word"] * number), **asked)
            return len(made.content)

        sizes = await asyncio.gather(*(speak(number) for number in range(1, 21)))
        assert sizes == [number * 2 * 6000 for number in range(1, 21)]
    assert len(await all_used(server, key, 20)) == 20
