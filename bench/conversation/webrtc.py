"""``caller.Telephone`` over WebRTC, on a network that loses and delays packets.

Rules
- Packets to the agent are lost and delayed by ``journey``, with one seed for every call. What the
  microphone hears has the telephone's 8 kHz, so that the recordings and the judge are the same.
- Packets to the caller are lost in the same way. The caller plays each packet ``PLAIN_DELAY`` after
  it was sent, more than any is delayed; a lost one comes from the redundancy of the next one.
- What was received before a reply is paused is played: this caller does not heed Blab's events.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import numpy as np

from bench.conversation.caller import MOST_TICKS, Address, HungUp, Room, Telephone
from bench.conversation.judge import RATE as TELEPHONE_RATE
from bench.conversation.judge import TICK_SAMPLES, Samples
from bench.webrtc_loss import FRAME, PLAIN_DELAY, Network, journey
from gateway.caller import CallEnded
from media.opus import OpusDecoder
from media.resample import Resampler
from tests.support.gateway.webrtc_client import EAR_RATE, Caller

SEED = 7
_SPARE = 1_000
"""Packets beyond those of the longest call: aiortc begins before the first tick."""


class Browser(Telephone):
    """One call over WebRTC. ``address.parameters["blab_key"]`` is the key of the call."""

    def __init__(self, address: Address, room: Room, network: Network) -> None:
        super().__init__(address, room)
        dice = random.Random(SEED)
        self._outward = [
            None if at is None else at - number * FRAME
            for number, at in enumerate(journey(network, MOST_TICKS + _SPARE, dice))
        ]
        """The delay of each packet to the agent; None: it is lost."""
        self._inward = [at is None for at in journey(network, MOST_TICKS + _SPARE, dice)]
        """Whether each packet to the caller is lost."""
        self._sent = 0
        self._received = 0
        self._missing = 0
        self._decoder = OpusDecoder(TELEPHONE_RATE)
        self._playout: deque[tuple[float, Samples]] = deque()
        """When each piece is due, on the loop's clock."""
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, script: Callable[[Telephone], Awaitable[None]]) -> None:
        """Call, play the script, hang up; raises HungUp, or what the script raises."""
        headers = {"Authorization": f"Bearer {self._address.parameters['blab_key']}"}
        caller = Caller(self._address.url, headers=headers, drop=self._drops)
        self._delay_packets(caller)
        self._take_packets(caller)
        try:
            await _dial(caller)
            try:
                async with asyncio.TaskGroup() as tasks:
                    clock = tasks.create_task(self._tick_over(caller))
                    await script(self)
                    clock.cancel()
            finally:
                await asyncio.gather(*self._under_way, return_exceptions=True)
                await caller.hang_up()
        except* (CallEnded, OSError, HungUp) as errors:
            raise HungUp(str(errors.exceptions[0])) from errors

    async def _tick_over(self, caller: Caller) -> None:
        up = Resampler(TELEPHONE_RATE, EAR_RATE)

        async def send(_number: int, sound: Samples) -> Samples:
            caller.microphone.play(up.push(sound.tobytes()))
            return sound

        await self._keep_time(self._next_due, send)

    def _next_due(self) -> Samples:
        if not self._playout or self._playout[0][0] > asyncio.get_running_loop().time():
            return np.zeros(TICK_SAMPLES, np.int16)
        return self._playout.popleft()[1]

    # ------------------------------------------------------------------ the network

    def _drops(self, number: int) -> bool:
        self._sent = number
        return self._outward[number - 1] is None

    def _delay_packets(self, caller: Caller) -> None:
        send = caller._send

        async def deliver(delay: float, data: bytes) -> None:
            await asyncio.sleep(delay)
            with suppress(ConnectionError):  # the call has ended meanwhile
                await send(data)

        async def send_late(data: bytes) -> None:
            delay = self._outward[max(0, self._sent - 1)] or 0.0
            task = asyncio.create_task(deliver(delay, data))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

        caller._send = send_late

    def _take_packets(self, caller: Caller) -> None:
        async def on_packet(packet: Any, arrival_time_ms: int) -> None:  # noqa: ARG001
            due = asyncio.get_running_loop().time() + PLAIN_DELAY
            lost = self._inward[self._received]
            self._received += 1
            if lost:
                self._missing += 1
                return
            for number in range(self._missing, 0, -1):
                found = (
                    self._decoder.recover(packet.payload, TICK_SAMPLES)
                    if number == 1
                    else self._decoder.conceal(TICK_SAMPLES)
                )
                self._playout.append((due - number * FRAME, np.frombuffer(found, np.int16)))
            self._missing = 0
            heard = np.frombuffer(self._decoder.decode(packet.payload), np.int16)
            self._playout.append((due, heard))

        caller.ear._handle_rtp_packet = on_packet


async def _dial(caller: Caller) -> None:
    try:
        await caller.__aenter__()
    except (AssertionError, TimeoutError) as error:
        raise HungUp(f"the call was not answered: {error}") from error
