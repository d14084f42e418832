"""The recorder of one part of a call: both voices, each on a track of its own, and the event log.

Rules
- The call never waits. Encoding and writing happen in the recorder's own thread, behind a queue of
  at most ``QUEUE`` batches (about a minute). When that is full, or the disk fails, recording stops
  for good; the part is incomplete, and what was written stays.
- Both tracks begin with the part and are as long as it: silence is silence. The caller's has the
  samples that the core counted, the agent's what was heard, cut where playout was taken back.
- Times are those that the core received, so that ``CallClock`` puts everything where a reader of
  the event log finds it.
- A part is *withheld* until its caller has heard the agent's consent text to its end: if that never
  happens, or the process is killed before, it is deleted.
- ``close`` waits for the disk: call it off the event loop.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import av

from media.files.encode import Encoder
from media.formats import HEARING_RATE, SAMPLE_BYTES, milliseconds_of
from media.resample import Resampler
from sessions.core.commands import Command, Publish, StartReply
from sessions.core.config import SessionConfig
from sessions.core.events import CallResumed, CallStarted, Event, PlayoutHeard, VoiceWindow
from sessions.core.items import ReplyStatus
from sessions.core.notices import ReplyDone
from sessions.event_log import EventLogWriter

from .clock import CallClock
from .parts import AGENT_TRACK, CALLER_TRACK, EVENTS, Part, PartRecord

log = logging.getLogger(__name__)

AGENT_RATE = 24_000
"""Hz of the agent's track; the caller's has HEARING_RATE."""
QUEUE = 256
_BATCH = 24
"""Steps and pieces of audio that are passed on together: about a quarter of a second."""
_CLOSE_SECONDS = 10.0
_HELD = HEARING_RATE
"""So much of the agent's audio can still be taken back: no channel has a longer lead."""
_SILENCE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class _Window:
    window: VoiceWindow
    pcm: bytes
    now: float


@dataclass(frozen=True, slots=True)
class _Played:
    pcm: bytes
    rate: int
    at: float | None


@dataclass(frozen=True, slots=True)
class _Heard:
    at: float


@dataclass(frozen=True, slots=True)
class _TakenBack:
    samples: int


@dataclass(frozen=True, slots=True)
class _Allowed:
    """The caller has heard the consent text, or need not."""


@dataclass(frozen=True, slots=True)
class _Ended:
    now: float


_Step = _Window | _Played | _Heard | _TakenBack | _Allowed | _Ended


