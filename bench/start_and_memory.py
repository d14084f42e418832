"""Warm start to the first answered call, idle memory, memory per call.

    python -m bench.start_and_memory [--calls 4]

Memory is the proportional set size (PSS) of the server and all its children: shared pages count
once. A call in these figures has had one answered turn and stays open.
"""

import argparse
import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from bench.figures import machine
from bench.server import server
from bench.voice_to_voice import open_line
from gateway.caller import Caller, Recording
from tests.support.paths import AUDIO


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def memory_mib(pid: int) -> float:
    """PSS of the family, MiB."""
    total = 0
    for member in family(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


async def answered(caller: Caller) -> None:
    """Ask one question and hear its answer to the end."""
    recording = Recording.read(AUDIO / "joe_q_capital.wav", 24_000)
    said = caller.say(recording)
    await asyncio.wait_for(said.done.wait(), recording.seconds + 5)
    await caller.wait_settled(within=60, since=said.end or caller.now())


async def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=4)
    args = parser.parse_args()
    loop = asyncio.get_running_loop()
    print(machine())
    begun = loop.time()
    async with server(None) as (url, pid), AsyncExitStack() as calls:
        assert pid is not None
        print(f"start to ready: {loop.time() - begun:.1f} s")
        async with Caller(await open_line("binary", url)) as first:
            await answered(first)
        print(f"start to the end of the first answered call: {loop.time() - begun:.1f} s")
        idle = memory_mib(pid)
        print(f"memory, idle: {idle:.0f} MiB")
        for _ in range(args.calls):
            caller = await calls.enter_async_context(Caller(await open_line("binary", url)))
            await answered(caller)
        grown = memory_mib(pid)
        print(f"memory, {args.calls} open calls: {grown:.0f} MiB")
        print(f"memory per call: {(grown - idle) / args.calls:.1f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
