"""The agent hears its own voice: how many of its replies does that cut?

    python -m bench.own_echo [--replies 16] [--seconds 12] [--levels=-12,-18,-24,-30] [--one-call]

Whole sessions (``LiveSession``, the real voice detector) on a virtual clock. The caller's
loudspeaker is in a room with the microphone: the reply comes back a given number of dB quieter, 20
to 400 ms later, slightly clipped, coloured, with a tail of 0.2 to 0.5 s, through µ-law in every
third call, in a little noise. The recogniser is the worst possible: it makes new words of
everything it hears. ``cancelled`` counts replies that were cut, ``pauses`` playouts that were
paused, ``starts`` turns of a caller who says nothing. Then the caller speaks over the echo:
``held`` and ``cut`` are the milliseconds from the caller's first voiced window (heard alone) to the
pause and to the cancelled reply.

The detector was tuned on the tests' recordings; ``--audio DIRECTORY`` uses others.
"""

import argparse
import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.figures import machine, percentiles
from gateway.caller import Recording
from gateway.channels.wire.wire_format import RealtimeWireFormat
from media.formats import HEARING_RATE, AudioFormat
from media.resample import resample
from media.vad import WINDOW_MS, SileroModel, VoiceDetector
from pipelines.engines.base import Transcription
from pipelines.engines.scripted.live import ScriptedEngines, ScriptedTranscriber, scripted_engines
from sessions.channel import Piece, ServerEvent
from sessions.core.commands import Command, RecordTurn
from sessions.core.config import Extension, SessionConfig
from sessions.core.events import Event
from sessions.live import LiveSession
from tests.support.paths import AUDIO
from tests.support.sessions.virtual_clock import run

SILERO = Path(__file__).parents[1] / ".blab" / "models" / "silero-vad" / "silero_vad.onnx"
RATE = 24_000
FRAME = RATE // 50
REPLY_DB = -20.0
NOISE_DB = -65.0
STARTED = "input_audio_buffer.speech_started"
CALLERS = "joe_stop,lv_0930,joe_q_hours,joe_yes,joe_q_book,lv_0880"
WORDS = "table river monday copper seven window garden bishop lantern forty velvet engine".split()
CONFIG = SessionConfig(
    input_format=AudioFormat(rate=RATE),
    output_format=AudioFormat(rate=RATE),
    extensions=frozenset({Extension.PLAYOUT}),
)

Floats = npt.NDArray[np.float64]


def at_level(samples: Floats, db: float) -> Floats:
    """The signal, scaled so that its loud 20 ms frames have that power (dBFS)."""
    parts = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(parts).mean(axis=1)
    scaled: Floats = samples * 10 ** (db / 20) / np.sqrt(power[power > power.max() / 1000].mean())
    return scaled


def recording(path: Path, db: float) -> Floats:
    """A recording at ``RATE``."""
    samples = Recording.read(path, RATE).samples.astype(np.float64) / 32768
    return at_level(samples, db)


def reply_of(seed: int, seconds: float, audio: Path = AUDIO, glob: str = "*.wav") -> Floats:
    """Recordings in a row, different ones for every seed."""
    rng, parts, length = np.random.default_rng(seed), list[Floats](), 0
    paths = sorted(audio.glob(glob))
    while length < seconds * RATE:
        parts += [recording(paths[rng.choice(len(paths))], REPLY_DB)]
        parts.append(np.zeros(rng.integers(2400, 8400)))
        length = sum(map(len, parts))
    return np.concatenate(parts)[: int(seconds * RATE)]


@dataclass
class Room:
    """Loudspeaker, air and microphone."""

    db: float
    seed: int

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.delay = round(rng.uniform(0.02, 0.4) * RATE)
        tail = rng.normal(size=(length := round(rng.uniform(0.2, 0.5) * RATE)))
        tail *= 10 ** (-3 * np.arange(length) / length)
        tail[:120] = 0
        tail /= np.sqrt(np.square(tail).sum())
        tail[0] = 10 ** (rng.uniform(-3, 6) / 20)
        frequencies = np.fft.rfftfreq(32_768, 1 / RATE)
        points, gains = [0, 150, 400, 1000, 2000, 3500, 12_000], rng.uniform(-6, 6, 3)
        colour = 10 ** (np.interp(frequencies, points, [-25, -12, *gains, -3, -20]) / 20)
        answer = np.fft.irfft(np.fft.rfft(tail, 32_768) * colour)[:RATE]
        loud = self._played(answer, at_level(reply_of(10_000, 3), REPLY_DB))
        gain = at_level(loud, REPLY_DB + self.db)
        self.answer = answer * float(np.abs(gain).sum() / np.abs(loud).sum())
        self._rng = rng
        self.mu_law = self.seed % 3 == 2

    @staticmethod
    def _played(answer: Floats, samples: Floats) -> Floats:
        size = 1 << (len(samples) + len(answer)).bit_length()
        spectrum = np.fft.rfft(np.tanh(2 * samples) / 2, size) * np.fft.rfft(answer, size)
        heard: Floats = np.fft.irfft(spectrum, size)[: len(samples)]
        return heard

    def frame(self, played: Floats, said: Floats) -> bytes:
        """The microphone's output: ``played`` are the last samples up to the delay."""
        echo = self._played(self.answer, played)[-FRAME:]
        heard = echo + said + self._rng.normal(size=FRAME) * 10 ** (NOISE_DB / 20)
        if self.mu_law:
            steps = np.round(np.sign(heard) * np.log1p(255 * np.abs(heard)) / np.log(256) * 128)
            heard = np.sign(steps) * (256 ** np.abs(steps / 128) - 1) / 255
        return np.clip(heard * 32768, -32768, 32767).astype("<i2").tobytes()