class CallRecorder:
    """Records one part of a call."""

    def __init__(self, part: Part, config: SessionConfig) -> None:
        """``config``: of the part's beginning. The recorder owns ``part``."""
        self._part = part
        record = part.record
        self._log = EventLogWriter(part.file(EVENTS), record.call_id, config)
        self._unheard: deque[bytes] = deque()
        """The caller's windows that the core has not seen yet."""
        self._batch: list[_Step] = []
        self._queue: queue.Queue[list[_Step] | None] = queue.Queue(QUEUE)
        self._incomplete = False
        self._consent = ""
        """The text that the caller has yet to hear."""
        self._announcements: set[str] = set()
        """Ids of the replies that say it, or the rest of it."""
        self._now = 0.0
        self._closed = False
        self._sound = _Sound(part.file(CALLER_TRACK), part.file(AGENT_TRACK))
        self._thread = threading.Thread(target=self._run, name=f"recorder-{record.call_id}")
        self._thread.start()

    @property
    def part(self) -> PartRecord:
        """What is recorded."""
        return self._part.record

    @property
    def incomplete(self) -> bool:
        """Whether something is missing."""
        return self._incomplete or self._log.incomplete

    # ------------------------------------------------------------------ of the call; never blocks

    def hear(self, pcm: bytes) -> None:
        """The caller's next window, PCM16 mono at HEARING_RATE, before the core sees it."""
        self._unheard.append(pcm)

    def played(self, pcm: bytes | memoryview, rate: int, at: float | None) -> None:
        """Audio of the agent left, to be heard at ``at``; None: behind what left before."""
        self._pass_on(_Played(bytes(pcm), rate, at))

    def taken_back(self, samples: int) -> None:
        """The last samples that left will not be heard."""
        self._pass_on(_TakenBack(samples))

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:
        """One step of the core."""
        if not self._now:
            self._consent = _consent_due(event)
            self._sound.begin(now)
            if not self._consent and self.part.withheld:
                self._pass_on(_Allowed())
        self._now = now
        self._log.append(event, now, commands)
        if isinstance(event, VoiceWindow) and self._unheard:
            self._pass_on(_Window(event, self._unheard.popleft(), now))
        elif isinstance(event, PlayoutHeard):
            self._pass_on(_Heard(now - event.ago))
        if self._consent:
            self._look_for_consent(commands)

    def ended(self, reason: str) -> None:  # noqa: ARG002
        """The connection has ended."""
        self._pass_on(_Ended(self._now))
        self._flush()

    def close(self) -> None:
        """Write the rest, for 10 s at most, and let go of the files."""
        if self._closed:
            return
        self._closed = True
        try:
            self._log.close()
            self._queue.put(None, timeout=_CLOSE_SECONDS)
            self._thread.join(_CLOSE_SECONDS)
            if self._thread.is_alive():
                raise TimeoutError("a recording could not be written in time")
            self._part.finish(
                milliseconds_of(self._sound.length, HEARING_RATE),
                complete=not self.incomplete,
                withheld=bool(self._consent),
            )
        except (OSError, queue.Full) as error:
            log.warning("the recording of a call is incomplete: %s", error)
        finally:
            self._part.close()

    # ------------------------------------------------------------------ within

    def _look_for_consent(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case StartReply(script=str(script)) if self._consent.endswith(script):
                    self._announcements.add(command.reply_id)
                case Publish(ReplyDone(reply_id, status=ReplyStatus.COMPLETED)):
                    if reply_id in self._announcements:
                        self._consent = ""
                        self._pass_on(_Allowed())

    def _pass_on(self, step: _Step) -> None:
        if self._incomplete:
            return
        self._batch.append(step)
        if len(self._batch) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        try:
            self._queue.put_nowait(batch)
        except queue.Full:
            self._incomplete = True
            log.warning("the recording of a call fell behind and is incomplete")

    def _run(self) -> None:
        batch: list[_Step] | None = []
        try:
            with self._sound:
                while batch is not None:
                    for step in batch:
                        if isinstance(step, _Allowed):
                            self._part.save(replace(self.part, withheld=False))
                        else:
                            self._sound.take(step)
                    batch = self._queue.get()
                self._sound.finish()
        except (OSError, ValueError, av.FFmpegError) as error:
            self._incomplete = True
            log.warning("the recording of a call is incomplete: %s", error)
            while batch is not None:
                batch = self._queue.get()


def _consent_due(first: Event) -> str:
    """The consent text that the caller has yet to hear when a part begins; empty: none."""
    if isinstance(first, CallStarted):
        return first.config.recording.consent if first.config.recording is not None else ""
    if isinstance(first, CallResumed):
        reply = first.checkpoint.moving.reply
        if reply is not None and reply.request is not None and reply.request.consent:
            return reply.request.script or ""
    return ""


# ---------------------------------------------------------------------- in the recorder's thread


class _Track:
    """One voice in a file. Places are samples at ``rate`` since its beginning."""

    def __init__(self, file: BinaryIO, rate: int) -> None:
        self._file = file
        self._rate = rate
        self._encoder = Encoder("opus", rate, light=True)
        self._written = 0
        self._gathered = bytearray()
        """What waits until it is a second: so it costs a third less."""

    def silence(self, place: int) -> None:
        """Nothing is heard up to ``place``."""
        while (missing := place - self._written) > 0:
            self.write(bytes(min(missing, self._rate * _SILENCE_SECONDS) * SAMPLE_BYTES))

    def write(self, pcm: bytes) -> None:
        """The next samples."""
        self._gathered += pcm
        self._written += len(pcm) // SAMPLE_BYTES
        if len(self._gathered) >= self._rate * SAMPLE_BYTES:
            self._push()

    def finish(self) -> None:
        """The end of the file."""
        self._push()
        self._file.write(self._encoder.finish())

    def _push(self) -> None:
        self._file.write(self._encoder.push(bytes(self._gathered)))
        self._file.flush()
        self._gathered.clear()


class _Sound:
    """Lays both voices on the call's axis. Used within ``with``."""

    def __init__(self, caller: Path, agent: Path) -> None:
        self._paths = caller, agent
        self._clock = CallClock(0.0)
        self._files: list[BinaryIO] = []
        self._held: deque[tuple[int, int, bytes]] = deque()
        """The agent's audio that may be taken back: place on the axis, rate, samples."""
        self._follows = 0
        """Where the agent's audio ends."""
        self._run = 0
        """Where the audio begins that leaves in one go."""
        self._resampler: Resampler | None = None
        self._run_ends = -1
        """Where on the axis the audio ends that the resampler has had last."""
        self._reached = 0

    @property
    def length(self) -> int:
        """How long the part is, in samples at HEARING_RATE."""
        return max(self._reached, self._clock.end)

    def begin(self, now: float) -> None:
        """The part begins; before anything else."""
        self._clock = CallClock(now)

    def __enter__(self) -> "_Sound":
        for path in self._paths:
            self._files.append(path.open("xb"))
            path.chmod(0o600)
        caller, agent = self._files
        self._caller, self._agent = _Track(caller, HEARING_RATE), _Track(agent, AGENT_RATE)
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def take(self, step: _Window | _Played | _Heard | _TakenBack | _Ended) -> None:
        """Write what is to be written now; raises OSError."""
        match step:
            case _Window(window, pcm, now):
                self._caller.silence(self._clock.hear(window, now))
                self._caller.write(pcm)
                self._reach(self._clock.at(now))
            case _Played(pcm, rate, at):
                if at is not None:
                    self._follows = self._run = max(self._follows, self._clock.at(at))
                self._held.append((self._follows, rate, pcm))
                self._follows += _on_axis(len(pcm) // SAMPLE_BYTES, rate)
            case _Heard(at):
                self._move_run(self._clock.at(at))
            case _TakenBack(samples):
                self._take_back(samples)
            case _Ended(now):
                self._reach(max(self._clock.at(now), self._clock.end))

    def _reach(self, place: int) -> None:
        """Everything up to ``place`` has happened."""
        self._reached = max(self._reached, place)
        settled = self._reached - _HELD
        while self._held and self._held[0][0] <= settled:
            self._write_agent(*self._held.popleft())
        self._agent.silence(self._agent_place(settled))

    def _move_run(self, begins: int) -> None:
        """What is heard now began at ``begins``: later than was known when it left, maybe."""
        late = begins - self._run
        if late <= 0 or not self._held or self._held[0][0] > self._run:
            return
        self._held = deque((place + late, rate, pcm) for place, rate, pcm in self._held)
        self._follows += late
        self._run = begins

    def _take_back(self, samples: int) -> None:
        while samples > 0 and self._held:
            place, rate, pcm = self._held.pop()
            kept = len(pcm) // SAMPLE_BYTES - samples
            if kept > 0:
                self._held.append((place, rate, pcm[: kept * SAMPLE_BYTES]))
                self._follows = place + _on_axis(kept, rate)
            else:
                self._follows = place
            samples = max(0, -kept)

    def _write_agent(self, place: int, rate: int, pcm: bytes) -> None:
        if self._resampler is None or self._resampler.source_hz != rate or place != self._run_ends:
            self._resampler = Resampler(rate, AGENT_RATE)
        self._agent.silence(self._agent_place(place))
        self._agent.write(self._resampler.push(pcm))
        self._run_ends = place + _on_axis(len(pcm) // SAMPLE_BYTES, rate)

    def finish(self) -> None:
        """End both tracks where the part ends; raises OSError."""
        self._reach(self._clock.end)
        while self._held:
            place, rate, pcm = self._held.popleft()
            kept = (self._reached - place) * rate // HEARING_RATE
            if kept > 0:
                self._write_agent(place, rate, pcm[: kept * SAMPLE_BYTES])
        self._caller.silence(self._reached)
        self._agent.silence(self._agent_place(self._reached))
        self._caller.finish()
        self._agent.finish()

    @staticmethod
    def _agent_place(place: int) -> int:
        return place * AGENT_RATE // HEARING_RATE


def _on_axis(samples: int, rate: int) -> int:
    return samples * HEARING_RATE // rate
