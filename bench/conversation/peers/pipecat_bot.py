"""Pipecat answers Twilio's media streams: its defaults, with Blab's hearing and voice.

    python pipecat_bot.py PORT BLAB_URL KEY CHAT_URL

Runs in the peers' environment. Its defaults: Silero for voice activity, Smart Turn 3.2 for the end
of a turn, both from the package. Its serializer resamples, so that the output is at 24 kHz.
"""

import json
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

FINAL_TEXT_P99 = 0.3
"""Seconds in which Blab's final transcript comes; Pipecat waits no longer for it."""

port, blab, key, chat = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
logger.remove()
logger.add(sys.stderr, level="WARNING")
app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.websocket("/ws")
async def answer(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    start = json.loads(await socket.receive_text())["start"]
    transport = FastAPIWebsocketTransport(
        websocket=socket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            add_wav_header=False,
            serializer=TwilioFrameSerializer(
                stream_sid=start["streamSid"],
                params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
            ),
        ),
    )
    hearing = OpenAIRealtimeSTTService(
        api_key=key,
        base_url=f"{blab.replace('http', 'ws', 1)}/v1/realtime",
        settings=OpenAIRealtimeSTTService.Settings(model="gpt-4o-mini-transcribe"),
        ttfs_p99_latency=FINAL_TEXT_P99,
    )
    model = OpenAILLMService(
        api_key="none", base_url=chat, settings=OpenAILLMService.Settings(model="bench-chat")
    )
    voice = OpenAITTSService(
        api_key=key,
        base_url=f"{blab}/v1",
        settings=OpenAITTSService.Settings(model="gpt-4o-mini-tts", voice="alloy"),
    )
    context = LLMContext([{"role": "system", "content": "You are a helpful voice agent."}])
    users, agents = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )
    steps = [transport.input(), hearing, users, model, voice, transport.output(), agents]
    worker = PipelineWorker(
        Pipeline(steps),
        params=PipelineParams(audio_in_sample_rate=8_000, audio_out_sample_rate=24_000),
        enable_rtvi=False,
    )

    @transport.event_handler("on_client_disconnected")
    async def hung_up(_transport: object, _client: object) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
