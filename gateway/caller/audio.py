"""The caller's audio: recordings, an ear (``Player``) and a mouth (``Microphone``).

Rules
- The player's timeline counts samples at ``rate`` since ``start``: at time t, everything before
  ``(t - start) * rate`` has been heard and cannot change. Arriving audio is played after what is
  already waiting; where nothing waits, silence is heard. ``flush`` drops what waits.
- The player of a stream that never pauses (``live``) catches up after a burst: silence beyond
  ``CATCH_UP_MS`` of waiting audio is dropped.
- The microphone sends a frame every 20 ms, speech or silence. Frame n leaves when its last sample
  would have been captured, at ``start + (n + 1) * 20`` ms; a late loop catches up without shifting
  the clock. One utterance is said at a time; the next waits its turn. Its ``background`` is heard
  all the time, repeated.
"""

import asyncio
import wave
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from gateway.caller.channels import CLIENT_RATE

Samples = npt.NDArray[np.int16]

LOUD_RMS = 330.0
"""A 10 ms window is speech when its RMS exceeds this (-40 dBFS)."""


@dataclass(frozen=True, slots=True)
class Recording:
    """PCM16 mono samples at ``rate`` Hz. ``first`` and ``last`` bound the loud part (samples)."""

    samples: Samples
    rate: int
    first: int
    last: int

    @classmethod
    def of(cls, samples: Samples, rate: int) -> "Recording":
        """A recording and its loud part, which is all of it where nothing is loud."""
        window = rate // 100
        whole = samples[: len(samples) // window * window].astype(np.float64)
        levels = np.sqrt(np.mean(whole.reshape(-1, window) ** 2, axis=1))
        loud = np.flatnonzero(levels > LOUD_RMS)
        if not len(loud):
            return cls(samples, rate, 0, len(samples))
        return cls(samples, rate, int(loud[0]) * window, (int(loud[-1]) + 1) * window)

    @classmethod
    def read(cls, path: Path, rate: int) -> "Recording":
        """Decode an audio file and resample it to mono at ``rate`` Hz.

        Raises OSError, or ValueError naming the file where it holds no readable audio."""
        path.stat()
        pieces: list[Samples] = []
        try:
            with av.open(str(path), metadata_errors="ignore") as container:
                resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
                for frame in container.decode(audio=0):
                    pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
        except (av.FFmpegError, IndexError) as error:
            raise ValueError(f"{path} holds no readable audio: {error}") from error
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        if not len(samples):
            raise ValueError(f"{path} holds no audio")
        return cls.of(samples.astype(np.int16), rate)

    @property
    def seconds(self) -> float:
        """Length of the whole recording."""
        return len(self.samples) / self.rate


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write PCM16 mono as a WAV file; raises OSError."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


# ------------------------------------------------------------------ hearing

AUDIBLE = 100
"""A sample is audible when its magnitude exceeds this (about -50 dBFS)."""

CATCH_UP_MS = 20.0


class Player:
    """Playout of one call. ``rate`` in Hz; ``limit_s`` bounds what is kept (seconds).

    Pure: time is an argument (seconds, any monotonic clock)."""

    def __init__(
        self, rate: int, start: float, *, live: bool = False, limit_s: float = 3600.0
    ) -> None:
        self.rate = rate
        self.start = start
        self._live = live
        self._limit = int(limit_s * rate)
        self._waiting: deque[Samples] = deque()
        self._waiting_samples = 0
        self._timeline: Samples = np.zeros(rate * 10, np.int16)
        self._cursor = 0
        self.flushed_samples = 0

    def feed(self, pcm: bytes, now: float) -> None:
        """Add reply audio (PCM16 LE mono); raises ValueError on half a sample."""
        self.advance(now)
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16)
        self._waiting.append(samples)
        self._waiting_samples += len(samples)
        while self._live and self.waiting_ms > CATCH_UP_MS and not len(_loud(self._waiting[0])):
            self._waiting_samples -= len(self._waiting.popleft())

    def flush(self, now: float) -> int:
        """Drop what has not been heard; returns the number of samples dropped."""
        self.advance(now)
        dropped = self._waiting_samples
        self._waiting.clear()
        self._waiting_samples = 0
        self.flushed_samples += dropped
        return dropped

    def advance(self, now: float) -> None:
        """Hear everything up to ``now``."""
        target = min(round((now - self.start) * self.rate), self._limit)
        if target > len(self._timeline):
            grown = np.zeros(max(target, 2 * len(self._timeline)), np.int16)
            grown[: len(self._timeline)] = self._timeline
            self._timeline = grown
        while self._cursor < target:
            if not self._waiting:
                self._cursor = target
                return
            wanted = target - self._cursor
            chunk = self._waiting.popleft()
            if len(chunk) > wanted:
                self._waiting.appendleft(chunk[wanted:])
                chunk = chunk[:wanted]
            self._waiting_samples -= len(chunk)
            self._timeline[self._cursor : self._cursor + len(chunk)] = chunk
            self._cursor += len(chunk)

    @property
    def waiting_ms(self) -> float:
        """How much audio waits to be played."""
        return self._waiting_samples * 1000 / self.rate

    def heard(self) -> Samples:
        """The whole timeline so far, silence included (a view)."""
        return self._timeline[: self._cursor]

    def audible_after(self, moment: float) -> float | None:
        """When the first audible sample at or after ``moment`` was heard; None if none was yet."""
        offset = self._offset(moment)
        loud = _loud(self.heard()[offset:])
        return self.start + (offset + int(loud[0])) / self.rate if len(loud) else None

    def audible_until(self, moment: float) -> float | None:
        """When the last audible sample before ``moment`` was heard; None if none was."""
        end = min(self._offset(moment), self._cursor)
        while end > 0:
            begin = max(0, end - self.rate)
            loud = _loud(self._timeline[begin:end])
            if len(loud):
                return self.start + (begin + int(loud[-1])) / self.rate
            end = begin
        return None

    def _offset(self, moment: float) -> int:
        return max(0, round((moment - self.start) * self.rate))

    def stretches(self, gap_s: float = 0.5) -> list[tuple[float, float]]:
        """(begin, end) of every audible stretch; ``gap_s`` of silence separates two stretches."""
        loud = _loud(self.heard())
        if not len(loud):
            return []
        breaks = np.flatnonzero(np.diff(loud) > gap_s * self.rate) + 1
        edges = [0, *breaks.tolist(), len(loud)]
        return [
            (self.start + int(loud[a]) / self.rate, self.start + int(loud[b - 1]) / self.rate)
            for a, b in pairwise(edges)
        ]