class RoomChannel:
    """Implements sessions.channel.Channel: a caller with a loudspeaker, a microphone, a mouth."""

    name = "room"
    lead_ms = 200
    dropped = False
    missed = 0
    input_rate = output_rate = RATE
    downlink = 0.03
    """Seconds that audio and commands take to reach the caller."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, Floats]] = deque()
        self._waiting = np.zeros(0)
        self._flush_at: float | None = None
        self._played = np.zeros(RATE)
        self._said = np.zeros(0)
        self.said_at = 0.0
        """When the caller last began to speak."""
        self.events: list[tuple[float, ServerEvent]] = []
        self.inbox: deque[Mapping[str, Any]] = deque()
        self.open = True

    async def incoming(self) -> AsyncIterator[bytes | Mapping[str, Any]]:
        due = self._loop.time()
        while self.open:
            due += FRAME / RATE
            await asyncio.sleep(due - self._loop.time())
            while self.inbox:
                yield self.inbox.popleft()
            yield self._frame(due)

    def say(self, samples: Floats) -> None:
        self._said, self.said_at = samples, self._loop.time()

    def play(self, piece: Piece) -> None:
        samples = np.frombuffer(piece.pcm, "<i2").astype(np.float64) / 32768
        self._queue.append((self._loop.time() + self.downlink, samples))

    def flush(self) -> None:
        self._flush_at = self._loop.time() + self.downlink

    def played(self) -> int | None:
        return None

    def send(self, event: ServerEvent) -> None:
        self.events.append((self._loop.time(), event))

    def configure(self, config: SessionConfig) -> None: ...

    async def close(self, reason: str) -> None: ...

    def _frame(self, now: float) -> bytes:
        if self._flush_at is not None and now >= self._flush_at:
            keep = [entry for entry in self._queue if entry[0] > self._flush_at]
            self._queue, self._waiting, self._flush_at = deque(keep), np.zeros(0), None
        while self._queue and self._queue[0][0] <= now:
            self._waiting = np.concatenate((self._waiting, self._queue.popleft()[1]))
        played, self._waiting = self._waiting[:FRAME], self._waiting[FRAME:]
        said, self._said = self._said[:FRAME], self._said[FRAME:]
        self._played = np.concatenate((self._played[FRAME:], played, np.zeros(FRAME - len(played))))
        late = self._played[: len(self._played) - self._room.delay] if self._room.delay else played
        return self._room.frame(late, np.concatenate((said, np.zeros(FRAME - len(said)))))


class Inventor(ScriptedTranscriber):
    """Makes new words of everything it hears."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        super().__init__()

    def _text(self, number: int) -> str:  # noqa: ARG002 - each time others
        return " ".join(self._rng.choice(WORDS, 8))

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:  # noqa: ARG002
        return await self.finish(self._text(0))


