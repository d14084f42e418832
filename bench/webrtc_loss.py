"""WebRTC over a bad network: gaps, added delay and words lost, in both directions.

    python -m bench.webrtc_loss [--rounds 4] [--seed 7] [--no-words] [--sockets 20]

Simulated: real Opus packets, the server's own receiver and track, virtual time, a network that
loses and delays packets by ``NETWORKS``. The same seed gives the same figures on any machine.

- Caller to server. ``gap`` is the time between two deliveries of audio to the session; ``added`` is
  how much later a piece arrives than the moment at which its last sample was spoken; ``drift`` is
  how many more milliseconds were delivered than were spoken. The stock row is aiortc's own audio
  jitter buffer, which gets the same packets at the same times.
- Server to caller. The caller plays with a fixed delay of ``PLAIN_DELAY``, once with and once
  without the redundancy (in-band FEC) of the server's packets; what neither brings is concealed.
  Packets of pauses are not counted.
- Words lost: Moonshine transcribes what arrived; the row without loss shows what it misses anyway.

``--sockets SECONDS`` also makes one real call over loopback, whose packets to the server are lost
and delayed the same way, and measures how evenly the server's packets arrive.
"""

import argparse
import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from aiortc.jitterbuffer import JitterBuffer as StockBuffer
from aiortc.rtp import RtpPacket

from bench.conversation.judge import lost_words
from bench.figures import machine, percentiles
from gateway.caller.audio import LOUD_RMS
from gateway.channels.webrtc.voice import FRAME_MS, FRAME_TICKS, VoiceReceiver, VoiceTrack
from media.opus import OpusDecoder, OpusEncoder, has_redundancy
from media.resample import resample
from pipelines.engines.transcription.moonshine import MoonshineTranscriber
from tests.support.gateway import webrtc_server
from tests.support.gateway.webrtc_client import Caller, speech
from tests.support.sessions.virtual_clock import run

MODEL = Path(__file__).parents[1] / ".blab" / "models" / "moonshine-tiny-en"
SAID = {
    "joe_q_help": "What can you help me with today?",
    "joe_q_capital": "What is the capital of France?",
    "joe_q_internet": "My internet is down, what should I do first?",
    "joe_q_book": "Please book a table for four people on Thursday at seven.",
    "joe_q_slow": "Can you say that again a little more slowly?",
    "joe_q_hours": "What time do you open on Saturday morning?",
    "joe_q_thanks": "Thank you very much, that is all for today.",
    "lv_0880": "he was not an ill disposed young man",
    "lv_0890": "unless to be rather cold hearted and rather selfish is to be ill disposed",
    "lv_0920": "had he married a more amiable woman he might have been made still more respectable "
    "than he was",
    "lv_0930": "he might even have been made amiable himself",
}
EAR_RATE, REPLY_RATE = 16_000, 24_000
PAUSE_SECONDS = 0.4
FRAME = FRAME_MS / 1000
AUDIBLE_GAP_MS = 60.0
PLAIN_DELAY = 0.06
"""Seconds between sending and playing in the plain receiver."""
PAYLOAD_TYPE = 111


# ------------------------------------------------------------------ the network


@dataclass(frozen=True, slots=True)
class Network:
    """``loss``: share of packets lost; ``burst``: packets lost in a row, evenly drawn from this
    range; ``jitter``: seconds of delay added to each packet, evenly drawn from 0 to this;
    ``overtaking``: whether a packet may arrive before an earlier one; ``freeze``: every 5 seconds,
    so many seconds in which nothing arrives, and then everything at once."""

    name: str
    loss: float = 0.02
    burst: tuple[int, int] = (1, 1)
    jitter: float = 0.03
    overtaking: bool = False
    freeze: float = 0.0


NETWORKS = (
    Network("no loss, no jitter", loss=0.0, jitter=0.0),
    Network("2 % loss", jitter=0.0),
    Network("2 % loss, 30 ms jitter, in order"),
    Network("2 % loss, 30 ms jitter, overtaking", overtaking=True),
    Network("2 % loss in bursts of 2 or 3, 30 ms jitter", burst=(2, 3), overtaking=True),
    Network("30 ms jitter, frozen for 200 ms", loss=0.0, overtaking=True, freeze=0.2),
)
FREEZE_EVERY = 5.0