def audible(pcm: bytes) -> bool:
    """Whether PCM16 LE holds an audible sample."""
    return bool(len(_loud(np.frombuffer(pcm, dtype="<i2"))))


def _loud(samples: Samples) -> npt.NDArray[np.intp]:
    return np.flatnonzero((samples > AUDIBLE) | (samples < -AUDIBLE))


# ------------------------------------------------------------------ speaking

FRAME_MS = 20
FRAME_SAMPLES = CLIENT_RATE * FRAME_MS // 1000
MAX_WAITING = 64
"""Utterances that may wait; a further one is refused."""


class Utterance:
    """A recording being said. Times are on the loop's clock; None until they are known."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.onset: float | None = None
        """When the first loud sample was sent."""
        self.end: float | None = None
        """When the last loud sample was sent: the end of speech."""
        self.done = asyncio.Event()
        """Set once all of it has been sent."""
        self._position = 0

    def next_frame(self, sent_at: float) -> Samples:
        """The next 20 ms, padded with silence, leaving at ``sent_at``."""
        begin, self._position = self._position, self._position + FRAME_SAMPLES
        recording = self.recording
        if self.onset is None and self._position > recording.first:
            self.onset = sent_at - (self._position - recording.first) / CLIENT_RATE
        if self.end is None and self._position >= recording.last:
            self.end = sent_at - (self._position - recording.last) / CLIENT_RATE
        frame = recording.samples[begin : self._position]
        if self._position >= len(recording.samples):
            self.done.set()
            frame = np.pad(frame, (0, FRAME_SAMPLES - len(frame)))
        return frame


class Microphone:
    """Gives ``send`` 20 ms of audio in real time while ``run()`` runs; ``say()`` adds speech.

    ``background``: what else it hears, CLIENT_RATE, at least FRAME_SAMPLES long."""

    def __init__(
        self, send: Callable[[bytes], Awaitable[None]], background: Samples | None = None
    ) -> None:
        self._send = send
        self._background = np.zeros(FRAME_SAMPLES, np.int16) if background is None else background
        self._waiting: deque[Utterance] = deque()
        self.frames_sent = 0

    def say(self, recording: Recording) -> Utterance:
        """Say ``recording`` (CLIENT_RATE) after what is being said; returns at once."""
        if recording.rate != CLIENT_RATE:
            raise ValueError(f"a recording of {recording.rate} Hz; the channel has {CLIENT_RATE}")
        if len(self._waiting) >= MAX_WAITING:
            raise ValueError(f"{MAX_WAITING} utterances are waiting already")
        utterance = Utterance(recording)
        self._waiting.append(utterance)
        return utterance

    async def run(self) -> None:
        """Send until cancelled; raises CallEnded when the call ends."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            due = start + (self.frames_sent + 1) * FRAME_MS / 1000
            await asyncio.sleep(due - loop.time())
            frame = self._background_frame()
            if self._waiting:
                loud = frame.astype(np.int32) + self._waiting[0].next_frame(due)
                frame = np.clip(loud, -32768, 32767)
                if self._waiting[0].done.is_set():
                    self._waiting.popleft()
            await self._send(bytes(frame.astype("<i2").tobytes()))
            self.frames_sent += 1

    def _background_frame(self) -> Samples:
        frames = len(self._background) // FRAME_SAMPLES
        begin = self.frames_sent % frames * FRAME_SAMPLES
        return self._background[begin : begin + FRAME_SAMPLES]
