"""Calls on a cluster while its processes are killed.

    python -m bench.cluster [--calls 200] [--nodes 2] [--processes 2] [--seconds 90] [--every 8]

Two nodes (``blab serve``) of two gateway processes each share a Postgres, a Valkey and an S3
server, behind haproxy. A third of the way, a gateway process of the first node is killed with -9;
two thirds of the way, the whole second node. Every caller that was cut off comes back by the proxy
with its handle. At the end each call must have gone on, with one history: no call lost, no turn
stored twice.
"""

import argparse
import asyncio
import os
from collections import Counter
from itertools import pairwise

import numpy as np

from bench.cluster.callers import Caller, run_all
from bench.cluster.nodes import Cluster, cluster
from bench.figures import machine
from store.database import Database

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
    parser.add_argument("--every", type=float, default=8.0, help="seconds between questions")
    asyncio.run(run(parser.parse_args()))


async def run(options: argparse.Namespace) -> None:
    """One run, and its report."""
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}", flush=True)
    async with cluster(options.nodes, options.processes, options.calls * 2) as running:
        killing = asyncio.create_task(kill(running, options.seconds))
        callers = await run_all(
            running.url, running.key, options.calls, options.seconds, options.every
        )
        killed = await killing
        await asyncio.sleep(SETTLE_SECONDS)
        stored = await stored_turns(running.services.database_url)
    report(callers, killed, stored)


async def kill(running: Cluster, seconds: float) -> list[str]:
    """kill -9 of a process, then of a node; what was killed."""
    killed = []
    await asyncio.sleep(seconds / 3)
    if victims := running.nodes[0].gateways()[:1]:
        victims[0].kill()
        killed.append(f"a gateway process of node {running.nodes[0].name}")
    await asyncio.sleep(seconds / 3)
    if len(running.nodes) > 1:
        running.nodes[-1].kill()
        killed.append(f"node {running.nodes[-1].name}")
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


def report(callers: list[Caller], killed: list[str], stored: dict[str, list[int]]) -> None:
    """The table."""
    cuts = [cut for caller in callers for cut in caller.cuts]
    lost = [caller for caller in callers if caller.lost]
    doubled = sum(
        count - 1 for numbers in stored.values() for count in Counter(numbers).values() if count > 1
    )
    forgot = [call for call in callers if any(b < a for a, b in pairwise(call.answers))]
    interrupted = sum(cut.speaking for cut in cuts)
    faults = Counter(fault for caller in callers for fault in caller.faults)
    print(f"killed with -9: {', '.join(killed)}")
    rows = (
        ("calls", str(len(callers))),
        ("answers heard", str(sum(len(caller.answers) for caller in callers))),
        ("lines cut, of which during an answer", f"{len(cuts)}, {interrupted}"),
        ("calls lost", str(len(lost))),
        ("back in the call after, p50 / p95 / max s", spread([cut.resumed for cut in cuts])),
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
