"""Where the server's time goes: py-spy's samples as collapsed stacks, by stage and by function.

The stacks (``frame;frame;frame count``) are what flamegraph.pl, speedscope.app and
``inferno-flamegraph`` read; py-spy itself can draw a flame graph instead. py-spy is installed with
pip into the bench's cache at the first run. A stage is recognised by the innermost frame that
belongs to one (``STAGES``).
"""

import asyncio
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

PY_SPY = "py-spy==0.4.*"
RATE = 250
"""Samples a second."""
TOP = 25

STAGES: Mapping[str, tuple[str, ...]] = {
    "voice network": ("silero", "_run (media/vad.py", "vad_batch"),
    "voice gate, windows": ("media/vad.py",),
    "level, echo": ("media/echo.py", "media/level.py"),
    "resampling": ("media/resample.py",),
    "G.711, Opus": ("media/g711.py", "media/opus.py"),
    "jitter buffer": ("media/jitter.py",),
    "recording": ("sessions/recording/", "sessions/event_log.py", "media/files/"),
    "hearing": ("sessions/speech/listening.py",),
    "core": ("sessions/core/",),
    "playout": ("sessions/speech/playout.py",),
    "reply": ("sessions/speech/reply_task.py", "sessions/speech/spoken_form.py"),
    "session": ("sessions/live.py", "sessions/host.py"),
    "events": ("gateway/channels/wire/", "sessions/remote.py", "store/bus.py", "redis/"),
    "journal": ("sessions/persistence.py", "store/", "asyncpg/", "pipelines/jobs/"),
    "carrier": ("gateway/channels/telephony/",),
    "WebRTC": ("gateway/channels/webrtc/", "aiortc/", "aioice/", "pylibsrtp/", "av/"),
    "WebSocket": (
        "gateway/channels/message_socket.py",
        "gateway/channels/websocket.py",
        "aiohttp/",
        "gateway/http/",
    ),
    "engines (scripted)": ("pipelines/",),
}
"""In this order: the first that the innermost known frame matches."""

_LINE = re.compile(r":\d+\)$")


async def py_spy(cache: Path) -> Path:
    """The program, installed if it is not there."""
    folder = cache / "py-spy"
    program = folder / "bin" / "py-spy"
    if not program.exists():
        command = [sys.executable, "-m", "pip", "install", "-qq", "--target", str(folder), PY_SPY]
        process = await asyncio.create_subprocess_exec(*command)
        if await asyncio.wait_for(process.wait(), 300) != 0:
            raise RuntimeError(f"{' '.join(command)} failed")
    return program


async def record(program: Path, pid: int, seconds: float, out: Path, core: int) -> None:
    """Sample a process for so long, into stacks, or a flame graph if ``out`` is an SVG; raises
    RuntimeError with what py-spy says."""
    form = "flamegraph" if out.suffix == ".svg" else "raw"
    process = await asyncio.create_subprocess_exec(
        *(str(program), "record", "-p", str(pid), "-d", str(int(seconds)), "-r", str(RATE)),
        *("-f", form, "-o", str(out), "--full-filenames"),
        "--nonblocking",  # else it would stop the server while it waits for a core itself
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    printed, _ = await asyncio.wait_for(process.communicate(), seconds + 60)
    if process.returncode != 0:
        raise RuntimeError(f"py-spy: {printed.decode()[-500:]}")
    if form == "flamegraph":
        strip_folders(out)


def strip_folders(path: Path) -> None:
    """Let the paths in a flame graph begin at the package, as ``shortened`` has them, and its title
    be its file's name instead of the command."""
    svg = re.sub(r"/[^()<\"]*?/(?:site-packages|lib/python3\.\d+)/", "", path.read_text())
    svg = svg.replace(f"{Path(__file__).parents[2]}/", "")
    svg = re.sub(r" \(/[^<)]*\.\.<", "..<", svg)  # labels that were cut inside a path
    svg = re.sub(r"(<text id=\"title\"[^>]*>)[^<]*", rf"\g<1>{path.stem}", svg)
    path.write_text(svg)


def report(stacks: Path, cpu_per_call: float) -> str:
    """Markdown: µs a call and 20 ms frame by stage, and the costliest functions.

    ``cpu_per_call``: percent of a core, which the shares divide."""
    stages: Counter[str] = Counter()
    own: Counter[str] = Counter()
    total = 0
    for line in stacks.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_LINE.sub(")", one) for one in stack.split(";")]
        if frames[-1].startswith(("_worker (", "Runner.run (")):  # a thread that waits
            continue
        total += int(count)
        stages[stage_of(frames)] += int(count)
        own[frames[-1]] += int(count)
    frame_us = cpu_per_call / 100 * 20_000
    lines = ["| stage | share | µs a frame of 20 ms |", "|---|---|---|"]
    for name, samples in stages.most_common():
        lines.append(f"| {name} | {samples / total:.1%} | {samples / total * frame_us:.1f} |")
    lines += ["", "| function, own time | share |", "|---|---|"]
    for name, samples in own.most_common(TOP):
        lines.append(f"| {shortened(name)} | {samples / total:.1%} |")
    return "\n".join(lines)


def stage_of(frames: list[str]) -> str:
    """The stage of the innermost frame that belongs to one."""
    for frame in reversed(frames):
        short = shortened(frame)
        for name, marks in STAGES.items():
            if any(mark in short for mark in marks):
                return name
    return "event loop"


def shortened(frame: str) -> str:
    """A frame with its path from the package on."""
    name, _, path = frame.partition(" (")
    path = re.sub(r"^.*(?:site-packages|lib/python3\.\d+|dist-packages)/", "", path)
    root = f"{Path(__file__).parents[2]}/"
    return f"{name} ({path.removeprefix(root)}"
