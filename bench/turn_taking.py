"""What each part of turn taking is worth, on a clock that does not wait.

    python -m bench.turn_taking [--report held|tuned|all] [--parts]

The calls of ``bench.conversation`` (without echo and television) played to the conversation's core:
real voice activity, real texts and turn probabilities of the embedded engines, but fixed times for
everything that works, so that a busy machine does not change the figures. The gap is from the
caller's last voiced tick to the first sample of the answer, as on the telephone. ``--parts`` adds a
row for each part switched off (``session.blab.turn_taking``). What the engines say is computed once
and kept in ``--cache``.
"""

import argparse
import asyncio
import heapq
import itertools
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.conversation import scenarios
from bench.conversation.judge import TICK, Samples
from media.formats import HEARING_RATE, SAMPLE_BYTES
from media.g711 import decode_ulaw, encode_ulaw
from media.resample import resample
from media.vad import SileroModel, VoiceDetector, level_of
from pipelines.engines.base import (
    StreamingTranscriber,
    Transcriber,
    TranscriptionStream,
    TurnDetector,
)
from pipelines.engines.engine import EngineSettings
from pipelines.engines.transcription import moonshine, smart_turn, vosk
from sessions.core.commands import (
    CancelReply,
    Command,
    DropTranscription,
    FinishTranscription,
    PausePlayout,
    ReleaseReply,
    ResumePlayout,
    ScoreTurn,
    StartReply,
    StartTranscription,
    StopPlayout,
)
from sessions.core.config import SessionConfig, TurnTakingSettings
from sessions.core.conversation import Conversation
from sessions.core.events import (
    CallStarted,
    ClauseReady,
    ClauseStarted,
    Event,
    FinalTranscript,
    PartialTranscript,
    PlayoutFinished,
    PlayoutPaused,
    PlayoutStopped,
    ReplyClause,
    ReplyGenerated,
    Tick,
    TurnScored,
    VoiceWindow,
)
from sessions.core.states import State

MODELS = Path(__file__).parents[1] / ".blab" / "models"
RATE = 8_000
WINDOW = 512
CHUNK = 1_600
"""Samples that the recogniser of partial texts is given at once."""

# Seconds, as on two cores with nothing else to do; the chat model is the bench's: 0.25 s to the
# first token, one more to end the clause.
PARTIAL, FINAL, SCORE, CLAUSE, SPEECH = 0.05, 0.13, 0.04, 0.30, 0.09
LINE = 0.03
"""To the caller's ear, and 20 ms to ours."""
HEARING = 0.02
SHORT, LONG = 1.6, 16.0
"""Lengths of the answers."""
STOPPED = 0.4
"""Silence that is the end of an answer."""

COUNTED = ("texts", "begun", "cancelled")
"""Final texts requested, replies begun, and those of them that were cancelled."""

Key = tuple[str, str, int, int]
"""What is asked of an engine: kind, recording, and positions relative to its beginning."""


@dataclass
class Engines:
    """Those that hear."""

    partial: StreamingTranscriber
    final: Transcriber
    detector: TurnDetector


async def engines() -> Engines:
    """Load the embedded ones."""
    settings = EngineSettings(models_dir=MODELS)
    return Engines(
        await vosk.ENGINE.load(settings),
        await moonshine.ENGINE.load(settings),
        await smart_turn.ENGINE.load(settings),
    )


