"""FastRTC answers Twilio's media streams with scripted engines: the density bench's peer.

    python fastrtc_server.py PORT CORE SILERO

Runs in an environment of its own: what it pins contradicts the other peers. Its own telephone
handler and ``ReplyOnPause``, with chunks of 200 ms in place of 600: a turn ends with the first
chunk that has no speech. FastRTC fetches Silero from a hub; here it gets the file SILERO (version
5).
"""

import os
import sys

import anyio.to_thread
import librosa
import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from fastrtc import AlgoOptions, ReplyOnPause, SileroVadOptions, Stream
from fastrtc.pause_detection.silero import SileroVADModel

os.sched_setaffinity(0, {int(sys.argv[2])})
RATE = 8_000
CHUNK_SECONDS = 0.2
TONE = (np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE) * 8000).astype(np.int16)
STEP = RATE // 10
CONTEXT = 64
THREADS = 1_000
"""Each call of FastRTC's holds one while it waits for something to say."""


class Silero(SileroVADModel):
    """Its model, by the weights of version 5."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )

    def get_initial_state(self, batch_size):
        state = np.zeros((2, batch_size, 128), np.float32)
        return state, np.zeros((batch_size, CONTEXT), np.float32)

    def __call__(self, x, state, sr):
        hidden, context = state
        samples = np.concatenate([context, np.atleast_2d(x)], axis=1).astype(np.float32)
        inputs = {"input": samples, "state": hidden, "sr": np.array(sr, np.int64)}
        probability, hidden = self.session.run(None, inputs)
        return probability, (hidden, samples[:, -CONTEXT:])


def reply(_audio):
    for at in range(0, len(TONE), STEP):
        yield RATE, TONE[None, at : at + STEP]


handler = ReplyOnPause(
    reply,
    algo_options=AlgoOptions(
        audio_chunk_duration=CHUNK_SECONDS, started_talking_threshold=0.1, speech_threshold=0.05
    ),
    model_options=SileroVadOptions(
        window_size_samples=512,
        min_speech_duration_ms=30,
        min_silence_duration_ms=60,
        speech_pad_ms=0,
    ),
    output_sample_rate=RATE,
    input_sample_rate=RATE,
    model=Silero(sys.argv[3]),
)
stream = Stream(handler, modality="audio", mode="send-receive", concurrency_limit=THREADS)
app = FastAPI()
librosa.resample(np.zeros(RATE, np.float32), orig_sr=RATE, target_sr=2 * RATE)  # compile it


@app.get("/readyz")
async def ready():
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    return {}


app.websocket("/ws")(stream.telephone_handler)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
