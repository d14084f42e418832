"""A turn that nobody hears: it uses every engine of a call once, so that the first caller, and the
first one after an idle hour, waits no longer than the tenth.

The agent's own voice speaks the caller's words, and a whole session hears and answers them, cut
short when its reply begins. Nothing is stored, counted or published.

Rules
- Engines behind an upstream are not used: they cost money, and nothing is gained. Where the chat
  model is one, the words are only transcribed; where the voice or the transcriber is, there is no
  dry turn.
- A call goes first: the turn ends as soon as ``busy`` returns true.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from media.formats import SAMPLE_BYTES, samples_of
from media.resample import Resampler
from pipelines.engines.base import EngineError
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import Role

from .agent_config import names_of, with_languages
from .channel import ClientFault, Parsed, Piece, ServerEvent
from .core.commands import Command, RecordTurn
from .core.config import SessionConfig, SessionKind
from .core.events import Event, FinalTranscript
from .core.notices import Notice
from .live import LiveSession

log = logging.getLogger(__name__)

WORDS = "Hello there, can you hear me?"
_FRAME_MS = 20
_SECONDS = 20.0
_TOKENS = 16
"""Enough for a first clause."""


async def dry_turn(engines: Catalogue, config: SessionConfig, busy: Callable[[], bool]) -> bool:
    """Go through one turn with ``config``; False if it was cut short or not possible."""
    config = with_languages(config, engines.languages_for)
    upstream = engines.upstream_roles(names_of(config))
    if Role.TRANSCRIPTION in upstream or Role.SPEECH in upstream:
        return False
    kind = SessionKind.TRANSCRIPTION if Role.CHAT in upstream else SessionKind.REALTIME
    config = replace(config, kind=kind, max_output_tokens=_TOKENS)
    try:
        async with asyncio.timeout(_SECONDS):
            line = _Line(await _spoken(engines, config), config, busy)
            await LiveSession("dry", config, line, _Silent(), engines, line).run()
    except (EngineError, TimeoutError) as error:
        log.info("a dry turn came to nothing: %s", error or type(error).__name__)
        return False
    return line.answered


async def _spoken(engines: Catalogue, config: SessionConfig) -> bytes:
    """The caller's words, in the format of the call's input."""
    speaker = engines.speaker(config.speech_model, config.language, config.voice)
    resampler = Resampler(speaker.sample_rate, config.input_format.rate)
    pcm = b""
    async for part in speaker.speak(WORDS, voice=config.voice, language=config.language):
        pcm += resampler.push(part)
    return pcm + resampler.flush()


class _Line:
    """The Channel and the Observer of a dry turn."""

    name = "dry"
    lead_ms = 200
    dropped = False
    missed = 0

    def __init__(self, speech: bytes, config: SessionConfig, busy: Callable[[], bool]) -> None:
        self.input_rate = config.input_format.rate
        self.output_rate = config.output_format.rate
        self.answered = False
        self._ends = config.kind is SessionKind.TRANSCRIPTION
        self._speech = speech
        self._busy = busy

    async def incoming(self) -> AsyncIterator[bytes]:
        frame = samples_of(_FRAME_MS, self.input_rate) * SAMPLE_BYTES
        start = 0
        while not (self.answered or self._busy()):
            yield self._speech[start : start + frame].ljust(frame, b"\0")
            start += frame
            await asyncio.sleep(_FRAME_MS / 1000)

    def configure(self, config: SessionConfig) -> None:
        """Nothing changes during a dry turn."""

    def play(self, piece: Piece) -> None:
        self.answered = self.answered or bool(len(piece.pcm))

    def flush(self) -> None:
        """Nothing is kept."""

    def played(self) -> int | None:
        return None

    def send(self, event: ServerEvent) -> None:
        """Nobody listens."""

    async def close(self, reason: str) -> None:
        """Nothing is open."""

    def published(self, events: list[dict[str, Any]]) -> None:
        """There are none."""

    def recorded(self, turn: RecordTurn) -> None:
        """It is no turn of anybody's."""

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:  # noqa: ARG002
        if self._ends and isinstance(event, FinalTranscript):
            self.answered = True


class _Silent:
    """The WireFormat of a dry turn."""

    def parse(
        self,
        message: Mapping[str, Any],
        config: SessionConfig,  # noqa: ARG002
        *,
        by_caller: bool = True,  # noqa: ARG002
    ) -> Parsed:
        raise ClientFault("invalid_request", f"A dry turn takes no {message.get('type')}.")

    def render(self, notice: Notice) -> Sequence[ServerEvent]:  # noqa: ARG002
        return ()
