"""The callers of the density bench: a process of their own, pinned to a core that is theirs alone.

    python -m bench.density.callers OVER CALLS SECONDS PORT PID KEY AGENT CORE [--silent]

Every call speaks 1 s of a recording and is silent for 3 s, over and over, in steps of 20 ms, each
with a phase of its own; with ``--silent`` it says nothing. A turn is *answered* when the first loud
audio comes back, *missed* when none comes before the caller speaks again. WebSockets are written by
hand, with frames that are made beforehand where the protocol allows, so that one core carries
hundreds of callers. The result is a line of JSON (``Result``).
"""

import asyncio
import base64
import json
import os
import resource
import sys
import time
import wave
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import aiohttp
import numpy as np
import uvloop

from media.g711 import decode_ulaw, encode_ulaw
from media.resample import resample
from tests.support.paths import AUDIO

FRAME_MS = 20
CYCLE, SPEECH_FROM, SPEECH_TO = 200, 20, 70
"""Frames of a cycle, and those of them that are speech."""
SILENCE_MS = 200
"""Of the configured end of a turn; what is beyond it counts as added."""
WARM_CALLS, WARM_SECONDS = 2, 6.0
SETTLE_SECONDS = 4.0
SPREAD_SECONDS = 0.05
"""Between the beginnings of two calls."""
LOUD = 500
SILENT = "--silent" in sys.argv
SESSION = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "turn_detection": {
                "type": "server_vad",
                "silence_duration_ms": SILENCE_MS,
                "prefix_padding_ms": 100,
            }
        }
    },
}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@dataclass(slots=True)
class Result:
    """What one run measured. CPU in percent of a core, times in ms, memory in MB."""

    over: str
    calls: int
    server_cpu: float = 0.0
    spoken_seconds: float = 0.0
    """Of audio that all callers sent: less than their time where they were held up."""
    cpu_per_call: float = 0.0
    """For each of those seconds."""
    callers_cpu: float = 0.0
    load: float = 0.0
    rss_per_call: float = 0.0
    added: list[float] = field(default_factory=list)
    missed: int = 0
    faults: list[str] = field(default_factory=list)


def spoken(rate: int) -> list[bytes]:
    """50 frames of PCM16: a second of natural speech from its onset."""
    with wave.open(str(AUDIO / "joe_q_hours.wav")) as file:
        pcm, source = file.readframes(file.getnframes()), file.getframerate()
    samples = np.frombuffer(resample(pcm, source, rate), "<i2")
    onset = int(np.flatnonzero(np.abs(samples) > 0.05 * 32768)[0])
    step = rate * FRAME_MS // 1000
    if SILENT:
        samples = np.zeros_like(samples)
    second = samples[onset : onset + (SPEECH_TO - SPEECH_FROM) * step]
    return [second[at : at + step].tobytes() for at in range(0, len(second), step)]


def is_loud(pcm: bytes) -> bool:
    """Whether there is audible sound in PCM16."""
    samples = np.frombuffer(pcm, "<i2")
    return len(samples) > 0 and int(np.abs(samples.astype(np.int32)).max()) > LOUD


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's WebSocket frame; masked with zeros, which leaves the payload as it is."""
    if len(payload) < 126:
        head = bytes((0x80 | opcode, 0x80 | len(payload)))
    else:
        head = bytes((0x80 | opcode, 0x80 | 126)) + len(payload).to_bytes(2, "big")
    return head + bytes(4) + payload


class Turns:
    """Notes when the caller fell silent, and whether and when the answer came."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._silent_at: float | None = None

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come."""
        return self._silent_at is not None

    def at(self, phase: int) -> None:
        """Frame number ``phase`` of the cycle has left."""
        if phase == SPEECH_TO - 1 and not SILENT:
            self._silent_at = time.monotonic()
        elif phase == SPEECH_FROM and self._silent_at is not None:
            self._result.missed += 1
            self._silent_at = None

    def heard(self) -> None:
        """Loud audio has come."""
        if self._silent_at is not None:
            self._result.added.append((time.monotonic() - self._silent_at) * 1000 - SILENCE_MS)
            self._silent_at = None


