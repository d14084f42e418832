"""How many calls a core carries: Blab beside a bare socket, Pipecat, LiveKit Agents and FastRTC.

    python -m bench.density [--calls 25,50,100] [--over binary|json|twilio|webrtc] [--seconds 20]
        [--systems blab,blab-recorded,bare,pipecat,livekit,fastrtc] [--silent] [--profile|--flame]

Needs two cores: the server has one, the callers the other. Engines are scripted and answer at once;
voice activity detection is real (Silero) and so is the turn taking. Prints one table, and writes
the plot of calls against the 95th percentile of the added time, and the figures, to ``--out``.
``--profile`` samples the server meanwhile (``profiles``), which costs it some time of its own;
``--flame`` draws a flame graph of it instead, for a browser.

Everything but Blab is called over ``twilio``. CPU time is robust where other work runs on the
machine; latency is not: look at the load.
"""

import argparse
import asyncio
import json
import os
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.conversation.systems import ROOT
from bench.density import profiles
from bench.density.callers import SETTLE_SECONDS, SPREAD_SECONDS, WARM_SECONDS, Result
from bench.density.plot import added_svg
from bench.density.systems import BLABS, CALLERS_CORE, NAMES, call, running
from bench.figures import machine
from gateway.services import EmbeddedServices, ServiceUrls

CACHE = ROOT / ".blab" / "bench"
OVER = ("binary", "json", "twilio", "webrtc")
SATURATED = 97.0
"""Percent of the server's core beyond which more calls are not tried."""
HEAD = (
    "| | calls | CPU a call, % | server's core, % | added p50 ms | p95 | p99 | missed | "
    "memory a call, MB | callers' core, % | load |"
)


def row(name: str, one: Result) -> str:
    """A line of the table."""
    p50, p95, p99 = (f"{q:.0f}" for q in quantiles(one))
    turns = len(one.added) + one.missed
    return (
        f"| {name} | {one.calls} | {one.cpu_per_call:.2f} | {one.server_cpu:.0f} | "
        f"{p50} | {p95} | {p99} | {one.missed} of {turns} | {one.rss_per_call:.2f} | "
        f"{one.callers_cpu:.0f} | {one.load:.1f} |"
    )


def quantiles(one: Result) -> tuple[float, float, float]:
    """p50, p95 and p99 of the added time."""
    if not one.added:
        return (float("nan"),) * 3
    p50, p95, p99 = np.percentile(one.added, (50, 95, 99))
    return float(p50), float(p95), float(p99)


async def measure(
    name: str, over: str, calls: int, args: argparse.Namespace, urls: ServiceUrls
) -> Result:
    """One run of one system."""
    async with running(name, urls, args.cache) as system:
        callers = await call(system, over, calls, args.seconds, silent=args.silent)
        sampling = None
        if args.profile or args.flame:
            program = await profiles.py_spy(args.cache)
            await asyncio.sleep(WARM_SECONDS + 4 + calls * SPREAD_SECONDS + SETTLE_SECONDS)
            stacks = args.out / f"{name}-{over}-{calls}.{'svg' if args.flame else 'stacks'}"
            work = profiles.record(program, system.pid, args.seconds - 4, stacks, CALLERS_CORE)
            sampling = asyncio.create_task(work)
        printed, _ = await asyncio.wait_for(callers.communicate(), args.seconds * 3 + 120)
        if callers.returncode != 0:
            raise RuntimeError(f"the callers of {name} failed")
        result = Result(**json.loads(printed))
        if sampling is not None:
            await sampling
        if args.profile and not args.flame:
            print(profiles.report(stacks, result.cpu_per_call), flush=True)
        return result


async def run(args: argparse.Namespace) -> None:
    """All systems, one after the other, with ever more calls."""
    with tempfile.TemporaryDirectory(prefix="blab-density-") as folder:
        os.chmod(folder, 0o711)
        os.sched_setaffinity(0, {CALLERS_CORE})
        services = EmbeddedServices(Path(folder) / "data")
        urls = await services.start()
        try:
            await run_on(args, urls)
        finally:
            await services.stop()


async def run_on(args: argparse.Namespace, urls: ServiceUrls) -> None:
    """The runs, the table and the plot."""
    found: dict[str, list[Result]] = {}
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}\n\n{HEAD}\n" + "|---" * 11 + "|", flush=True)
    for name in args.systems:
        for over in args.over if name in BLABS else ["twilio"]:
            shown = f"{name}, {over}" if name in BLABS else name
            for calls in args.calls:
                one = await measure(name, over, calls, args, urls)
                found.setdefault(shown, []).append(one)
                print(row(shown, one), flush=True)
                for fault in one.faults[:3]:
                    print(f"  {fault}", flush=True)
                if one.server_cpu > SATURATED:
                    break
    lines = {
        name: [(one.calls, quantiles(one)[1]) for one in runs if one.added]
        for name, runs in found.items()
    }
    (args.out / "added.svg").write_text(added_svg(lines))
    figures = {name: [asdict(one) for one in runs] for name, runs in found.items()}
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1))
    print(f"\nplot and figures: {args.out}")


def names(known: tuple[str, ...]):
    """A parser of a comma-separated list of known names."""

    def parse(text: str) -> list[str]:
        given = text.split(",")
        if unknown := set(given) - set(known):
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {known}")
        return given

    return parse


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    counts = lambda text: [int(one) for one in text.split(",")]  # noqa: E731
    parser.add_argument("--calls", type=counts, default=[25, 50, 100])
    parser.add_argument("--over", type=names(OVER), default=["binary"])
    parser.add_argument("--systems", type=names(NAMES), default=["blab", "bare"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--flame", action="store_true")
    parser.add_argument(
        "--silent", action="store_true", help="what the calls cost that say nothing"
    )
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M")
    args.out = args.out or args.cache / f"density-{stamp}"
    for folder in (args.cache, args.out):
        folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(args))


if __name__ == "__main__":
    main()
