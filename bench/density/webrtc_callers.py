"""Callers over WebRTC: real offers, DTLS and SRTP by aiortc, Opus packets made beforehand."""

import asyncio
from typing import Any

from bench.density.callers import (
    CYCLE,
    FRAME_MS,
    SPEECH_FROM,
    SPEECH_TO,
    SPREAD_SECONDS,
    Result,
    Turns,
    is_loud,
    spoken,
)
from gateway.channels.webrtc.voice import VoiceTrack
from media.opus import OpusDecoder, OpusEncoder
from tests.support.gateway.webrtc_client import EAR_RATE, Caller, Ear

DIALLING = 4
"""Handshakes at once: they take some 30 ms of the server's core each."""
LEAST_SPEECH_BYTES = 20
"""A packet of digital silence has fewer."""


def packets() -> list[bytes]:
    """A cycle of Opus packets: speech, and real encoded silence."""
    encoder, speech = OpusEncoder(EAR_RATE), spoken(EAR_RATE)
    silence = bytes(EAR_RATE * FRAME_MS // 1000 * 2)
    return [
        encoder.encode(speech[n - SPEECH_FROM] if SPEECH_FROM <= n < SPEECH_TO else silence)
        for n in range(CYCLE)
    ]


class ReadyMicrophone(VoiceTrack):
    """Sends the cycle for ever, each packet when it is due."""

    def __init__(self, cycle: list[bytes], offset: int, turns: Turns, result: Result) -> None:
        super().__init__(EAR_RATE)
        self._result = result
        self._cycle, self._phase, self._turns = cycle, offset, turns

    def _next_payload(self) -> bytes:
        phase, self._phase = self._phase, (self._phase + 1) % CYCLE
        self._result.spoken_seconds += FRAME_MS / 1000
        self._turns.at(phase)
        return self._cycle[phase]


class WaitingEar(Ear):
    """Decodes only while an answer is expected."""

    def __init__(self, transport: Any, turns: Turns) -> None:
        super().__init__(transport)
        self._turns = turns
        self._decoder = OpusDecoder(EAR_RATE)

    async def _handle_rtp_packet(self, packet: Any, arrival_time_ms: int) -> None:  # noqa: ARG002
        if (
            self._turns.waiting
            and len(packet.payload) > LEAST_SPEECH_BYTES
            and is_loud(self._decoder.decode(packet.payload))
        ):
            self._turns.heard()


class PeerCall(Caller):
    """One call."""

    def __init__(
        self, number: int, port: int, key: str, cycle: list[bytes], result: Result
    ) -> None:
        super().__init__(
            f"http://127.0.0.1:{port}/v1/realtime/calls",
            headers={"Authorization": f"Bearer {key}"},
        )
        self._number, self._result = number, result
        turns = Turns(result)
        microphone = ReadyMicrophone(cycle, 70 + number * 7 % 130, turns, result)
        [transceiver] = self.connection.getTransceivers()
        transceiver.sender.replaceTrack(microphone)
        self.ear = WaitingEar(self.transport, turns)
        setattr(transceiver, "_RTCRtpTransceiver__receiver", self.ear)  # noqa: B010 - private
        self._ending: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Dial, or note why there is no call."""
        try:
            await self.dial()
            await asyncio.wait_for(self.opened.wait(), 20)
        except (AssertionError, TimeoutError, OSError) as error:
            self._result.faults.append(f"call {self._number}: {error!r}")

    def end(self) -> None:
        """Hang up."""
        self._ending = asyncio.create_task(self.hang_up())

    def _on_message(self, message: str) -> None:
        """Events are not looked at."""


async def open_peers(
    _over: str, calls: int, port: int, key: str, _agent: str, result: Result
) -> list[PeerCall]:
    """Begin the calls, a few at a time."""
    cycle = packets()
    made = [PeerCall(number, port, key, cycle, result) for number in range(calls)]
    for first in range(0, calls, DIALLING):
        await asyncio.gather(*(call.begin() for call in made[first : first + DIALLING]))
        await asyncio.sleep(SPREAD_SECONDS)
    return made
