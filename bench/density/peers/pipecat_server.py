"""Pipecat answers Twilio's media streams with scripted engines: the density bench's peer.

    python pipecat_server.py PORT CORE

Runs in the peers' environment. Its own transport, serializer, Silero and turn taking; the end of a
turn is 200 ms of silence, without the Smart Turn model (Blab's turn detector is scripted, too).
"""

import json
import os
import sys

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

os.sched_setaffinity(0, {int(sys.argv[2])})
logger.remove()
logger.add(sys.stderr, level="WARNING")
RATE = 8_000
TONE = (np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE) * 8000).astype("<i2").tobytes()
STEP = RATE // 10 * 2
app = FastAPI()


class Ears(FrameProcessor):
    """The same words after every utterance, at once."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame) and direction is FrameDirection.UPSTREAM:
            words = TranscriptionFrame("hello there my friend.", "caller", "", finalized=True)
            await self.push_frame(words)
        await self.push_frame(frame, direction)


class Voice(FrameProcessor):
    """Chat model and speech at once: half a second of a tone."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        await self.push_frame(TTSStartedFrame())
        for at in range(0, len(TONE), STEP):
            await self.push_frame(TTSAudioRawFrame(TONE[at : at + STEP], RATE, 1))
        await self.push_frame(TTSStoppedFrame())
        await self.push_frame(LLMFullResponseEndFrame())


@app.get("/readyz")
async def ready():
    return {}


@app.websocket("/ws")
async def answer(socket: WebSocket):
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
    ending = SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.0)
    users, agents = LLMContextAggregatorPair(
        LLMContext([{"role": "system", "content": "You are a helpful voice agent."}]),
        user_params=LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.2)),
            user_turn_strategies=UserTurnStrategies(stop=[ending]),
        ),
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), Ears(), users, Voice(), transport.output(), agents]),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
        enable_rtvi=False,
    )

    @transport.event_handler("on_client_disconnected")
    async def hung_up(_transport, _client):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
