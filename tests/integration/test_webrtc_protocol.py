"""The events of a WebRTC caller in OpenAI's order, its playout's among the others."""

import asyncio
from typing import Any

from pipelines.engines.scripted.live import tone
from tests.support.gateway.protocol_validator import check_stream
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, server
from tests.support.gateway.webrtc_client import EAR_RATE, Caller

__all__ = ["server"]

LONG = " ".join(["There was a parrot."] * 20)
CONTENT = [{"type": "input_text", "text": HEARD}]
QUESTION = {
    "type": "conversation.item.create",
    "item": {"type": "message", "role": "user", "content": CONTENT},
}


def calling(server: ScriptedServer) -> Caller:
    return Caller(server.calls_url, headers={"Authorization": f"Bearer {server.key}"})


def position(caller: Caller, kind: str) -> int:
    return [event["type"] for event in caller.events].index(kind)


async def asked(caller: Caller) -> dict[str, Any]:
    await caller.event("session.created")
    caller.send(QUESTION)
    caller.send({"type": "response.create"})
    return await caller.event("output_audio_buffer.started")


async def test_a_reply_that_is_heard_to_its_end(server: ScriptedServer) -> None:
    async with calling(server) as caller:
        started = await asked(caller)
        stopped = await caller.event("output_audio_buffer.stopped")
        done = await caller.event("response.done")
        assert started["response_id"] == stopped["response_id"] == done["response"]["id"]
        assert position(caller, "response.content_part.added") < position(
            caller, "output_audio_buffer.started"
        )
        assert position(caller, "response.done") < position(caller, "output_audio_buffer.stopped")
    check_stream(caller.events)


async def test_a_reply_that_is_cleared(server: ScriptedServer) -> None:
    """As OpenAI requires: response.cancel, then output_audio_buffer.clear."""
    server.engines.chat_model.answer = lambda _: LONG
    async with calling(server) as caller:
        await asked(caller)
        caller.send({"type": "response.cancel"})
        caller.send({"type": "output_audio_buffer.clear"})
        done = await caller.event("response.done")
        await caller.event("output_audio_buffer.cleared")
        assert done["response"]["status"] == "cancelled"
    kinds = [event["type"] for event in caller.events]
    assert "output_audio_buffer.stopped" not in kinds
    assert kinds.count("output_audio_buffer.cleared") == 1
    check_stream(caller.events)


async def test_a_reply_that_is_spoken_over(server: ScriptedServer) -> None:
    server.engines.chat_model.answer = lambda _: LONG
    async with calling(server) as caller:
        await asked(caller)
        speaking = asyncio.create_task(caller.say(tone(300, 2 * EAR_RATE, EAR_RATE)))
        done = await caller.event("response.done")
        await caller.event("output_audio_buffer.cleared")
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        await caller.event("input_audio_buffer.speech_started")
        await speaking
    check_stream(caller.events)
