"""Barge-in: from the onset of the caller's speech to the last audible sample of the reply.

    python -m bench.barge_in [--url …] [--turns 20] [--over both] [--stock]

The caller asks for something long and speaks over the answer. ``stopped`` is the moment the caller
stops hearing the reply. By default the caller mutes itself at ``blab.playout.held``, as the demo
page does; with ``--stock`` it knows only OpenAI's events and plays on until its jitter buffer
(aiortc's, 80 ms) is empty. ``stale`` counts audible reply audio after that and before the next
response: it must be 0.
"""

import argparse
import asyncio

from bench.figures import machine, table
from bench.server import server
from bench.voice_to_voice import OVER, asking_for, open_line
from gateway.caller import Caller, NoAnswer, Recording
from tests.support.paths import AUDIO

QUESTION = "joe_q_weather"
INTERRUPTION = "joe_stop"
INTO_THE_REPLY = 1.2
"""Seconds of reply heard before the caller interrupts."""


async def measure(over: str, url: str, turns: int, *, stock: bool) -> dict[str, list[float]]:
    """Rows of figures over ``turns`` interruptions."""
    rows: dict[str, list[float]] = {"stopped": [], "stale": [], "decided": []}
    question = Recording.read(AUDIO / f"{QUESTION}.wav", 24_000)
    interruption = Recording.read(AUDIO / f"{INTERRUPTION}.wav", 24_000)
    for turn in range(turns):
        async with Caller(await open_line(over, url)) as caller:
            await caller.wait_for("session.created", within=10)
            if not stock:
                await caller.send(asking_for("playout"))
            try:
                await interrupt(caller, question, interruption, rows)
            except NoAnswer as error:
                print(f"  turn {turn + 1}: {error}")
    return rows


async def interrupt(
    caller: Caller, question: Recording, interruption: Recording, rows: dict[str, list[float]]
) -> None:
    """One interruption."""
    asked = caller.say(question)
    await asyncio.wait_for(asked.done.wait(), question.seconds + 5)
    begun = await caller.wait_audible(within=15, since=asked.end or caller.now())
    await asyncio.sleep(max(0.0, begun + INTO_THE_REPLY - caller.now()))
    over_it = caller.say(interruption)
    cancelled = await caller.wait_for(
        lambda e: e.type == "response.done" and e.event["response"]["status"] == "cancelled",
        within=10,
    )
    created = await caller.wait_for("response.created", within=15, since=cancelled.at)
    caller.player.advance(caller.now())
    onset = over_it.onset or caller.now()
    end = next((e for b, e in caller.player.stretches(0.3) if b <= onset <= e), onset)
    rows["stopped"].append((end - onset) * 1000)
    later = [e - b for b, e in caller.player.stretches(0.3) if end < b < created.at]
    rows["stale"].append(sum(later) * 1000)
    rows["decided"].append((cancelled.at - onset) * 1000)


async def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--over", choices=OVER, default="both")
    parser.add_argument("--stock", action="store_true")
    args = parser.parse_args()
    print(machine())
    async with server(args.url) as (url, _):
        for over in ("binary", "webrtc") if args.over == "both" else (args.over,):
            print(f"\n{over}\n\n{table(await measure(over, url, args.turns, stock=args.stock))}")


if __name__ == "__main__":
    asyncio.run(main())
