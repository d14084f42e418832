"""The caller's mouth: an endless 20 ms clock that sends what is being said, and silence between.

Rules: frame n leaves when its last sample would have been captured, at ``start + (n + 1) * 20``
ms; a late loop catches up without shifting the clock. One utterance is said at a time; the next
waits its turn.
"""

import asyncio
from collections import deque

import numpy as np

from gateway.caller.line import CLIENT_RATE, Line
from gateway.caller.recording import Recording

FRAME_MS = 20
FRAME_SAMPLES = CLIENT_RATE * FRAME_MS // 1000
MAX_WAITING = 64
"""Utterances that may wait; one more is refused."""


class Utterance:
    """A recording being said. Times are the loop's clock; None until they have come."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.onset: float | None = None
        """When the first loud sample was sent."""
        self.end: float | None = None
        """When the last loud sample was sent: the end of speech."""
        self.done = asyncio.Event()
        """All of it has been sent."""
        self._position = 0

    def next_frame(self, sent_at: float) -> bytes:
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
        return bytes(frame.astype("<i2").tobytes())


class Microphone:
    """Feeds a line in real time while ``run()`` runs; ``say()`` puts speech into it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._waiting: deque[Utterance] = deque()
        self.frames_sent = 0

    def say(self, recording: Recording) -> Utterance:
        """Say ``recording`` (CLIENT_RATE) after what is still being said; returns at once."""
        if recording.rate != CLIENT_RATE:
            raise ValueError(f"a recording of {recording.rate} Hz; the line has {CLIENT_RATE}")
        if len(self._waiting) >= MAX_WAITING:
            raise ValueError(f"{MAX_WAITING} utterances are waiting already")
        utterance = Utterance(recording)
        self._waiting.append(utterance)
        return utterance

    async def run(self) -> None:
        """Send for ever; ends with LineClosed when the line does."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        silence = bytes(2 * FRAME_SAMPLES)
        while True:
            due = start + (self.frames_sent + 1) * FRAME_MS / 1000
            await asyncio.sleep(due - loop.time())
            frame = silence
            if self._waiting:
                frame = self._waiting[0].next_frame(due)
                if self._waiting[0].done.is_set():
                    self._waiting.popleft()
            await self._line.send_audio(frame)
            self.frames_sent += 1
