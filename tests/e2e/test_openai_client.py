"""The stock ``openai`` package in a call with the real server and the real engines."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from gateway.caller import demo_key
from tests.support.gateway.protocol_validator import ProtocolValidator, unknown_fields
from tests.support.gateway.realtime_client import read_wav

from .live_server import LiveServer
from .words import word_error_rate

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

QUESTION = Path(__file__).parent.parent / "audio" / "joe_q_capital.wav"
MANUAL: Any = {
    "type": "realtime",
    # without them the small model cannot look it up in one of a hundred answers
    "instructions": "You know every country and its capital.",
    "output_modalities": ["text"],
    "audio": {"input": {"turn_detection": None}},
}


async def test_a_spoken_question_is_answered_in_text(
    live_server: LiveServer, manifest: list[dict[str, Any]]
) -> None:
    validator = ProtocolValidator()
    key = await demo_key(live_server.url)
    async with (
        AsyncOpenAI(api_key=key, base_url=f"{live_server.url}/v1") as openai,
        openai.realtime.connect(model="gpt-realtime") as connection,
    ):

        async def until(kind: str) -> Any:
            while True:
                raw = await asyncio.wait_for(connection.recv_bytes(), 30)
                validator.feed(json.loads(raw))
                event = connection.parse_event(raw)
                assert unknown_fields(event) == []
                if event.type == kind:
                    return event

        await connection.session.update(session=MANUAL)
        await until("session.updated")
        pcm = read_wav(QUESTION)
        for start in range(0, len(pcm), 9_600):
            audio = base64.b64encode(pcm[start : start + 9_600]).decode()
            await connection.input_audio_buffer.append(audio=audio)
        await connection.input_audio_buffer.commit()
        heard = await until("conversation.item.input_audio_transcription.completed")
        text = next(str(entry["text"]) for entry in manifest if entry["file"] == QUESTION.name)
        assert word_error_rate(text, heard.transcript) <= 0.2
        await connection.response.create()
        response = (await until("response.done")).response
    assert "paris" in response.output[0].content[0].text.lower()
    assert response.usage.output_tokens > 0
