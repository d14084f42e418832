"""A conversation as a caller has it, with Blab, Pipecat and LiveKit Agents on the same engines.

    python -m bench.conversation [--systems blab,pipecat,livekit] [--turns N] [--report held]
        [--ablation NAME=VALUE …]
    python -m bench.conversation --over webrtc [--loss 2] [--jitter 30]
    python -m bench.conversation --again FOLDER

Scripted callers telephone (Twilio's media streams, 8 kHz) in real time; a judge measures on the
two tracks of each call. The systems take turns call by call, so that whatever else the machine does
hits all alike. The tracks, the plot and the figures go to ``--out``. ``--ablation`` adds a column:
Blab with a variable of its environment or a part of the session changed (``systems.Variation``).
``--over webrtc`` calls Blab alone as a browser does, over a network with ``--loss`` percent of
packets lost and up to ``--jitter`` ms of delay. The peers as they are set up have no such door.
``--again`` judges the tracks of a run once more.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import wave
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.conversation import scenarios
from bench.conversation.caller import HungUp, Telephone
from bench.conversation.chat_model import ChatModel
from bench.conversation.decisions import decision, events
from bench.conversation.judge import (
    RATE,
    Exchange,
    Samples,
    Span,
    Summary,
    Undisturbed,
    Verdict,
    audible,
    undisturbed,
    verdict,
)
from bench.conversation.plot import gaps_svg
from bench.conversation.systems import NAMES, ROOT, System, Variation, running
from bench.conversation.webrtc import Browser
from bench.figures import machine
from bench.webrtc_loss import Network

CACHE = ROOT / ".blab" / "bench"
WORST = 12
LOG_TENTHS = 100


async def call(
    system: System, script: scenarios.Call, chat: ChatModel, network: Network | None = None
) -> tuple[list[Exchange], tuple[Samples, Samples]]:
    """Play one call, over WebRTC where there is a ``network``; raises HungUp."""
    address = await system.address("telephone" if network is None else "webrtc")
    telephone = (
        Telephone(address, script.room)
        if network is None
        else Browser(address, script.room, network)
    )
    played: list[Exchange] = []

    async def speak(line: Telephone) -> None:
        played.extend(await scenarios.play(line, script, chat))

    await telephone.run(speak)
    return played, telephone.tracks


def judged(
    played: list[Exchange], agent: Samples, answer: Undisturbed | None
) -> tuple[list[Verdict], Undisturbed | None]:
    """The verdicts of a call, and the undisturbed answer where it has one."""
    heard = audible(agent)
    for exchange in played:
        if exchange.kind == "undisturbed":
            answer = undisturbed(heard, exchange) or answer
    long = {one.kind for one in played} - {"question", "interruption"}
    return [verdict(heard, one, answer if one.kind in long else None) for one in played], answer


def keep(folder: Path, name: str, played: list[Exchange], tracks: tuple[Samples, Samples]) -> None:
    """A WAV file, the caller on the left, and the script beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with wave.open(str(folder / f"{name}.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.stack(tracks, axis=1).astype("<i2").tobytes())
    script = [dataclasses.asdict(one) for one in played]
    (folder / f"{name}.json").write_text(json.dumps(script, indent=1))


def kept(folder: Path) -> Iterator[tuple[Path, list[Exchange], Samples]]:
    """(WAV file, script, the agent's track) of each call of a system, in order."""
    for path in sorted(folder.glob("*.wav")):
        with wave.open(str(path)) as file:
            both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        script = json.loads(path.with_suffix(".json").read_text())
        for one in script:
            for name in ("asked", "pause", "over"):
                one[name] = Span(**one[name]) if one[name] else None
        yield path, [Exchange(**one) for one in script], both[:, 1].astype(np.int16)


def judge_again(out: Path) -> dict[str, Summary]:
    """The figures of a run, from its folder; calls that broke off are not in it."""
    summaries: dict[str, Summary] = {}
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        answer: Undisturbed | None = None
        summary = summaries.setdefault(folder.name, Summary())
        for path, played, agent in kept(folder):
            verdicts, answer = judged(played, agent, answer)
            summary.verdicts += explained(verdicts, played, path.with_suffix(".jsonl"))
    return summaries


def explained(verdicts: list[Verdict], played: list[Exchange], log: Path) -> list[Verdict]:
    """The verdicts with Blab's reasons, where it has left its log."""
    if not log.exists():
        return verdicts
    steps = events(log)
    return [
        dataclasses.replace(one, why=decision(steps, exchange))
        for one, exchange in zip(verdicts, played, strict=True)
    ]


async def take_log(system: System, before: set[Path], target: Path) -> None:
    """Move the event log of the call that has just ended; it is written behind the call."""
    if system.blab is None:
        return
    for _ in range(LOG_TENTHS):
        for log in system.blab.logs() - before:
            if is_complete(log):
                log.replace(target)
                return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"{system.name} has not completed the log of its call")


def is_complete(log: Path) -> bool:
    """Whether its last line has been written."""
    return log.read_bytes().rstrip().rpartition(b"\n")[2].startswith(b'{"end"')


def table(summaries: dict[str, Summary]) -> str:
    """Markdown: a row per figure, a column per system."""
    columns = {name: summary.rows() for name, summary in summaries.items()}
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in next(iter(columns.values())):
        lines.append(f"| {row} | {' | '.join(rows[row] for rows in columns.values())} |")
    return "\n".join(lines)


def short(one: Verdict) -> str:
    """Kind, name and gap."""
    return f"{one.kind} {one.name} {'cut off' if one.gap is None else f'{one.gap:.2f} s'}"


def worst(name: str, summary: Summary) -> str:
    """The turns to look at first: cut off, never answered, slow; what was understood of them."""
    asked = sorted(summary.verdicts, key=lambda one: -99 if one.gap is None else -one.gap)
    lines = [f"{name}: the worst turns", ""]
    for one in asked[:WORST]:
        lines.append(f"- {short(one)}, {one.requests} requests, heard {one.heard!r}")
        lines += [f"  ({one.why})"] if one.why else []
    for one in summary.verdicts:
        if one.lost or one.again or one.held:
            what = "lost" if one.lost else "followed by another answer" if one.again else "held"
            lines.append(f"- {one.kind} {one.name}: answer {what} {one.held or ''}".rstrip())
            lines += [f"  ({one.why})"] if one.why else []
    return "\n".join(lines)


async def measure(args: argparse.Namespace) -> dict[str, Summary]:
    """Play every call with every system."""
    script = scenarios.calls(args.report, args.turns)
    if args.only:
        script = [script[0], *(one for one in script[1:] if args.only in one.name)]
    names = [name for name in args.systems.split(",") if name]
    variations = [Variation(text) for text in args.ablation]
    summaries: dict[str, Summary] = {}
    answers: dict[str, Undisturbed | None] = {}
    async with (
        ChatModel.serving() as chat,
        running(names, variations, chat.url, args.cache) as systems,
    ):
        for number, one in enumerate(script):
            for system in systems:
                summary = summaries.setdefault(system.name, Summary())
                place = f"{number:02d} {one.name}, {system.name}"
                before = system.blab.logs() if system.blab is not None else set()
                try:
                    played, tracks = await call(system, one, chat, args.network)
                except HungUp as error:
                    print(f"{place}: {error}", flush=True)
                    summary.failed += 1
                    continue
                verdicts, answers[system.name] = judged(played, tracks[1], answers.get(system.name))
                folder = args.out / system.name.replace("/", "_")
                keep(folder, f"{number:02d}", played, tracks)
                log = folder / f"{number:02d}.jsonl"
                await take_log(system, before, log)
                summary.verdicts += explained(verdicts, played, log)
                print(f"{place}: {'; '.join(map(short, verdicts))}", flush=True)
    return summaries


def main() -> None:
    """Print the table, write the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", default=",".join(NAMES))
    parser.add_argument("--turns", type=int, help="so many questions, the rest in proportion")
    parser.add_argument("--report", choices=("tuned", "held", "all"), default="held")
    parser.add_argument("--ablation", action="append", default=[], metavar="NAME=VALUE[,…]")
    parser.add_argument("--over", choices=("telephone", "webrtc"), default="telephone")
    parser.add_argument("--loss", type=float, default=2.0, metavar="PERCENT")
    parser.add_argument("--jitter", type=float, default=30.0, metavar="MS")
    parser.add_argument("--only", help="calls with this in their name: a voice, a variant")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="an --out of a run before")
    args = parser.parse_args()
    if args.again is not None:
        report(judge_again(args.again), args.again)
        return
    args.network = None
    if args.over == "webrtc":
        args.systems = "blab"
        name = f"{args.loss:g} % loss, {args.jitter:g} ms jitter"
        args.network = Network(name, args.loss / 100, jitter=args.jitter / 1000, overtaking=True)
    unknown = set(args.systems.split(",")) - {*NAMES, ""}
    if unknown:
        parser.error(f"no system {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    for folder in ("blab", *(f"blab-{n + 1}" for n in range(len(args.ablation)))):
        (args.cache / folder).mkdir(parents=True, exist_ok=True)
    args.out = args.out or args.cache / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M")
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}", flush=True)
    summaries = asyncio.run(measure(args))
    print(f"\n{args.report}, load {os.getloadavg()[0]:.1f}")
    report(summaries, args.out)


def report(summaries: dict[str, Summary], out: Path) -> None:
    """Print the worst turns and the table, write the verdicts and the plot."""
    figures = {name: [dataclasses.asdict(v) for v in s.verdicts] for name, s in summaries.items()}
    (out / "verdicts.json").write_text(json.dumps(figures, indent=1))
    (out / "gaps.svg").write_text(gaps_svg({n: s.gaps() for n, s in summaries.items()}))
    for name, summary in summaries.items():
        print(f"\n{worst(name, summary)}")
    print(f"\n{table(summaries)}\n\ntracks, verdicts and plot: {out}")


if __name__ == "__main__":
    main()
