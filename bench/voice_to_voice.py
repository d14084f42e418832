"""Voice to voice: from the caller's last loud sample sent to the first audible sample received.

    python -m bench.voice_to_voice [--url http://127.0.0.1:8484] [--turns 30] [--over both]

Every turn plays a recorded human voice in real time with silence after it; the next one begins a
natural pause after the reply has been heard to its end. The stages are the server's own figures per
turn (``blab.latency``): end to end on the critical path, so their sum is the server's total;
``first_token_ms`` is part of ``llm_ms``, and ``heard_ms`` comes after the total.
``network`` is the rest: carrier, client jitter buffer, VAD tail.
"""

import argparse
import asyncio
import itertools

from bench.figures import machine, table
from bench.light_line import LightLine
from bench.server import server
from gateway.caller import (
    Caller,
    CallerChannel,
    CallerWebRtc,
    CallerWebSocket,
    NoAnswer,
    Recording,
    demo_key,
)
from tests.support.paths import AUDIO

SAID = ("joe_q_capital", "joe_q_help", "joe_q_hours", "joe_q_internet", "joe_q_slow", "joe_q_book")
STAGES = (
    "endpointing_ms",
    "stt_ms",
    "first_token_ms",
    "llm_ms",
    "tts_ms",
    "gateway_ms",
    "total_ms",
    "heard_ms",
)
TURNS_PER_CALL = 6
OVER = ("binary", "json", "webrtc", "aiortc", "both")
"""Channels; ``aiortc`` is WebRTC with a stock client and its 80 ms jitter buffer."""


def asking_for(*events: str) -> dict[str, object]:
    """The ``session.update`` that requests Blab's own events."""
    return {"type": "session.update", "session": {"type": "realtime", "blab": {"events": events}}}


async def open_line(over: str, url: str) -> CallerChannel:
    """A fresh call."""
    key = await demo_key(url)
    if over == "webrtc":
        return await LightLine.open(url, key)
    if over == "aiortc":
        return await CallerWebRtc.open(url, key)
    return await CallerWebSocket.open(url, key, binary=over == "binary")


async def measure(over: str, url: str, turns: int) -> dict[str, list[float]]:
    """Rows of figures over ``turns`` turns."""
    rows: dict[str, list[float]] = {name: [] for name in ("voice to voice", *STAGES, "network")}
    recordings = itertools.cycle(Recording.read(AUDIO / f"{name}.wav", 24_000) for name in SAID)
    missed = done = 0
    while done < turns:
        async with Caller(await open_line(over, url)) as caller:
            await caller.wait_for("session.created", within=10)
            await caller.send(asking_for("latency"))
            for _ in range(min(TURNS_PER_CALL, turns - done)):
                done += 1
                try:
                    await one_turn(caller, next(recordings), rows)
                except NoAnswer as error:
                    missed += 1
                    print(f"  turn {done}: {error}")
    if missed:
        print(f"  {missed} of {turns} turns without an answer")
    return rows


async def one_turn(caller: Caller, recording: Recording, rows: dict[str, list[float]]) -> None:
    """Play one recording, hear the answer to its end, record the figures."""
    begun = caller.now()
    said = caller.say(recording)
    await asyncio.wait_for(said.done.wait(), recording.seconds + 5)
    end = said.end or caller.now()
    first = await caller.wait_audible(within=15, since=end)
    latency = (await caller.wait_for("blab.latency", within=5, since=begun)).event
    await caller.wait_settled(within=60, since=end)
    total = (first - end) * 1000
    rows["voice to voice"].append(total)
    for stage in STAGES:
        if latency[stage] is not None:
            rows[stage].append(float(latency[stage]))
    rows["network"].append(total - float(latency["total_ms"]))


async def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--over", choices=OVER, default="both")
    args = parser.parse_args()
    print(machine())
    async with server(args.url) as (url, _):
        for over in ("binary", "webrtc") if args.over == "both" else (args.over,):
            rows = await measure(over, url, args.turns)
            print(f"\n{over}\n\n{table(rows)}")


if __name__ == "__main__":
    asyncio.run(main())
