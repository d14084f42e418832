"""``blab talk FILE.wav``: speak a recording into a running server, print what happens."""

import argparse
import asyncio
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from gateway.caller import (
    CallEnded,
    Caller,
    CallerChannel,
    CallerWebRtc,
    CallerWebSocket,
    CallReport,
    Narrator,
    NoAnswer,
    Recording,
    TimedEvent,
    Utterance,
    demo_key,
    write_wav,
)
from gateway.caller.channels import CLIENT_RATE
from gateway.settings import Settings

DEADLINE_SECONDS = 30.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - recognised, not bound to


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab talk`` accepts."""
    parser.add_argument("file", type=Path, help="recorded speech, any format and rate")
    parser.add_argument("--url", help="the server (default: this machine's, from the settings)")
    parser.add_argument("--key", help="API or ephemeral key (default: one from the demo page)")
    parser.add_argument("--webrtc", action="store_true", help="call over WebRTC, not WebSocket")
    parser.add_argument("--base64", action="store_true", help="send WebSocket audio as JSON events")
    parser.add_argument(
        "--out", type=Path, metavar="WAV", help="write the audio heard, in real time"
    )
    parser.add_argument(
        "--json", action="store_true", help="print events and the report as JSON lines"
    )
    parser.add_argument("--interrupt", type=Path, metavar="FILE", help="play over the reply")
    parser.add_argument(
        "--at",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="how long after the reply becomes audible the interruption begins (default: 1)",
    )
    parser.add_argument("--instructions", help="the agent's instructions for this call")
    parser.add_argument(
        "--deadline",
        type=float,
        default=DEADLINE_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait for the reply (default: {DEADLINE_SECONDS:g})",
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Make the call; 0 if a reply was heard and nothing failed."""
    try:
        said = Recording.read(options.file, CLIENT_RATE)
        interruption = Recording.read(options.interrupt, CLIENT_RATE) if options.interrupt else None
    except (OSError, ValueError) as error:
        print(f"blab talk: {error}")
        return 2
    return asyncio.run(_call(options, server_url(options, settings), said, interruption))


def server_url(options: argparse.Namespace, settings: Settings) -> str:
    """``--url``, or this machine's server by the settings."""
    host = ANYWHERE.get(settings.host, settings.host)
    return str(options.url or f"http://{host}:{settings.port}")


async def _call(
    options: argparse.Namespace, url: str, said: Recording, interruption: Recording | None
) -> int:
    problem: str | None = None
    try:
        channel = await _connection(options, url)
    except CallEnded as error:
        print(f"blab talk: {error}")
        return 1
    narrator = Narrator(asyncio.get_running_loop().time(), print)
    on_event = _print_json if options.json else narrator.event
    on_audio = None if options.json else narrator.audio
    resume = partial(_connection, options, url)
    async with Caller(channel, on_event=on_event, on_audio=on_audio, resume=resume) as caller:
        first = second = None
        try:
            session = {
                "type": "realtime",
                "blab": {"events": ["latency", "language", "resumption"]},
            }
            if options.instructions:
                session["instructions"] = options.instructions
            await caller.send({"type": "session.update", "session": session})
            await caller.wait_for("session.updated", within=options.deadline)
            first = caller.say(said)
            narrator.spoken(first)
            await _finished(first, said.seconds + options.deadline)
            if interruption is not None:
                second = await _interrupt(caller, narrator, first, interruption, options)
            ended = max(u.end or 0.0 for u in (first, second) if u is not None)
            await caller.wait_settled(within=options.deadline, since=ended)
        except (NoAnswer, CallEnded) as error:
            problem = str(error)
    if first is None:
        print(f"blab talk: {problem}")
        return 1
    report = CallReport.of(caller, first, second)
    if options.out:
        write_wav(options.out, caller.player.heard(), CLIENT_RATE)
    _print_report(options, report, problem)
    return 0 if report.answered and problem is None else 1


async def _connection(
    options: argparse.Namespace, url: str, handle: str | None = None
) -> CallerChannel:
    """A connection of a new call, or of the one that a handle resumes; raises CallEnded."""
    key = options.key or await demo_key(url)
    if options.webrtc:
        return await CallerWebRtc.open(url, key, resume=handle)
    return await CallerWebSocket.open(url, key, binary=not options.base64, resume=handle)


async def _finished(utterance: Utterance, within: float) -> None:
    try:
        async with asyncio.timeout(within):
            await utterance.done.wait()
    except TimeoutError:
        raise NoAnswer("the recording could not be sent in time") from None


async def _interrupt(
    caller: Caller,
    narrator: Narrator,
    first: Utterance,
    interruption: Recording,
    options: argparse.Namespace,
) -> Utterance:
    audible = await caller.wait_audible(within=options.deadline, since=first.end or caller.start)
    await asyncio.sleep(audible + options.at - caller.now())
    second = caller.say(interruption)
    narrator.spoken(second)
    await _finished(second, interruption.seconds + options.deadline)
    return second


def _print_json(timed: TimedEvent) -> None:
    print(json.dumps({"at": round(timed.at, 4), **timed.event}), flush=True)


def _print_report(options: argparse.Namespace, report: CallReport, problem: str | None) -> None:
    if options.json:
        print(json.dumps({"type": "report", "problem": problem, **asdict(report)}))
        return
    print()
    if report.first_audio_ms is None:
        print("no reply was heard")
    else:
        print(f"first audible sample {report.first_audio_ms} ms after the end of speech")
    for stages in report.latencies:
        print("where the time went: " + ", ".join(f"{k} {v} ms" for k, v in stages.items()))
    print(f"heard {report.heard_ms} ms of reply, {report.flushed_ms} ms dropped unheard")
    if options.interrupt and report.stopped_ms is not None:
        print(f"the reply stopped {report.stopped_ms} ms after the interruption's onset")
    if options.out:
        print(f"audio heard: {options.out}")
    if problem:
        print(f"blab talk: {problem}")
