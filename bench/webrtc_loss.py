"""The receive path under random packet loss: stalls, and how the delay returns to its base.

    python -m bench.webrtc_loss [--loss 0.02] [--seconds 60]

A WebRTC caller speaks over loopback and loses packets at random; the server notes when each frame
of audio reaches the session. ``stall`` is the longest time without audio beyond the usual 20 ms;
``lag`` is how late audio is relative to its place in the stream, above the call's base; ``back`` is
how long the lag stayed more than 10 ms above base after a loss. The stock row sends the same
packets, at the same times, through aiortc's own audio jitter buffer.
"""

import argparse
import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable

import numpy as np
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket

from bench.figures import machine, table
from tests.support.gateway import webrtc_server
from tests.support.gateway.webrtc_client import Caller, speech

SAID = ("lv_0870", "lv_0890", "lv_0920", "joe_q_book", "joe_number")
RATE = 16_000
FRAME_MS = 20
ABOVE_BASE_MS = 10.0
AUDIBLE_GAP_MS = 60.0


def lags(arrivals: list[tuple[float, int]]) -> tuple[list[float], list[float]]:
    """(arrival in seconds, ms of lag above base) of audio given as (moment, samples)."""
    moments = [moment for moment, _ in arrivals]
    positions = np.cumsum([samples for _, samples in arrivals]) / RATE
    raw = (np.array(moments) - positions) * 1000
    return moments, list(raw - np.percentile(raw, 5))


def times_above_base(moments: list[float], lag: list[float]) -> list[float]:
    """Lengths (ms) of the periods in which the lag was above base."""
    stretches: list[float] = []
    for above, group in itertools.groupby(
        zip(moments, lag, strict=True), key=lambda pair: pair[1] > ABOVE_BASE_MS
    ):
        if above:
            times = [moment for moment, _ in group]
            stretches.append((times[-1] - times[0]) * 1000 + FRAME_MS)
    return stretches


def mouth_to_session(sent: list[tuple[float, int]], heard: list[tuple[float, int]]) -> list[float]:
    """How long after it was sent (ms) each piece of audio reached the session."""
    first = sent[0][1]
    began = min(moment - (number - first + 1) * FRAME_MS / 1000 for moment, number in sent)
    positions = np.cumsum([samples for _, samples in heard]) / RATE
    return [(at - began - end) * 1000 for (at, _), end in zip(heard, positions, strict=True)]


async def later(delay: float, send: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
    """Send it after so many seconds."""
    await asyncio.sleep(delay)
    await send(data)


def stock(packets: list[tuple[float, int]]) -> tuple[list[float], list[float]]:
    """Stalls and lags of aiortc's own jitter buffer, given (moment, sequence number)."""
    buffer = JitterBuffer(capacity=16, prefetch=4)
    out: list[tuple[float, int]] = []
    first = packets[0][1]
    for moment, sequence in packets:
        packet = RtpPacket(sequence_number=sequence % 65536, timestamp=(sequence * 960) % 2**32)
        packet._data = b"x"  # type: ignore[attr-defined] # what aiortc's depayloader leaves
        _, frame = buffer.add(packet)
        if frame is not None:
            out.append((moment, frame.timestamp // 960 - first))
    raw = [(moment - index * FRAME_MS / 1000) * 1000 for moment, index in out]
    base = min((m - (s - first) * FRAME_MS / 1000) * 1000 for m, s in packets)
    gaps = [(b[0] - a[0]) * 1000 - FRAME_MS for a, b in itertools.pairwise(out)]
    return gaps, [value - base for value in raw]


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loss", type=float, default=0.02)
    parser.add_argument("--jitter", type=float, default=0.0, metavar="MS")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    dice = random.Random(7)
    sent_at: list[tuple[float, int]] = []
    arrived: list[tuple[float, int]] = []
    delay = 0.0
    loop = asyncio.get_running_loop()

    def drop(number: int) -> bool:
        nonlocal delay
        lost: bool = dice.random() < args.loss
        delay = dice.uniform(0, args.jitter / 1000)
        sent_at.append((loop.time(), number))
        if not lost:
            arrived.append((loop.time() + delay, number))
        return lost

    async with webrtc_server.serve() as gateway:
        gateway.echo_audio = False
        async with Caller(gateway.url, drop=drop) as caller:
            send, under_way = caller._send, set[asyncio.Task[None]]()

            async def send_late(data: bytes) -> None:
                sending = asyncio.create_task(later(delay, send, data))
                under_way.add(sending)
                sending.add_done_callback(under_way.discard)

            if args.jitter:
                caller._send = send_late
            names = itertools.cycle(SAID)
            end = loop.time() + args.seconds
            while loop.time() < end:
                await caller.say(speech(next(names)))
            frames = list(gateway.frames[caller.call_id])
            lost, sent = caller.dropped_packets, caller.sent_packets
    heard = [(moment, len(pcm) // 2) for moment, pcm in frames]
    gaps = [(b[0] - a[0]) * 1000 - FRAME_MS for a, b in itertools.pairwise(heard)]
    moments, lag = lags(heard)
    stock_gaps, stock_lag = stock(sorted(arrived))
    print(f"{machine()}\n{lost} of {sent} packets lost\n")
    rows = {
        "stall": gaps,
        "lag above base": lag,
        "back to base after": times_above_base(moments, lag),
        "mouth to session": mouth_to_session(sent_at, heard),
        "stall, stock buffer": stock_gaps,
        "lag, stock buffer": stock_lag,
    }
    print(table(rows))
    long = sum(gap + FRAME_MS > AUDIBLE_GAP_MS for gap in gaps)
    print(f"\n{long} gaps over {AUDIBLE_GAP_MS:.0f} ms in {args.seconds:.0f} s")


if __name__ == "__main__":
    asyncio.run(main())
