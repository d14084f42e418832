"""LiveKit Agents, in process, with scripted engines: the density bench's peer.

    python livekit_server.py PORT CORE

Runs in the peers' environment. Its own session, Silero (``livekit-local-inference``) and turn
taking; the end of a turn is 200 ms of silence, without its turn detector. LiveKit has no door for
media streams, so the one written here stands in its process: µ-law by audioop, resampling by soxr.
"""

import asyncio
import base64
import json
import logging
import os
import sys
import time
import warnings

import numpy as np
import soxr
from aiohttp import web
from livekit import rtc
from livekit.agents import Agent, AgentSession, inference, llm, stt, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

os.sched_setaffinity(0, {int(sys.argv[2])})
logging.disable(logging.WARNING)
RATE = 8_000
TONE = (np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE) * 8000).astype(np.int16).tobytes()
TICK_BYTES = RATE // 50


class PhoneInput(AudioInput):
    def __init__(self):
        super().__init__(label="phone")
        self.frames = utils.aio.Chan()

    async def __anext__(self):
        return await self.frames.__anext__()


class PhoneOutput(AudioOutput):
    """Sends 20 ms every 20 ms while there is something to send."""

    def __init__(self, socket, stream):
        super().__init__(
            label="phone",
            next_in_chain=None,
            sample_rate=RATE,
            capabilities=AudioOutputCapabilities(pause=False),
        )
        self.socket, self.stream = socket, stream
        self.waiting = bytearray()
        self.played = self.pushed = 0.0
        self.flushed = False
        self.clock = None

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        self.waiting += audioop.lin2ulaw(bytes(frame.data), 2)
        self.pushed += frame.duration
        self.flushed = False
        if self.clock is None:
            self.on_playback_started(created_at=time.time())
            self.clock = asyncio.create_task(self.tick())

    def flush(self):
        super().flush()
        self.flushed = True

    def clear_buffer(self):
        if self.pushed:
            self.waiting.clear()
            self.finish(interrupted=True)

    def finish(self, *, interrupted):
        if self.clock is not None:
            self.clock.cancel()
            self.clock = None
        position = min(self.played, self.pushed)
        self.played = self.pushed = 0.0
        self.on_playback_finished(
            playback_position=position, interrupted=interrupted, synchronized_transcript=None
        )

    async def tick(self):
        start, number = time.monotonic(), 0
        while self.waiting or not self.flushed:
            payload = bytes(self.waiting[:TICK_BYTES])
            del self.waiting[:TICK_BYTES]
            if payload:
                self.played += len(payload) / RATE
                media = {"payload": base64.b64encode(payload).decode()}
                message = {"event": "media", "streamSid": self.stream, "media": media}
                await self.socket.send_str(json.dumps(message))
            number += 1
            await asyncio.sleep(max(0.0, start + number * 0.02 - time.monotonic()))
        self.clock = None
        self.finish(interrupted=False)


class Ears(stt.STT):
    """The same words after 100 ms below a level."""

    def __init__(self):
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=False))

    async def _recognize_impl(self, *args, **kwargs):
        raise NotImplementedError

    def stream(self, *, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_options):
        return EarsStream(stt=self, conn_options=conn_options)


class EarsStream(stt.RecognizeStream):
    async def _run(self):
        silent = None
        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                continue
            if np.abs(np.frombuffer(frame.data, dtype=np.int16)).max() > 500:
                silent = 0.0
            elif silent is not None:
                silent += frame.duration
                if silent >= 0.1:
                    silent = None
                    words = stt.SpeechData(text="hello there my friend.", language="en")
                    self._event_ch.send_nowait(
                        stt.SpeechEvent(
                            type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[words]
                        )
                    )


class Mind(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_options):
        return MindStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class MindStream(llm.LLMStream):
    async def _run(self):
        for word in ("Sure ", "thing."):
            delta = llm.ChoiceDelta(role="assistant", content=word)
            self._event_ch.send_nowait(llm.ChatChunk(id="x", delta=delta))


class Voice(tts.TTS):
    def __init__(self):
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True), sample_rate=RATE, num_channels=1
        )

    def synthesize(self, text, *, conn_options=DEFAULT_API_CONNECT_OPTIONS):
        raise NotImplementedError

    def stream(self, *, conn_options=DEFAULT_API_CONNECT_OPTIONS):
        return VoiceStream(tts=self, conn_options=conn_options)


class VoiceStream(tts.SynthesizeStream):
    async def _run(self, emitter):
        emitter.initialize(
            request_id="r", sample_rate=RATE, num_channels=1, mime_type="audio/pcm", stream=True
        )
        emitter.start_segment(segment_id="s")
        spoken = False
        async for text in self._input_ch:
            if isinstance(text, str) and not spoken:
                self._mark_started()
                emitter.push(TONE)
                spoken = True
        emitter.end_segment()


async def answer(request):
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    heard, session = PhoneInput(), None
    resampler = soxr.ResampleStream(RATE, 16_000, 1, dtype="int16")
    try:
        async for message in socket:
            event = json.loads(message.data)
            if event["event"] == "start":
                session = AgentSession(
                    vad=inference.VAD(min_silence_duration=0.2),
                    stt=Ears(),
                    llm=Mind(),
                    tts=Voice(),
                    aec_warmup_duration=None,
                    turn_handling={
                        "turn_detection": "vad",
                        "endpointing": {"min_delay": 0.0, "max_delay": 0.1},
                        "preemptive_generation": {"enabled": False},
                    },
                )
                session.input.audio = heard
                session.output.audio = PhoneOutput(socket, event["start"]["streamSid"])
                await session.start(Agent(instructions="Be helpful."), record=False)
            elif event["event"] == "media" and session is not None:
                pcm = audioop.ulaw2lin(base64.b64decode(event["media"]["payload"]), 2)
                samples = resampler.resample_chunk(np.frombuffer(pcm, np.int16))
                if len(samples):
                    heard.frames.send_nowait(
                        rtc.AudioFrame(samples.tobytes(), 16_000, 1, len(samples))
                    )
    finally:
        if session is not None:
            await session.aclose()
    return socket


async def ready(_request):
    return web.json_response({})


app = web.Application()
app.router.add_get("/ws", answer)
app.router.add_get("/readyz", ready)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
