"""LiveKit Agents answers Twilio's media streams, in process, with Blab's hearing and voice.

    python livekit_bot.py PORT BLAB_URL KEY CHAT_URL

Runs in the peers' environment. Voice activity and the turn detector are LiveKit's local ones, from
its package ``livekit-local-inference``; the model's licence allows it to be run with LiveKit
Agents. LiveKit has no door for media streams, so audio input and output are written here: the
output sends 20 ms every 20 ms, clears the carrier's queue when it is cleared, and can pause.
"""

import asyncio
import base64
import json
import sys
import time
import warnings

import numpy as np
import soxr
from aiohttp import web
from livekit import rtc
from livekit.agents import Agent, AgentSession, inference, utils
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins import openai

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

port, blab, key, chat = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
TICK = 0.02
TICK_BYTES = 160


class PhoneInput(AudioInput):
    def __init__(self):
        super().__init__(label="phone")
        self.frames = utils.aio.Chan()

    async def __anext__(self):
        return await self.frames.__anext__()


class PhoneOutput(AudioOutput):
    def __init__(self, socket, stream):
        super().__init__(
            label="phone",
            next_in_chain=None,
            sample_rate=24_000,
            capabilities=AudioOutputCapabilities(pause=True),
        )
        self.socket, self.stream = socket, stream
        self.waiting = bytearray()
        self.resampler = None
        self.played = self.pushed = 0.0
        self.flushed = self.paused = self.started = False
        self.sending = set()
        self.clock = asyncio.create_task(self.tick())

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        if self.resampler is None:
            self.resampler = soxr.ResampleStream(frame.sample_rate, 8_000, 1, dtype="int16")
        self.queue(np.frombuffer(bytes(frame.data), dtype=np.int16))
        self.pushed += frame.duration
        self.flushed = False

    def queue(self, samples, *, last=False):
        resampled = self.resampler.resample_chunk(samples, last=last)
        self.waiting += audioop.lin2ulaw(resampled.tobytes(), 2)

    def flush(self):
        super().flush()
        if self.resampler is not None:
            self.queue(np.zeros(0, np.int16), last=True)
            self.resampler = None
        self.flushed = True

    def clear_buffer(self):
        if self.pushed:
            self.waiting.clear()
            self.resampler = None
            clearing = asyncio.create_task(self.send({"event": "clear"}))
            self.sending.add(clearing)
            clearing.add_done_callback(self.sending.discard)
            self.finish(interrupted=True)

    def finish(self, *, interrupted):
        position = min(self.played, self.pushed)
        self.played = self.pushed = 0.0
        self.flushed = self.started = False
        self.on_playback_finished(
            playback_position=position, interrupted=interrupted, synchronized_transcript=None
        )

    def pause(self):
        super().pause()
        self.paused = True

    def resume(self):
        super().resume()
        self.paused = False

    async def send(self, event):
        await self.socket.send_str(json.dumps({**event, "streamSid": self.stream}))

    async def tick(self):
        start, number = time.monotonic(), 0
        while True:
            enough = len(self.waiting) >= TICK_BYTES or (self.flushed and self.waiting)
            if enough and not self.paused:
                payload = bytes(self.waiting[:TICK_BYTES])
                del self.waiting[:TICK_BYTES]
                if not self.started:
                    self.started = True
                    self.on_playback_started(created_at=time.time())
                self.played += len(payload) / 8_000
                media = {"payload": base64.b64encode(payload).decode()}
                await self.send({"event": "media", "media": media})
            if self.pushed and self.flushed and not self.waiting:
                self.finish(interrupted=False)
            number += 1
            await asyncio.sleep(max(0.0, start + number * TICK - time.monotonic()))


async def begin(heard, output):
    session = AgentSession(
        vad=inference.VAD(),
        stt=openai.STT(
            base_url=f"{blab}/v1", api_key=key, model="gpt-4o-mini-transcribe", use_realtime=True
        ),
        llm=openai.LLM(base_url=chat, api_key="none", model="bench-chat"),
        tts=openai.TTS(base_url=f"{blab}/v1", api_key=key, model="gpt-4o-mini-tts", voice="alloy"),
        aec_warmup_duration=None,
        turn_handling={"turn_detection": inference.TurnDetector()},
    )
    session.input.audio, session.output.audio = heard, output
    await session.start(Agent(instructions="You are a helpful voice agent."), record=False)
    return session


async def answer(request):
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    heard, session, output = PhoneInput(), None, None
    resampler = soxr.ResampleStream(8_000, 16_000, 1, dtype="int16")
    async with utils.http_context.open():  # what a worker would have opened
        try:
            async for message in socket:
                event = json.loads(message.data)
                if event["event"] == "start":
                    output = PhoneOutput(socket, event["start"]["streamSid"])
                    session = await begin(heard, output)
                elif event["event"] == "media" and session is not None:
                    pcm = audioop.ulaw2lin(base64.b64decode(event["media"]["payload"]), 2)
                    samples = resampler.resample_chunk(np.frombuffer(pcm, np.int16))
                    if len(samples):
                        frame = rtc.AudioFrame(samples.tobytes(), 16_000, 1, len(samples))
                        heard.frames.send_nowait(frame)
                elif event["event"] == "stop":
                    break
        finally:
            if output is not None:
                output.clock.cancel()
            if session is not None:
                await session.aclose()
    return socket


async def ready(_request):
    return web.json_response({"ready": True})


app = web.Application()
app.router.add_get("/ws", answer)
app.router.add_get("/readyz", ready)
web.run_app(app, host="127.0.0.1", port=port, print=None)