class Results:
    """What the engines say, from the cache or from them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[Key, Any] = pickle.loads(path.read_bytes()) if path.exists() else {}
        self._engines: Engines | None = None

    async def of(self, key: Key, compute: Callable[[Engines], Any]) -> Any:
        """The result for ``key``; ``compute`` makes an awaitable of it where it is not known."""
        if key not in self._known:
            if self._engines is None:
                self._engines = await engines()
            self._known[key] = await compute(self._engines)
        return self._known[key]

    def keep(self) -> None:
        """Write down what is known."""
        self._path.write_bytes(pickle.dumps(self._known))


@dataclass
class Playback:
    """A reply as it is played; times in seconds."""

    length: float
    ready: bool = False
    released: bool = False
    dead: bool = False
    played: float = 0.0
    since: float | None = None
    """Since when it sounds; None: it does not."""
    begun: bool = False


@dataclass
class Line:
    """A telephone call with the core at its other end."""

    config: SessionConfig
    results: Results
    vad: VoiceDetector
    core: Conversation = field(default_factory=lambda: Conversation("c"))
    long: bool = False
    """The chat model's next answer is long."""
    audio: bytearray = field(default_factory=bytearray)
    track: list[tuple[float, bool]] = field(default_factory=list)
    """When the caller began and ceased to hear the agent."""
    replies: dict[int, Playback] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    _said: list[tuple[int, str]] = field(default_factory=lambda: [(0, "silence")])
    _turns: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Open transcriptions: start, and samples that the partial text covers."""
    _streams: dict[int, tuple[TranscriptionStream, int]] = field(default_factory=dict)
    _due: list[tuple[float, int, Callable[[float], Any]]] = field(default_factory=list)
    _number: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def position(self) -> int:
        """Samples heard."""
        return len(self.audio) // SAMPLE_BYTES

    @property
    def now(self) -> float:
        """Seconds since the call began."""
        return self.position / HEARING_RATE

    @property
    def silent(self) -> bool:
        """Whether the agent has said all it is going to say."""
        idle = all(reply.since is None for reply in self.replies.values())
        return idle and self.core.state is State.LISTENING

    async def say(self, samples: Samples, name: str) -> float:
        """Speak; returns when it began."""
        begun = self.now
        self._said.append((self.position, name))
        pcm = resample(decode_ulaw(encode_ulaw(samples.tobytes())), RATE, HEARING_RATE)
        await self._hear(pcm + bytes(-len(pcm) % (WINDOW * SAMPLE_BYTES)))
        return begun

    async def listen(self, seconds: float) -> None:
        """Say nothing."""
        await self._hear(bytes(round(seconds * HEARING_RATE / WINDOW) * WINDOW * SAMPLE_BYTES))

    async def _hear(self, pcm: bytes) -> None:
        width = WINDOW * SAMPLE_BYTES
        for start in range(0, len(pcm), width):
            window = pcm[start : start + width]
            self.audio += window
            now = self.now + HEARING
            await self._run_until(now)
            for voice in self.vad.windows(window):
                level = round(level_of(window), 1)
                await self._feed(VoiceWindow(self.position, voice, level, 0.0), now)
            for turn in list(self._turns):
                await self._transcribe(turn, now)

    async def _transcribe(self, turn: int, now: float) -> None:
        start, covered = self._turns[turn]
        if self.position - start - covered < CHUNK:
            return
        covered = (self.position - start) // CHUNK * CHUNK
        self._turns[turn] = start, covered

        async def compute(engines: Engines) -> str:
            stream, fed = self._streams.get(turn, (None, 0))
            if stream is None:
                stream = await engines.partial.open()
            text = ""
            while fed < covered:
                text = await stream.accept(self._cut(start + fed, start + fed + CHUNK))
                fed += CHUNK
            self._streams[turn] = stream, fed
            return text

        text = await self.results.of(self._key("partial", start, start + covered), compute)
        self._later(now + PARTIAL, PartialTranscript(turn, text, start + covered))

    def _key(self, kind: str, start: int, end: int) -> Key:
        begun, name = [said for said in self._said if said[0] <= end][-1]
        return kind, name, start - begun, end - begun

    def _cut(self, start: int, end: int) -> bytes:
        return bytes(self.audio[start * SAMPLE_BYTES : end * SAMPLE_BYTES])

    def _close(self, turn: int) -> None:
        if turn in self._streams:
            self._streams.pop(turn)[0].close()

    def end(self) -> None:
        """Give the recognisers back."""
        for turn in list(self._streams):
            self._close(turn)

    # ------------------------------------------------------------------ the core

    def _later(self, when: float, event: Event) -> None:
        async def feed(now: float) -> None:
            await self._feed(event, now)

        self._at(when, feed)

    def _at(self, when: float, act: Callable[[float], Any]) -> None:
        heapq.heappush(self._due, (when, next(self._number), act))

    async def _run_until(self, now: float) -> None:
        while True:
            deadline = self.core.next_deadline()
            first = self._due[0][0] if self._due else now + 1
            if deadline is not None and deadline <= min(first, now):
                await self._feed(Tick(), deadline)
            elif first <= now:
                when, _, act = heapq.heappop(self._due)
                await act(when)
            else:
                return

    async def _feed(self, event: Event, now: float) -> None:
        for command in self.core.handle(event, now):
            await self._carry_out(command, now)

    async def begin(self) -> None:
        """The call comes in."""
        await self._feed(CallStarted(self.config), 0.0)

    async def _carry_out(self, command: Command, now: float) -> None:
        match command:
            case StartTranscription(turn, position):
                self._turns[turn] = position, 0
            case DropTranscription(turn):
                self._turns.pop(turn, None)
                self._close(turn)
            case FinishTranscription(turn, position) if turn in self._turns:
                self.counts["texts"] += 1
                start = self._turns[turn][0]
                pcm = self._cut(start, position) + bytes(CHUNK * SAMPLE_BYTES)
                heard = await self.results.of(
                    self._key("final", start, position),
                    lambda engines: engines.final.transcribe(pcm),
                )
                self._later(now + FINAL, FinalTranscript(turn, heard.text, position))
            case ScoreTurn(turn, position) if turn in self._turns:
                start = self._turns[turn][0]
                pcm = self._cut(start, position)
                probability = await self.results.of(
                    self._key("score", start, position),
                    lambda engines: engines.detector.score(pcm),
                )
                self._later(now + SCORE, TurnScored(turn, position, probability))
            case _:
                self._play(command, now)

    # ------------------------------------------------------------------ replies

    def _play(self, command: Command, now: float) -> None:
        match command:
            case StartReply(reply=number):
                self.counts["begun"] += 1
                self.replies[number] = Playback(LONG if self.long else SHORT)
                self._later(now + CLAUSE, ClauseReady(number))
                self._at(now + CLAUSE + SPEECH, lambda when: self._spoken(number, when))
            case ReleaseReply(number):
                self.replies[number].released = True
                self._sound(number, now)
            case CancelReply(number):
                self.counts["cancelled"] += 1
                self.replies[number].dead = True
            case PausePlayout(number):
                self._halt(number, now)
                heard = round(self.replies[number].played * RATE)
                self._later(now, PlayoutPaused(number, heard, heard))
            case ResumePlayout(number):
                self._sound(number, now)
            case StopPlayout(number):
                self._halt(number, now)
                self.replies[number].dead = True
                heard = round(self.replies[number].played * RATE)
                self._later(now, PlayoutStopped(number, heard, heard))

    async def _spoken(self, number: int, now: float) -> None:
        reply = self.replies[number]
        if reply.dead:
            return
        reply.ready = True
        text = "Certainly, here is what I can say about that. "
        await self._feed(ReplyClause(number, text, round(reply.length * RATE), RATE), now)
        await self._feed(ReplyGenerated(number, 20, 10), now)
        if reply.released:
            self._sound(number, now)

    def _sound(self, number: int, now: float) -> None:
        reply = self.replies[number]
        if reply.dead or not reply.ready or reply.since is not None:
            return
        reply.since = now
        self.track.append((now + LINE, True))
        if not reply.begun:
            reply.begun = True
            self._later(now, ClauseStarted(number, 0))

        async def end(when: float) -> None:
            if reply.since == now:
                self._halt(number, when)
                reply.dead = True
                await self._feed(PlayoutFinished(number, round(reply.length * RATE)), when)

        self._at(now + reply.length - reply.played, end)

    def _halt(self, number: int, now: float) -> None:
        reply = self.replies[number]
        if reply.since is not None:
            reply.played += now - reply.since
            reply.since = None
            self.track.append((now + LINE, False))


@dataclass(frozen=True)
class Outcome:
    """Of one turn; seconds. None: not measured."""

    kind: str
    gap: float | None
    paused: bool
    stopped: float | None = None
    held: float | None = None


async def turn(line: Line, script: scenarios.Turn, suffix: str, room: Samples | None) -> Outcome:
    """Say it, hear the answer, and say what comes over that."""
    asked, line.long = script.asked, script.kind != "question"
    samples = asked.samples
    if room is not None:
        samples = np.clip(samples.astype(int) + np.resize(room, len(samples)), -32768, 32767)
    begun = await line.say(samples.astype(np.int16), asked.name + suffix)
    first, last = (begun + tick * TICK for tick in (asked.voiced.first, asked.voiced.last + 1))
    cut = any(sounds and first < when < last for when, sounds in line.track)
    answer: float | None = None
    while answer is None and line.now < last + 8:
        await line.listen(0.032)
        answer = next((when for when, sounds in line.track if sounds and when > last), None)
    gap = None if cut or answer is None else answer - last
    stopped = held = None
    if script.over is not None and answer is not None:
        await line.listen(script.into * TICK)
        before = len(line.track)
        over = await line.say(script.over.samples, script.over.name)
        await line.listen(3.5)
        silences = gaps(line.track[before:])
        onset = over + script.over.voiced.first * TICK
        if script.kind == "interruption":
            stopped = next((a - onset for a, b in silences if b - a >= STOPPED), float("inf"))
        else:
            held = max((b - a for a, b in silences), default=0.0)
    while not line.silent and line.now < last + 40:
        await line.listen(0.032)
    await line.listen(1.2)
    return Outcome(script.kind, gap, asked.pause is not None, stopped, held)


def gaps(track: list[tuple[float, bool]]) -> list[tuple[float, float]]:
    """The silences of a track that begins while the agent speaks; the last may be endless."""
    found, since = [], None
    for when, sounds in track:
        if sounds and since is not None:
            found.append((since, when))
        since = None if sounds else when
    return [*found, (since, float("inf"))] if since is not None else found


async def measure(
    half: str, settings: TurnTakingSettings, results: Results
) -> tuple[list[Outcome], dict[str, int]]:
    """Play the calls of a half."""
    outcomes, counts = [], dict.fromkeys(COUNTED, 0)
    silero = SileroModel(MODELS / "silero-vad" / "silero_vad.onnx")
    for call in scenarios.calls(half):
        if any(word in call.name for word in ("echo", "television")):
            continue
        line = Line(SessionConfig(turn_taking=settings), results, VoiceDetector(silero))
        await line.begin()
        await line.listen(1.0)
        for script in call.turns:
            suffix = "/noise" if call.room.background is not None else ""
            outcomes.append(await turn(line, script, suffix, call.room.background))
        line.end()
        counts = {name: counts[name] + line.counts[name] for name in counts}
    return outcomes, counts


def row(name: str, outcomes: list[Outcome], counts: dict[str, int]) -> str:
    """A line of the table."""
    asked = [one for one in outcomes if one.kind == "question"]
    answered = [one.gap for one in asked if one.gap is not None]
    paused = [one.gap for one in asked if one.gap is not None and one.paused]
    stops = [one.stopped for one in outcomes if one.stopped is not None]
    held = [one.held for one in outcomes if one.held is not None]
    cells = (
        name,
        f"{_two(answered)}",
        f"{_two(paused)}",
        f"{len(asked) - len(answered)} of {len(asked)}",
        _two(stops),
        f"{max(held, default=0):.2f}",
        f"{counts['texts']} / {counts['begun']} / {counts['cancelled']}",
    )
    return f"| {' | '.join(cells)} |"


def _two(values: list[float]) -> str:
    return " / ".join(f"{np.percentile(values, q, method='higher'):.2f}" for q in (50, 95))


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", choices=("tuned", "held", "all"), default="held")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--cache", type=Path, default=MODELS.parent / "bench" / "turn_taking")
    args = parser.parse_args()
    args.cache.parent.mkdir(parents=True, exist_ok=True)
    names = [one.name for one in fields(TurnTakingSettings) if one.name != "partial_speculation"]
    rows = {"as it is": TurnTakingSettings()}
    if args.parts:
        rows |= {f"without `{name}`": TurnTakingSettings(**{name: False}) for name in names}
        rows["with `partial_speculation`"] = TurnTakingSettings(partial_speculation=True)
    rows["without any"] = TurnTakingSettings(**dict.fromkeys(names, False))
    results = Results(args.cache)
    print(
        "| | gap p50 / p95 s | after a pause | cut off or not answered | silent after an "
        "interruption p50 / p95 | held by a sound, max | texts / replies begun / cancelled |\n"
        f"{'|---' * 7}|"
    )
    try:
        for name, settings in rows.items():
            print(row(name, *await measure(args.report, settings, results)), flush=True)
    finally:
        results.keep()


if __name__ == "__main__":
    asyncio.run(main())
