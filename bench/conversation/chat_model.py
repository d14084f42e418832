"""A chat model with fixed timing, behind OpenAI's HTTP API: every system thinks equally fast.

The first token comes after ``FIRST_TOKEN`` seconds, then ``TOKENS_A_SECOND``. It answers the same
whatever is asked: a sentence, or where ``long`` is set a quarter of a minute of speech. It keeps
what it was given as the caller's words, which is what a system has understood.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

FIRST_TOKEN = 0.25
TOKENS_A_SECOND = 30.0
NAME = "bench-chat"
SHORT = "Yes, I can help you with that right away."
LONG = (
    "Certainly, here is what I can tell you about that. The old harbour lies at the end of the long"
    " street, and every morning the fishermen bring their boats in before the sun is up. They sell"
    " what they caught on the stone quay, and by noon most of it is gone."
)


class ChatModel:
    """``url`` is its address, up to and including /v1."""

    def __init__(self) -> None:
        self.long = False
        """What the next answers are."""
        self.given: list[str] = []
        """The caller's words of each request, those since the agent spoke last."""
        self.url = ""

    def take(self) -> tuple[str, int]:
        """(the caller's words in the last request, number of requests) since the last call."""
        given, self.given = self.given, []
        return (given[-1] if given else ""), len(given)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.given.append(_callers_words(body["messages"]))
        text = LONG if self.long else SHORT
        await asyncio.sleep(FIRST_TOKEN)
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response(_object(body, "chat.completion", choice))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            for number, word in enumerate(text.split(" ")):
                delta = {"role": "assistant", "content": word if not number else f" {word}"}
                await _send(response, body, delta, None)
                await asyncio.sleep(1 / TOKENS_A_SECOND)
            await _send(response, body, {}, "stop")
            await response.write(b"data: [DONE]\n\n")
        except ConnectionError:
            pass  # the reply was cancelled
        return response

    async def _models(self, _request: web.Request) -> web.Response:
        model = {"id": NAME, "object": "model", "created": 0, "owned_by": "bench"}
        return web.json_response({"object": "list", "data": [model]})

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator["ChatModel"]:
        """Serve on a free port of the loopback."""
        model, app = cls(), web.Application()
        app.router.add_post("/v1/chat/completions", model._complete)
        app.router.add_get("/v1/models", model._models)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            model.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield model
        finally:
            await runner.cleanup()


def _callers_words(messages: list[dict[str, Any]]) -> str:
    words: list[str] = []
    for message in reversed(messages):
        if message["role"] != "user":
            break
        content = message["content"]
        if not isinstance(content, str):
            content = " ".join(part.get("text", "") for part in content)
        words.insert(0, content)
    return " ".join(words)


def _object(body: dict[str, Any], kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    about = {"id": "chatcmpl-bench", "object": kind, "created": int(time.time())}
    return about | {"model": body["model"], "choices": [choice], "usage": usage}


async def _send(
    response: web.StreamResponse, body: dict[str, Any], delta: dict[str, Any], end: str | None
) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": end}
    chunk = json.dumps(_object(body, "chat.completion.chunk", choice))
    await response.write(f"data: {chunk}\n\n".encode())
