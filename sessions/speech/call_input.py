"""What a call's channel brings: audio for the ear, messages and events for the core, in order.

Rules
- Audio comes by the channel's ``incoming``, which wakes the reading task. Where the channel can
  push (``Pushing``), short pieces are taken as they arrive, without a task: in real time that is
  nearly all there is.
- While windows wait for the network together with those of other calls, little more is taken, and
  messages and events wait.
- After a burst, input is read at up to ``PACE`` times real time. Faster peers are held back, which
  protects the other calls.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextvars import Context, copy_context
from typing import Any, Protocol, runtime_checkable

from media.formats import SAMPLE_BYTES
from sessions.audio_tap import AudioTap
from sessions.channel import Channel
from sessions.core.events import Event

from .listening import Listening

PACE = 8.0
_BURST_SECONDS = 2.0
_SLICE_SECONDS = 0.1


@runtime_checkable
class Pushing(Protocol):
    """A channel that can pass audio on as it arrives."""

    def push_to(self, taker: "CallInput") -> None:
        """While ``incoming`` waits, pass short pieces of audio to ``taker.take`` where it is
        ``ready``; all else comes by ``incoming``, in the order in which it came."""
        ...


class CallInput:
    """Reads the channel of one call."""

    def __init__(
        self,
        channel: Channel,
        listening: Listening,
        inject: Callable[[Mapping[str, Any]], None],
        dispatch: Callable[[Event], None],
    ) -> None:
        """``inject`` takes a client message, ``dispatch`` an event of the channel's own."""
        self._channel = channel
        self._listening = listening
        self._inject = inject
        self._dispatch = dispatch
        self._loop = asyncio.get_running_loop()
        self.tap: AudioTap | None = None
        """Is shown the audio, while somebody listens in."""
        self._credit, self._refilled = _BURST_SECONDS, self._loop.time()
        """Seconds of input that may be taken at once, as of ``_refilled``."""
        self._context: Context | None = None
        """The reading task's, while it reads."""

    async def read(self) -> None:
        """Read what the peer sends until it is gone."""
        incoming, listening = self._channel.incoming(), self._listening
        self._context = copy_context()
        if isinstance(self._channel, Pushing):
            self._channel.push_to(self)
        try:
            async for item in incoming:
                if listening.settling:
                    await listening.settled()
                if isinstance(item, bytes | bytearray | memoryview):
                    await self._hear(memoryview(item))
                elif isinstance(item, Mapping):
                    self._inject(item)
                else:
                    self._dispatch(item)
            if listening.settling:
                await listening.settled()
        finally:
            self._context = None
            if isinstance(incoming, AsyncGenerator):
                await incoming.aclose()

    @property
    def ready(self) -> bool:
        """Whether the next audio may be taken as it arrives."""
        return self._context is not None and not self._listening.busy and self._credit >= 0

    def take(self, pcm: bytes) -> None:
        """Hear audio at once, if ``ready``: PCM16 mono at the channel's ``input_rate``, of about
        0.1 s or less, because the other calls wait. Raises nothing."""
        if self._context is not None:
            self._context.run(self._hear_slice, pcm, self._channel.input_rate)

    async def _hear(self, pcm: memoryview) -> None:
        """Hear audio in slices, each as soon as the pace allows."""
        rate = self._channel.input_rate
        step = int(rate * _SLICE_SECONDS) * SAMPLE_BYTES
        for start in range(0, len(pcm), step):
            self._hear_slice(pcm[start : start + step], rate)
            if self._listening.settling:
                await self._listening.settled()
            if self._credit < 0:
                await asyncio.sleep(-self._credit / PACE)
            elif len(pcm) > step:
                await asyncio.sleep(0)

    def _hear_slice(self, pcm: bytes | memoryview, rate: int) -> None:
        self._listening.hear(pcm, rate)
        now = self._loop.time()
        if self.tap is not None:
            self.tap.heard(pcm, rate, now)
        refilled = self._credit + (now - self._refilled) * PACE
        self._credit = min(_BURST_SECONDS, refilled) - len(pcm) / SAMPLE_BYTES / rate
        self._refilled = now