class SocketCall(asyncio.Protocol):
    """One call over a WebSocket: ``binary``, ``json`` or ``twilio``."""

    def __init__(self, number: int, over: str, path: str, key: str, result: Result) -> None:
        self._number, self._over, self._path, self._key = number, over, path, key
        self._result = result
        self._turns = Turns(result)
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._open = self._ended = False
        self._sent = 0
        self._start = 0.0
        self._offset = 70 + number * 7 % 130
        self._timer: asyncio.TimerHandle | None = None
        self._transport: Any = None
        rate = 8_000 if over == "twilio" else 24_000
        self._frames = _messages(over, rate)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        lines = [
            f"GET {self._path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        if self._over != "twilio":
            lines.append(f"Authorization: Bearer {self._key}")
        if self._over == "binary":
            lines.append("Sec-WebSocket-Protocol: blab.binary.v1")
        transport.write("\r\n".join([*lines, "", ""]).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._ended:
            self._result.faults.append(f"call {self._number} was cut: {exc}")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0] + b" ":
                self._result.faults.append(f"{head[:60]!r} {rest[:200]!r}")
                self.end()
                return
            self._open = True
            self._buffer = bytearray(rest)
            self._begin()
        while self._take():
            pass

    def end(self) -> None:
        """Hang up."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._transport.is_closing():
            if self._over == "twilio":
                self._say({"event": "stop", "streamSid": f"MZ{self._number}", "stop": {}})
            self._transport.write(frame(CLOSE, (1000).to_bytes(2, "big")))
            self._loop.call_later(0.5, self._transport.abort)

    def _begin(self) -> None:
        if self._over == "twilio":
            sid = f"MZ{self._number}"
            start = {
                "streamSid": sid,
                "callSid": f"CA{self._number}",
                "accountSid": "AC",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {},
            }
            self._say({"event": "connected", "protocol": "Call", "version": "1.0.0"})
            self._say({"event": "start", "sequenceNumber": "1", "streamSid": sid, "start": start})
        self._start = self._loop.time()
        self._tick()

    def _say(self, message: dict[str, Any]) -> None:
        self._transport.write(frame(TEXT, json.dumps(message).encode()))

    def _tick(self) -> None:
        """Send the next frame, and come again when the one after it is due."""
        phase = (self._sent + self._offset) % CYCLE
        made = self._frames[phase]
        if self._over == "twilio":
            n = self._sent
            text = (
                f'{{"event":"media","sequenceNumber":"{n + 2}","media":{{"track":"inbound",'
                f'"chunk":"{n + 1}","timestamp":"{n * FRAME_MS}","payload":"{made.decode()}"}},'
                f'"streamSid":"MZ{self._number}"}}'
            )
            made = frame(TEXT, text.encode())
        self._transport.write(made)
        self._result.spoken_seconds += FRAME_MS / 1000
        self._turns.at(phase)
        self._sent += 1
        due = self._start + self._sent * FRAME_MS / 1000
        self._timer = self._loop.call_at(due, self._tick)

    def _take(self) -> bool:
        """Take one frame of the server's out of the buffer, if it is whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        opcode, size, at = buffer[0] & 15, buffer[1] & 127, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(buffer[2 : 2 + width], "big"), 2 + width
        if len(buffer) < at + size:
            return False
        payload = bytes(buffer[at : at + size])
        del buffer[: at + size]
        self._receive(opcode, payload)
        return True

    def _receive(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._transport.write(frame(PONG, payload))
        elif opcode == CLOSE and not self._ended:
            self._result.faults.append(f"call {self._number} was closed: {payload[2:]!r}")
            self.end()
        elif opcode == BINARY:
            if self._turns.waiting and is_loud(payload):
                self._turns.heard()
        elif self._over == "twilio":
            self._from_carrier(payload)
        elif (
            self._over == "json"
            and self._turns.waiting
            and b'"response.output_audio.delta"' in payload
        ):
            pcm = base64.b64decode(json.loads(payload)["delta"])
            if is_loud(pcm):
                self._turns.heard()

    def _from_carrier(self, payload: bytes) -> None:
        if b'"mark"' in payload[:40] or b'"event":"mark"' in payload:
            mark = json.loads(payload)["mark"]
            self._say({"event": "mark", "streamSid": f"MZ{self._number}", "mark": mark})
        elif self._turns.waiting and b'"media"' in payload:
            media = json.loads(payload).get("media")
            if media and is_loud(decode_ulaw(base64.b64decode(media["payload"]))):
                self._turns.heard()


_made: dict[str, list[bytes]] = {}


def _messages(over: str, rate: int) -> list[bytes]:
    """What is sent in each frame of the cycle: whole frames, or Twilio's payloads."""
    if over not in _made:
        silence = bytes(rate * FRAME_MS // 1000 * 2)
        speech = spoken(rate)
        pcm = [
            speech[n - SPEECH_FROM] if SPEECH_FROM <= n < SPEECH_TO else silence
            for n in range(CYCLE)
        ]
        if over == "binary":
            _made[over] = [frame(BINARY, one) for one in pcm]
        elif over == "json":
            _made[over] = [
                frame(
                    TEXT,
                    b'{"type":"input_audio_buffer.append","audio":"%b"}' % base64.b64encode(one),
                )
                for one in pcm
            ]
        else:
            _made[over] = [base64.b64encode(encode_ulaw(one)) for one in pcm]
    return _made[over]


# ------------------------------------------------------------------ the server, from outside


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no VmRSS")


async def secret(url: str, key: str) -> str:
    """An ephemeral key whose session ends turns after ``SILENCE_MS``."""
    body = {"session": SESSION, "expires_after": {"anchor": "created_at", "seconds": 3600}}
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{url}/v1/realtime/client_secrets", json=body) as answer,
    ):
        value: str = (await answer.json())["value"]
        return value


def _same(call: SocketCall) -> SocketCall:
    return call


async def open_sockets(
    over: str, calls: int, port: int, key: str, agent: str, result: Result
) -> list[SocketCall]:
    """Begin the calls one after the other."""
    loop, opened = asyncio.get_running_loop(), []
    path = "/v1/realtime?model=default"
    if over == "twilio":
        path = f"/api/agents/{agent}/twilio/{key}" if agent != "-" else "/ws"
    for number in range(calls):
        call = SocketCall(number, over, path, key, result)
        await loop.create_connection(partial(_same, call), "127.0.0.1", port)
        opened.append(call)
        await asyncio.sleep(SPREAD_SECONDS)
    return opened


async def measure(
    over: str, calls: int, seconds: float, port: int, pid: int, key: str, agent: str
) -> Result:
    """A warm-up, then the run: CPU and latency count once all calls are open and settled."""
    if key != "-":
        key = await secret(f"http://127.0.0.1:{port}", key)
    if over == "webrtc":
        from bench.density.webrtc_callers import open_peers as open_calls
    else:
        open_calls = open_sockets  # type: ignore[assignment]
    for call in await open_calls(over, WARM_CALLS, port, key, agent, Result(over, 0)):
        asyncio.get_running_loop().call_later(WARM_SECONDS, call.end)
    await asyncio.sleep(WARM_SECONDS + 2)
    before = resident_mb(pid)
    result = Result(over, calls)
    opened = await open_calls(over, calls, port, key, agent, result)
    await asyncio.sleep(SETTLE_SECONDS)
    result.added.clear()
    result.missed = result.spoken_seconds = 0
    began, busy, own = time.monotonic(), cpu_seconds(pid), _own_seconds()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    used = cpu_seconds(pid) - busy
    result.server_cpu = used / took * 100
    result.cpu_per_call = used / max(result.spoken_seconds, 1e-9) * 100
    result.callers_cpu = (_own_seconds() - own) / took * 100
    result.rss_per_call = (resident_mb(pid) - before) / calls
    result.load = os.getloadavg()[0]
    for call in opened:
        call.end()
    await asyncio.sleep(1)
    return result


def _own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    over, calls, seconds, port, pid, key, agent, core, *_ = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    result = uvloop.run(measure(over, int(calls), float(seconds), int(port), int(pid), key, agent))
    print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main()
