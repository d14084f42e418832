"""Calls on a cluster while its processes are killed.

    python -m bench.cluster [--calls 200] [--nodes 2] [--processes 2] [--seconds 90] [--every 8]
        [--profile DIRECTORY]

Two nodes (``blab serve``) of two gateway processes each share a Postgres, a Valkey and an S3
server, behind haproxy. A third of the way, a gateway process of the first node is killed with -9;
two thirds of the way, the whole second node. Every caller that was cut off comes back by the proxy
with its handle. At the end each call must have gone on, with one history: no call lost, no turn
stored twice.
"""

import argparse
import asyncio
import math
import os
import re
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import uvloop

from bench.cluster.callers import Caller, run_all
from bench.cluster.nodes import Cluster, Node, cluster
from bench.cluster.usage import KINDS, Usage
from bench.density import profiles
from bench.figures import machine
from store.database import Database

CACHE = Path(".blab/bench")
PROFILE_SECONDS = 8.0
RAMP_SECONDS = 10.0
"""After so long, all callers are there."""
SETTLE_SECONDS = 3.0
"""For what the journal has still to write when the last caller has hung up."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="bench.cluster", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2, help="gateway processes of a node")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument(
        "--every", type=float, default=8.0, help="seconds between questions; 0: silent callers"
    )
    parser.add_argument(
        "--profile", type=Path, help="where py-spy's stacks of the second node's death go"
    )
    options = parser.parse_args()
    if options.profile is not None:
        options.profile.mkdir(parents=True, exist_ok=True)
    uvloop.run(run(options))


async def run(options: argparse.Namespace) -> None:
    """One run, and its report."""
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}", flush=True)
    if options.profile is not None:
        await profiles.py_spy(CACHE)  # fetched before anything is measured
    async with cluster(options.nodes, options.processes, options.calls * 2) as running:
        usage = Usage()
        sampling = asyncio.create_task(usage.run())
        killing = asyncio.create_task(kill(running, options.seconds, options.profile))
        over, callers = asyncio.Event(), list[Caller]()
        asyncio.get_running_loop().call_later(options.seconds, over.set)
        await run_all(running.url, running.key, options.calls, over, options.every, callers=callers)
        killed = await killing
        sampling.cancel()
        await asyncio.sleep(SETTLE_SECONDS)
        stored = await stored_turns(running.services.database_url)
        for node in running.nodes:
            print_warnings(node)
    report(callers, killed, stored)
    report_usage(usage, [at for at, _ in killed])


async def kill(running: Cluster, seconds: float, profile: Path | None) -> list[tuple[float, str]]:
    """kill -9 of a process, then of a node; what was killed, and when (``time.monotonic``).

    ``profile``: where the stacks of the processes that are left go."""
    killed = []
    await asyncio.sleep(seconds / 3)
    if victims := running.nodes[0].gateways()[:1]:
        victims[0].kill()
        killed.append((time.monotonic(), f"a gateway process of node {running.nodes[0].name}"))
    await asyncio.sleep(seconds / 3)
    if len(running.nodes) > 1:
        left = [process.pid for process in running.nodes[0].gateways()]
        running.nodes[-1].kill()
        killed.append((time.monotonic(), f"node {running.nodes[-1].name}"))
        if profile is not None:
            program, core = await profiles.py_spy(CACHE), (os.cpu_count() or 1) - 1
            await asyncio.gather(
                *(
                    profiles.record(program, pid, PROFILE_SECONDS, profile / f"{pid}.txt", core)
                    for pid in left
                )
            )
    return killed


async def stored_turns(database_url: str) -> dict[str, list[int]]:
    """Numbers of the stored turns of each call."""
    database = Database(database_url)
    await database.connect()
    try:
        rows = await database.fetch("SELECT call_id, number FROM turns ORDER BY call_id, number")
    finally:
        await database.close()
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["call_id"], []).append(row["number"])
    return found


def print_warnings(node: Node) -> None:
    """What a node's processes warned of, and how often."""
    lines = node.log.read_text(errors="replace").splitlines()
    kinds = Counter(
        re.sub(r"(call|node|turn)_\w+|[\d.]+", "…", line.partition("WARNING")[2])
        for line in lines
        if "WARNING" in line or "ERROR" in line
    )
    for text, count in kinds.most_common(6):
        print(f"node {node.name} warned {count} times:{text[:160]}")


def report_usage(usage: Usage, kills: list[float]) -> None:
    """Cores in use before the first process is killed, and just after each."""
    begin = usage.samples[0][0]
    columns = {"before": usage.during(begin + RAMP_SECONDS, kills[0] - 1)}
    for number, at in enumerate(kills, 1):
        columns[f"5 s after kill {number}"] = usage.during(at, at + 5)
    columns["at the end"] = usage.during(usage.samples[-1][0] - 10, usage.samples[-1][0])
    print(f"\n| cores in use | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for kind in (*KINDS, "all"):
        print(f"| {kind} | {' | '.join(f'{one[kind]:.2f}' for one in columns.values())} |")


def report(
    callers: list[Caller], killed: list[tuple[float, str]], stored: dict[str, list[int]]
) -> None:
    """The table."""
    cuts = [cut for caller in callers for cut in caller.cuts]
    lost = [caller for caller in callers if caller.lost]
    doubled = sum(
        count - 1 for numbers in stored.values() for count in Counter(numbers).values() if count > 1
    )
    forgot = [call for call in callers if any(b < a for a, b in pairwise(call.answers))]
    interrupted = sum(cut.speaking for cut in cuts)
    faults = Counter(fault for caller in callers for fault in caller.faults)
    refusals = Counter(text for cut in cuts for text in cut.refusals)
    print(f"killed with -9: {', '.join(what for _, what in killed)}")
    moments = [at for at, _ in killed]
    rows = (
        ("calls", str(len(callers))),
        ("answers heard", str(sum(len(caller.answers) for caller in callers))),
        ("lines cut, of which during an answer", f"{len(cuts)}, {interrupted}"),
        ("calls lost", str(len(lost))),
        ("back in the call after, p50 / p95 / max s", spread([cut.resumed for cut in cuts])),
        ("… of which until a line stood", spread([cut.connected for cut in cuts])),
        *(
            (f"… after kill {number}", spread([c.resumed for c in cuts if at <= c.at < after]))
            for number, (at, after) in enumerate(pairwise([*moments, math.inf]), 1)
        ),
        ("… the cut answers heard on after", spread([cut.heard for cut in cuts if cut.speaking])),
        ("calls whose history went back", str(len(forgot))),
        ("turns stored, of which twice", f"{sum(map(len, stored.values()))}, {doubled}"),
        ("error events", str(faults.total())),
    )
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    for caller in lost[:5]:
        print(f"lost: call {caller.number}: {caller.lost}")
    for text, count in faults.most_common(3):
        print(f"{count} times: {text}")
    for text, count in refusals.most_common(6):
        print(f"{count} attempts to come back failed: {text}")


def spread(seconds: list[float | None]) -> str:
    """p50 / p95 / max of what happened, and how often it did not."""
    known = [second for second in seconds if second is not None]
    if not known:
        return "–"
    p50, p95 = np.percentile(known, [50, 95])
    never = len(seconds) - len(known)
    return f"{p50:.2f} / {p95:.2f} / {max(known):.2f}" + (f", {never} never" if never else "")


if __name__ == "__main__":
    main()