@dataclass
class RecordedSpeaker:
    """Speaks a reply of ``seconds``, whatever the text."""

    replies: list[Floats]
    model_id: str = "recorded"
    sample_rate: int = RATE
    voices: tuple[str, ...] = ("default",)
    running: int = 0
    spoken: list[str] = field(default_factory=list)

    async def speak(
        self,
        text: str,
        *,
        voice: str = "default",  # noqa: ARG002 - there is one
        speed: float = 1.0,  # noqa: ARG002
        language: str = "en",  # noqa: ARG002
    ) -> AsyncGenerator[bytes, None]:
        self.spoken.append(text)
        reply = self.replies[min(len(self.spoken), len(self.replies)) - 1]
        for start in range(0, len(reply), RATE // 2):
            await asyncio.sleep(0)
            yield (reply[start : start + RATE // 2] * 32768).astype("<i2").tobytes()


class Nobody:
    """An observer."""

    def published(self, events: list[dict[str, Any]]) -> None: ...

    def recorded(self, turn: RecordTurn) -> None: ...

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None: ...


@dataclass
class Outcome:
    """The figures of one call."""

    replies: int = 0
    cancelled: int = 0
    pauses: int = 0
    starts: int = 0
    held: list[float] = field(default_factory=list)
    """Milliseconds; infinite if the caller was not heard."""
    cut: list[float] = field(default_factory=list)


async def call(
    room: Room, replies: list[Floats], vad: SileroModel, caller: Floats | None = None
) -> Outcome:
    """One call in which the agent speaks ``replies`` and the caller ``caller`` over each."""
    engines: ScriptedEngines = scripted_engines(answers=("one two three four five six seven",))
    engines.vad, engines.ears = vad, Inventor(room.seed)
    engines.voice = RecordedSpeaker(replies)  # type: ignore[assignment]
    channel, outcome = RoomChannel(room), Outcome()
    session = LiveSession("call", CONFIG, channel, RealtimeWireFormat("call"), engines, Nobody())
    running = asyncio.create_task(session.run())
    rng = np.random.default_rng(room.seed)
    for _ in replies:
        await asyncio.sleep(1.5)
        begun = len(channel.events)
        channel.inbox.append({"type": "response.create"})
        await _until(channel, begun, "blab.playout.started", 5)
        if caller is not None:
            await asyncio.sleep(rng.uniform(1.5, 4))
            mark = len(channel.events)
            channel.say(caller)
            onset = channel.said_at + _onset(caller, vad)
            for kind, times in (
                ("blab.playout.held", outcome.held),
                ("response.done", outcome.cut),
            ):
                came = await _until(channel, mark, kind, len(caller) / RATE + 1.5)
                times.append(((came or float("inf")) - onset) * 1000)
            await asyncio.sleep(len(caller) / RATE)
        await _until(channel, begun, "response.done", 30)
        came_in = [event for _, event in channel.events[begun:]]
        status = next(e["response"]["status"] for e in came_in if e["type"] == "response.done")
        outcome.replies += 1
        outcome.cancelled += status == "cancelled"
        outcome.pauses += sum(event["type"] == "blab.playout.held" for event in came_in)
        await asyncio.sleep(1.0)
        started = [event for _, event in channel.events[begun:] if event["type"] == STARTED]
        outcome.starts += len(started)
    channel.open = False
    session.hang_up("done")
    await running
    return outcome


async def _until(channel: RoomChannel, begun: int, kind: str, within: float) -> float | None:
    """When the first such event after number ``begun`` arrived."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while loop.time() < end:
        for at, event in channel.events[begun:]:
            if event["type"] == kind:
                return at
        await asyncio.sleep(0.01)
    return None


def _onset(caller: Floats, vad: SileroModel) -> float:
    """Seconds until the first voiced window of the speech."""
    pcm = (at_level(caller, -22) * 32768).astype("<i2").tobytes()
    heard = VoiceDetector(vad).windows(resample(pcm, RATE, HEARING_RATE))
    return next((n for n, voice in enumerate(heard) if voice > 0.5), 0) * WINDOW_MS / 1000


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--levels", default="-12,-18,-24,-30")
    parser.add_argument("--one-call", action="store_true")
    parser.add_argument("--callers", default="echo,0,6,alone")
    parser.add_argument("--audio", type=Path, default=AUDIO)
    parser.add_argument("--agent", default="*.wav", help="glob of the agent's recordings in it")
    parser.add_argument(
        "--voices", default=CALLERS, help="the callers' recordings, one per call in turn"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first room")
    args = parser.parse_args()
    print(machine())
    vad = SileroModel(SILERO)
    for level in map(float, args.levels.split(",")):
        for over in args.callers.split(","):
            total = Outcome()
            for seed in range(args.first, args.first + args.replies):
                room = Room(level if over != "alone" else -200.0, seed)
                numbers = range(seed, seed + (args.replies if args.one_call else 1))
                replies = [reply_of(n, args.seconds, args.audio, args.agent) for n in numbers]
                caller = None
                if over != "echo":
                    db = -24 if over == "alone" else REPLY_DB + level + float(over)
                    names = args.voices.split(",")
                    caller = recording(args.audio / f"{names[seed % len(names)]}.wav", db)
                found = run(call(room, replies, vad, caller))
                for name in ("replies", "cancelled", "pauses", "starts", "held", "cut"):
                    setattr(total, name, getattr(total, name) + getattr(found, name))
                if args.one_call:
                    break
            line = f"{level:+.0f} dB, caller {over}: {total.replies} replies, "
            line += f"{total.cancelled} cancelled, {total.pauses} pauses, {total.starts} starts"
            for name, times in (("held", total.held), ("cut", total.cut)):
                came = [time for time in times if np.isfinite(time)]
                if times:
                    p50, p95, most = percentiles(came or [0.0])
                    line += f"; {name} {p50:.0f}/{p95:.0f}/{most:.0f} ms"
                    line += f", never {len(times) - len(came)}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