def journey(network: Network, count: int, dice: random.Random) -> Iterator[float | None]:
    """For each of ``count`` packets, 20 ms apart, the second at which it arrives; None if lost.

    Bursts are a Gilbert-Elliott channel that loses everything in its bad state."""
    shortest, longest = network.burst
    start = network.loss / ((shortest + longest) / 2) / (1 - network.loss)
    bad, latest = 0, 0.0
    for number in range(count):
        sent = number * FRAME
        delay = dice.uniform(0, network.jitter)
        if bad == 0 and dice.random() < start:
            bad = dice.randint(shortest, longest) + 1
        bad = max(0, bad - 1)
        at = sent + delay
        if network.freeze and at % FREEZE_EVERY > FREEZE_EVERY - network.freeze:
            at = (at // FREEZE_EVERY + 1) * FREEZE_EVERY
        latest = max(at, latest)
        yield None if bad else (at if network.overtaking else latest)


# ------------------------------------------------------------------ what is sent


def take(rate: int) -> tuple[bytes, list[tuple[str, int, int]]]:
    """All recordings with pauses between them, and for each (text, first byte, last byte)."""
    pause = bytes(round(PAUSE_SECONDS * rate) * 2)
    pcm, places = bytearray(pause), []
    for name, text in SAID.items():
        spoken = speech(name)
        spoken = spoken if rate == EAR_RATE else resample(spoken, EAR_RATE, rate)
        first = len(pcm) - len(pause)
        pcm += spoken + pause
        places.append((text, first, len(pcm)))
    frame = round(rate * FRAME) * 2
    return bytes(pcm) + bytes(-len(pcm) % frame), places


@cache
def call_packets() -> list[bytes]:
    """What a caller sends."""
    pcm, _ = take(EAR_RATE)
    encoder = OpusEncoder(EAR_RATE)
    return [encoder.encode(pcm[i : i + 640]) for i in range(0, len(pcm), 640)]


@cache
def answer_packets() -> list[bytes]:
    """What the server's own track sends for the same words."""
    return run(tracked(take(REPLY_RATE)[0]))


@cache
def answer_is_loud() -> list[bool]:
    """For each of ``answer_packets`` whether there is speech in it."""
    samples = np.frombuffer(take(REPLY_RATE)[0], "<i2").astype(np.float64)
    frames = samples.reshape(-1, round(REPLY_RATE * FRAME))
    loud: list[bool] = (np.sqrt(np.mean(frames * frames, axis=1)) > LOUD_RMS).tolist()
    return loud


async def tracked(pcm: bytes) -> list[bytes]:
    """What a track makes of audio at REPLY_RATE."""
    track = VoiceTrack(REPLY_RATE)
    frame = round(REPLY_RATE * FRAME) * 2
    packets = []
    for at in range(0, len(pcm), frame):
        track.play(pcm[at : at + frame])
        packets.append(bytes(await track.recv()))
    track.stop()
    return packets


# ------------------------------------------------------------------ caller to server


@dataclass(slots=True)
class Heard:
    """What reached a listener: the audio, its gaps and added delays (ms), and its drift (ms)."""

    pcm: bytes
    gaps: list[float]
    added: list[float]
    drift: float


async def to_server(packets: Sequence[bytes], arrivals: Sequence[float | None]) -> Heard:
    """Send packets through the server's receiver. Needs a loop with virtual time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    pieces: list[tuple[float, bytes]] = []
    receiver = VoiceReceiver(lambda pcm: pieces.append((loop.time() - began, pcm)), EAR_RATE)
    receiver.start(frozenset({PAYLOAD_TYPE}))
    arriving = sorted((at, n) for n, at in enumerate(arrivals) if at is not None)
    for at, number in arriving:
        await asyncio.sleep(began + at - loop.time())
        packet = RtpPacket(
            payload_type=PAYLOAD_TYPE, sequence_number=number % 65_536, timestamp=number * 960
        )
        packet.payload = packets[number]
        receiver.take(packet)
    await asyncio.sleep(0.05)
    receiver.stop()
    return heard_of(pieces, len(packets))


def heard_of(pieces: Sequence[tuple[float, bytes]], sent: int) -> Heard:
    """Judge pieces given as (second of the delivery, PCM), of ``sent`` packets; the first packet's
    last sample was spoken at second 0."""
    gaps = [(b - a) * 1000 for (a, _), (b, _) in itertools.pairwise(pieces)]
    ends = np.cumsum([len(pcm) // 2 for _, pcm in pieces]) / EAR_RATE
    added = [(at + FRAME - end) * 1000 for (at, _), end in zip(pieces, ends, strict=True)]
    drift = (float(ends[-1]) - sent * FRAME) * 1000
    return Heard(b"".join(pcm for _, pcm in pieces), gaps, added, drift)


def stock(arrivals: Sequence[float | None]) -> Heard:
    """The same packets through aiortc's own audio jitter buffer."""
    buffer = StockBuffer(capacity=16, prefetch=4)
    out: list[tuple[float, int]] = []
    for at, number in sorted((at, n) for n, at in enumerate(arrivals) if at is not None):
        packet = RtpPacket(sequence_number=number % 65_536, timestamp=number * FRAME_TICKS)
        packet._data = b"x"  # type: ignore[attr-defined] # what aiortc's depayloader leaves
        _, frame = buffer.add(packet)
        if frame is not None:
            out.append((at, frame.timestamp // FRAME_TICKS))
    gaps = [(b - a) * 1000 for (a, _), (b, _) in itertools.pairwise(out)]
    return Heard(b"", gaps, [(at - number * FRAME) * 1000 for at, number in out], 0.0)


# ------------------------------------------------------------------ server to caller


def to_caller(
    packets: Sequence[bytes], arrivals: Sequence[float | None], *, use_redundancy: bool
) -> Heard:
    """Play packets as a plain receiver does: each ``PLAIN_DELAY`` after it was sent, or never."""
    spoken = answer_is_loud()
    decoder = OpusDecoder(REPLY_RATE)
    samples = round(REPLY_RATE * FRAME)
    pcm, gaps, missing = bytearray(), [], 0
    for number, packet in enumerate(packets):
        due = number * FRAME + PLAIN_DELAY
        at = arrivals[number]
        following = arrivals[number + 1] if number + 1 < len(packets) else None
        if at is not None and at <= due:
            pcm += decoder.decode(packet)
        elif use_redundancy and following is not None and following <= due:
            pcm += decoder.recover(packets[number + 1], samples)
            if not has_redundancy(packets[number + 1]):
                missing += spoken[number]
                continue
        else:
            pcm += decoder.conceal(samples)
            missing += spoken[number]
            continue
        gaps, missing = gaps + [missing * FRAME_MS] * bool(missing), 0
    return Heard(bytes(pcm), gaps, [PLAIN_DELAY * 1000], 0.0)


# ------------------------------------------------------------------ words


class Words:
    """Counts the words that a transcriber misses."""

    def __init__(self) -> None:
        self._transcriber = MoonshineTranscriber(MODEL, workers=1)

    async def lost(self, pcm: bytes, places: Sequence[tuple[str, int, int]]) -> tuple[int, int]:
        """(said, of these lost) in EAR_RATE audio."""
        said = missed = 0
        for text, first, last in places:
            heard = await self._transcriber.transcribe(pcm[first:last])
            counts = lost_words(text, heard.text)
            said, missed = said + counts[0], missed + counts[1]
        return said, missed

    async def of(self, heard: Sequence[Heard], rate: int) -> str:
        """A table's cell for several rounds of audio at ``rate``."""
        _, places = take(EAR_RATE)
        said = missed = 0
        for one in heard:
            counts = await self.lost(resample(one.pcm, rate, EAR_RATE), places)
            said, missed = said + counts[0], missed + counts[1]
        return f"{missed} of {said}"

    async def close(self) -> None:
        """Free the model."""
        await self._transcriber.close()


# ------------------------------------------------------------------ a real call

REAL = Network("2 % loss, 30 ms jitter, overtaking", overtaking=True)


async def ticks(every: float, times: list[float]) -> None:
    """Note the time every so many seconds, as punctually as the machine allows."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += every
        await asyncio.sleep(due - loop.time())
        times.append(loop.time())


async def real_call(seconds: float, seed: int) -> tuple[Heard, list[float], list[float]]:
    """A call over loopback; what the server heard, and the times at which its packets arrived and
    at which a bare timer in the same loop went off."""
    loop = asyncio.get_running_loop()
    count = round(seconds / FRAME) + 1_000
    delays = [
        None if at is None else at - number * FRAME
        for number, at in enumerate(journey(REAL, count, random.Random(seed)))
    ]
    sent: list[float] = []

    def drop(number: int) -> bool:
        sent.append(loop.time())
        return delays[number - 1] is None

    async with webrtc_server.serve() as gateway, Caller(gateway.url, drop=drop) as caller:
        gateway.echo_audio = False
        send, under_way = caller._send, set[asyncio.Task[None]]()

        async def send_late(data: bytes) -> None:
            sending = asyncio.create_task(later(delays[len(sent) - 1] or 0.0, send, data))
            under_way.add(sending)
            sending.add_done_callback(under_way.discard)

        caller._send = send_late
        timer: list[float] = []
        ticking = asyncio.create_task(ticks(FRAME, timer))
        names, end = itertools.cycle(SAID), loop.time() + seconds
        while loop.time() < end:
            await caller.say(speech(next(names)))
        ticking.cancel()
        await asyncio.gather(*under_way)
        frames = list(gateway.frames[caller.call_id])
        arrived = [packet.at for packet in caller.ear.heard]
        numbers = len(sent)
    pieces = [(at - sent[0], pcm) for at, pcm in frames]
    return heard_of(pieces, numbers), arrived, timer


async def later(delay: float, send: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
    """Send it after so many seconds."""
    await asyncio.sleep(delay)
    await send(data)


# ------------------------------------------------------------------ the tables

TO_SERVER = """
| caller to server | gap max ms | gaps over 60 | added p50 / p95 ms | drift ms | words lost |
|---|---|---|---|---|---|"""
TO_CALLER = """
| server to caller | packets concealed | … in a row, at most | words lost |
|---|---|---|---|"""


def row_to_server(name: str, heard: Sequence[Heard], words: str) -> str:
    """One line of a table, of several rounds over the same network."""
    gaps = [gap for one in heard for gap in one.gaps]
    p50, p95, _ = percentiles([value for one in heard for value in one.added])
    over = sum(gap > AUDIBLE_GAP_MS for gap in gaps)
    drift = sum(one.drift for one in heard) / len(heard)
    return f"| {name} | {max(gaps):.0f} | {over} | {p50:.0f} / {p95:.0f} | {drift:.0f} | {words} |"


def row_to_caller(name: str, heard: Sequence[Heard], words: str) -> str:
    """One line of a table, of several rounds over the same network."""
    gaps = [gap for one in heard for gap in one.gaps]
    packets = round(sum(gaps) / FRAME_MS)
    return f"| {name} | {packets} | {max(gaps, default=0) / FRAME_MS:.0f} | {words} |"


@dataclass(slots=True)
class Results:
    """What each listener heard over one network, a round each."""

    server: list[Heard]
    stock: list[Heard]
    caller: list[Heard]
    caller_without_fec: list[Heard]


def simulate(network: Network, rounds: int, seed: int) -> Results:
    """All listeners over one network."""
    packets, reply = call_packets(), answer_packets()
    results = Results([], [], [], [])
    for number in range(rounds):
        arrivals = list(journey(network, len(packets), random.Random(seed + number)))
        results.server.append(run(to_server(packets, arrivals)))
        results.stock.append(stock(arrivals))
        results.caller.append(to_caller(reply, arrivals, use_redundancy=True))
        results.caller_without_fec.append(to_caller(reply, arrivals, use_redundancy=False))
    return results


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--no-words", action="store_true", help="without transcripts")
    parser.add_argument("--sockets", type=float, default=0.0, metavar="SECONDS")
    args = parser.parse_args()
    print(machine())
    results = {network.name: simulate(network, args.rounds, args.seed) for network in NETWORKS}
    with asyncio.Runner() as runner:
        words = None if args.no_words else Words()

        def lost(heard: list[Heard], rate: int) -> str:
            return "–" if words is None else runner.run(words.of(heard, rate))

        print(TO_SERVER)
        for name, heard in results.items():
            print(row_to_server(name, heard.server, lost(heard.server, EAR_RATE)))
        for name, heard in results.items():
            print(row_to_server(f"{name}; stock", heard.stock, "–"))
        print(TO_CALLER)
        for name, heard in results.items():
            print(row_to_caller(name, heard.caller, lost(heard.caller, REPLY_RATE)))
        for name, heard in results.items():
            without = heard.caller_without_fec
            print(row_to_caller(f"{name}; without FEC", without, lost(without, REPLY_RATE)))
        if words is not None:
            runner.run(words.close())
        if args.sockets:
            call, arrived, timer = runner.run(real_call(args.sockets, args.seed))
            gaps, (p50, p95, _) = np.array(call.gaps), percentiles(call.added)
            print(
                f"\nover loopback: gap max {gaps.max():.0f} ms, {sum(gaps > AUDIBLE_GAP_MS)} over "
                f"{AUDIBLE_GAP_MS:.0f} ms, added p50 {p50:.0f}, p95 {p95:.0f} ms"
            )
            for name, times in (("the server's packets", arrived), ("a bare timer", timer)):
                uneven = np.abs(np.diff(times) * 1000 - FRAME_MS)
                p95, p99 = np.percentile(uneven, [95, 99])
                print(f"{name}: 20 ms apart, ± p95 {p95:.1f}, p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
