"""One scripted call: hears by loudness, grows a partial transcript, answers with a recording.

Speech over the answer holds it at once; when it lasts, the answer is cut where it was heard,
else it goes on. Events and their order are those of the real gateway's vocabulary.
"""

import asyncio
import itertools
import json
import math
import wave
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.e2e.mock_carriers import FRAME, RATE, Carrier
from tests.support.paths import AUDIO

QUESTION = "Tell me a short story about the sea."
CLAUSES = (
    "A small boat once left the harbour ",
    "to look for the place where the sea begins. ",
    "It sailed for a whole year and a day, ",
    "and found that it had been there all along.",
)
LATENCY = {
    "endpointing_ms": 310,
    "stt_ms": 96,
    "first_token_ms": 90,
    "llm_ms": 142,
    "tts_ms": 31,
    "gateway_ms": 4,
    "total_ms": 583,
}
LOUD = 500
ONSET, OFFSET = 4, 25
"""Frames of 20 ms: loud ones that start speech, quiet ones that end it."""


@dataclass(frozen=True)
class Script:
    """How a call goes. ``voice``: the answer's recording (lv_0930: 3.3 s, lv_0920: 6 s).
    ``proven``: frames of speech after which an answer that is held is cut."""

    voice: str = "lv_0930"
    proven: int = 15


def voice(name: str) -> bytes:
    """A recording brought to RATE."""
    with wave.open(str(AUDIO / f"{name}.wav")) as recording:
        pcm = np.frombuffer(recording.readframes(recording.getnframes()), "<i2").astype(float)
        count = len(pcm) * RATE // recording.getframerate()
    stretched = np.interp(np.linspace(0, len(pcm) - 1, count), np.arange(len(pcm)), pcm)
    pcm24k: bytes = stretched.astype("<i2").tobytes()
    return pcm24k


