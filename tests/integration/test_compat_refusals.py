"""Refusals as the stock client raises them, and what web pages are allowed to do."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from sessions.admission import Admission
from tests.support.rest.agent_app import recording
from tests.support.rest.compat_app import KEY, CompatNode

FILE = ("a.wav", recording(0.5), "audio/wav")
Ask = Callable[[openai.AsyncOpenAI], Awaitable[Any]]


async def models(client: openai.AsyncOpenAI) -> Any:
    return await client.models.list()


async def speech(client: openai.AsyncOpenAI) -> Any:
    return await client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")


async def transcription(client: openai.AsyncOpenAI) -> Any:
    return await client.audio.transcriptions.create(model="whisper-1", file=FILE)


async def chat(client: openai.AsyncOpenAI) -> Any:
    messages: Any = [{"role": "user", "content": "Hello."}]
    return await client.chat.completions.create(model="gpt-4o-mini", messages=messages)


SCOPES: dict[Ask, str] = {speech: "tts:write", transcription: "stt:write", chat: "agents:write"}
ALL = [models, *SCOPES]


@pytest.mark.parametrize("ask", ALL)
async def test_a_request_without_a_valid_key_is_refused(tmp_path: Path, ask: Ask) -> None:
    async with CompatNode(tmp_path).running() as node, node.client("sk-openai") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await ask(client)
        assert refused.value.code == "invalid_api_key"
        assert refused.value.request_id is not None
        assert refused.value.request_id.startswith("req_")


@pytest.mark.parametrize("ask", SCOPES)
async def test_a_key_can_do_only_what_its_scopes_allow(tmp_path: Path, ask: Ask) -> None:
    others = [scope for scope in SCOPES.values() if scope != SCOPES[ask]]
    async with CompatNode(tmp_path, scopes=others).running() as node, node.client() as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask(client)
        assert SCOPES[ask] in refused.value.message
        node.scopes = [SCOPES[ask]]
        await ask(client)


async def test_any_key_may_see_the_models(tmp_path: Path) -> None:
    async with CompatNode(tmp_path, scopes=()).running() as node, node.client() as client:
        assert (await client.models.list()).data


@pytest.mark.parametrize("ask", ALL)
async def test_too_many_requests(tmp_path: Path, ask: Ask) -> None:
    async with CompatNode(tmp_path, too_many=True).running() as node, node.client() as client:
        with pytest.raises(openai.RateLimitError) as refused:
            await ask(client)
        assert refused.value.code == "rate_limit_exceeded"
        assert refused.value.response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("ask", [speech, chat])
async def test_a_request_without_a_free_slot_is_refused(tmp_path: Path, ask: Ask) -> None:
    async with CompatNode(tmp_path, slots=Admission(1)).running() as node, node.client() as client:
        with node.slots.admit("ws_1"):
            with pytest.raises(openai.InternalServerError) as refused:
                await ask(client)
            assert (refused.value.status_code, refused.value.code) == (503, "server_full")
            assert refused.value.response.headers["Retry-After"] == "10"
            await transcription(client)  # has engines of its own
        await ask(client)


async def test_an_unknown_path_is_not_found(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await client.embeddings.create(model="text-embedding-3-small", input="x")
        assert refused.value.code == "unknown_url"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "models"),
        ("GET", "models/org/name"),
        ("POST", "audio/speech"),
        ("POST", "audio/transcriptions"),
        ("POST", "audio/translations"),
        ("POST", "chat/completions"),
    ],
)
async def test_web_pages_can_send_requests(tmp_path: Path, method: str, path: str) -> None:
    async with CompatNode(tmp_path).running() as node, aiohttp.ClientSession() as http:
        url = f"{node.url}/v1/{path}"
        headers = {
            "Origin": "https://page.example",
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
        }
        async with http.options(url, headers=headers) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert method in answer.headers["Access-Control-Allow-Methods"]
            assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, *"
        async with http.request(method, url, headers={"Origin": "https://page.example"}) as answer:
            assert answer.status == 401
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_web_pages_can_read_a_stream(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {KEY}"}
        body = {"model": "tts-1", "voice": "alloy", "input": "Hello."}
        async with http.post(f"{node.url}/v1/audio/speech", json=body, headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
            assert await answer.read()