class MockCall:
    """The script of one call on one carrier. ``received``: client events; ``heard``: PCM."""

    def __init__(self, carrier: Carrier, script: Script) -> None:
        self.script = script
        self.carrier = carrier
        self.received: list[dict[str, Any]] = []
        self.heard = bytearray()
        self.offered = ""
        self.held = False
        self.dead = False
        """Nothing comes through any more, in either direction."""
        self._ids = itertools.count(1)
        self._residue = b""
        self._loud = self._quiet = 0
        self._item: str | None = None
        self._words = 0
        self._frames = 0
        self._reply: asyncio.Task[None] | None = None
        self._position = 0
        self._address: dict[str, Any] = {}
        self._told = ""
        self._voice = voice(script.voice)

    def open(self) -> None:
        self._send("session.created", session={"type": "realtime"})

    async def close(self) -> None:
        if self._reply is not None:
            self._reply.cancel()
            await asyncio.gather(self._reply, return_exceptions=True)

    def loudness(self) -> float:
        """RMS of all that was heard."""
        samples = np.frombuffer(bytes(self.heard), "<i2").astype(float)
        return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0

    # -------------------------------------------------------------- what comes in

    def receive(self, text: str) -> None:
        if self.dead:
            return
        event = json.loads(text)
        if event["type"] != "blab.ping":
            self.received.append(event)
        match event["type"]:
            case "session.update":
                self._send("session.updated", session=event["session"])
            case "conversation.item.create":
                self._send("conversation.item.added", item=event["item"])
            case "blab.ping":
                self._send("blab.pong", ping_id=event["event_id"])
            case "response.create" | "blab.say":
                self._answer()
            case "response.cancel":
                self._cut()

    def hear(self, pcm: bytes) -> None:
        if self.dead:
            return
        self.heard.extend(pcm)
        data = self._residue + pcm
        size = 2 * FRAME
        for start in range(0, len(data) - size + 1, size):
            self._frame(np.frombuffer(data[start : start + size], "<i2").astype(float))
        self._residue = data[len(data) - len(data) % size :]

    def _frame(self, samples: Any) -> None:
        loud = math.sqrt(float(np.mean(samples**2))) > LOUD
        self._loud = self._loud + 1 if loud else 0
        self._quiet = 0 if loud else self._quiet + 1
        if self._item is None:
            if self._loud >= ONSET:
                self._speech_started()
            return
        self._frames += 1
        if self._frames % 10 == 0:
            self._grow()
        if self.held and self._frames >= self.script.proven:
            self._cut()
        if self._quiet >= OFFSET:
            self._speech_stopped()

    def _speech_started(self) -> None:
        self._item = f"item_{next(self._ids)}"
        self._words = self._frames = 0
        self._send("input_audio_buffer.speech_started", item_id=self._item, audio_start_ms=0)
        if self._reply is not None:
            self.held = True
            self.carrier.flush()
            self._send("blab.playout.held", **self._address, audio_end_ms=self._position_ms())

    def _grow(self) -> None:
        words = QUESTION.rstrip(".").lower().split()
        self._words = min(len(words), self._words + 1)
        text = " ".join(words[: self._words])
        self._send("blab.transcript.partial", item_id=self._item, text=text)

    def _speech_stopped(self) -> None:
        item, self._item = self._item, None
        self._send("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=0)
        kind = "conversation.item.input_audio_transcription.completed"
        if self.held:
            self.held = False
            self._send(kind, item_id=item, transcript="")
            self._send("blab.playout.resumed", **self._address)
            return
        self._send("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        self._send(kind, item_id=item, content_index=0, transcript=QUESTION)
        self._answer()

    # -------------------------------------------------------------- the answer

    def _answer(self) -> None:
        number = next(self._ids)
        self._address = {"response_id": f"resp_{number}", "item_id": f"reply_{number}"}
        self._position, self._told, self.held = 0, "", False
        self._reply = asyncio.create_task(self._speak())

    async def _speak(self) -> None:
        response_id, item_id = self._address["response_id"], self._address["item_id"]
        response = {"id": response_id, "status": "in_progress"}
        self._send("response.created", response=response)
        item = {"id": item_id, "type": "message", "role": "assistant"}
        self._send("response.output_item.added", response_id=response_id, item=item)
        self._send("blab.playout.started", **self._address)
        self._send("blab.latency", turn=1, response_id=response_id, **LATENCY)
        per_clause = len(self._voice) // len(CLAUSES)
        deadline = asyncio.get_running_loop().time()
        while self._position < len(self._voice):
            deadline += 0.02
            await asyncio.sleep(max(0.0, deadline - asyncio.get_running_loop().time()))
            if self.held:
                continue
            clause = self._position // per_clause
            if clause < len(CLAUSES) and len(self._told) < len("".join(CLAUSES[: clause + 1])):
                self._tell(CLAUSES[clause])
            self.carrier.play(self._voice[self._position : self._position + 2 * FRAME])
            self._position += 2 * FRAME
        self._reply = None
        self._done("completed", self._told)
        self._send("blab.playout.stopped", **self._address)

    def _tell(self, text: str) -> None:
        self._told += text
        self._send("response.output_audio_transcript.delta", **self._address, delta=text)

    def _cut(self) -> None:
        if self._reply is None:
            return
        self._reply.cancel()
        self._reply, self.held = None, False
        self.carrier.flush()
        words = self._told.split(" ")
        heard = " ".join(words[: max(1, len(words) * 2 // 3)])
        self._send(
            "conversation.item.truncated",
            item_id=self._address["item_id"],
            content_index=0,
            audio_end_ms=self._position_ms(),
        )
        self._done("cancelled", heard)
        self._send("blab.playout.cleared", **self._address)

    def _done(self, status: str, heard: str) -> None:
        response = {"id": self._address["response_id"], "status": status, "output": []}
        self._send("response.done", response=response)
        self._send("blab.playout.heard", **self._address, text=self._told, heard=heard)

    def _position_ms(self) -> int:
        return self._position * 1000 // (2 * RATE)

    def _send(self, kind: str, **fields: Any) -> None:
        if self.dead:
            return
        self.carrier.send({"type": kind, "event_id": f"event_{next(self._ids)}"} | fields)
