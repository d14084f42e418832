"""The ear of a session: input audio → VAD windows, partial and final transcripts, turn scores.

Rules
- Positions are samples at HEARING_RATE since the call began; ``hear`` is called in order.
- The last seconds of input are kept: from the start of the oldest open turn, at most 90 s, and
  2 s for prefix padding where no turn is open. Older audio is dropped; a turn that is longer
  loses its beginning for the final transcript (the core ends a turn after 60 s).
- Each open turn has one feeding task (partials) and at most one finishing, one scoring and one
  language task; dropping the turn cancels them. A recogniser that fails costs the partials, not the
  turn.
- A busy recogniser is tried again: for partials while the turn lasts, for the final transcript for
  ``_BUSY_SECONDS``. A turn that waits says so once (``TranscriptionWaits``).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from media.echo import EchoDetector
from media.formats import HEARING_RATE, SAMPLE_BYTES
from media.resample import Resampler
from media.vad import Window, level_of
from pipelines.engines.base import (
    DetectedLanguage,
    EngineBusy,
    EngineError,
    Transcriber,
    Transcription,
    TranscriptionStream,
)
from pipelines.engines.catalogue import Catalogue
from sessions.core.commands import DetectLanguage
from sessions.core.config import SessionConfig
from sessions.core.events import (
    Event,
    FinalTranscript,
    LanguageDetected,
    PartialTranscript,
    SilenceHeard,
    TranscriptionFailed,
    TranscriptionWaits,
    TurnScored,
    VoiceWindow,
)
from sessions.core.turns.speech_gate import LEAST_THRESHOLD
from sessions.recording.recorder import CallRecorder
from sessions.speech.voice_activity import VoiceActivity

log = logging.getLogger(__name__)

_WINDOW = 512
_KEPT_SECONDS = 90
_PADDING_SECONDS = 2
_FORGET_FROM = (_PADDING_SECONDS + 1) * HEARING_RATE * SAMPLE_BYTES
_FEED = HEARING_RATE // 10
_AHEAD_BYTES = 4_096
"""Of audio that is taken while windows wait for the network: 43 ms at 48 kHz, a window takes 10."""
_UNDECIDED = 0.5
_CLIPS = 4
"""Pieces of audio kept between their item and the order to transcribe it, which follows at once."""
_STRETCH_BYTES = 48_000
_TAIL = bytes(HEARING_RATE // 10 * SAMPLE_BYTES)
"""Silence put behind an utterance: whole-utterance models hear its last word better with it."""

_CROWDED_SECONDS = 0.5
"""A transcript that takes longer waits, if every place was taken when it was requested:
an utterance takes 0.2 to 0.3 s."""
_RETRY_SECONDS = 0.25
_BUSY_SECONDS = 20.0

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Listening:
    """Hears the caller."""

    def __init__(
        self,
        engines: Catalogue,
        dispatch: Callable[[Event], None],
        spawn: Spawn,
        voices: VoiceActivity | None = None,
        awaited: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``voices`` is shared by the calls of the process. ``awaited``: the position at which
        silence matters, even within a window."""
        self._engines = engines
        self._dispatch = dispatch
        self._spawn = spawn
        self._voices = voices or VoiceActivity()
        self._detector = self._voices.detector(engines.vad_model)
        self._awaited = awaited
        self.echo = EchoDetector()
        """Knows what was played, once somebody shows it."""
        self._resampler: Resampler | None = None
        self._unheard = bytearray()
        """Samples as they came, until they complete a window: resampling three frames of 20 ms
        takes as long as one."""
        self._audio = bytearray()
        self._first = 0
        """Position of the first sample kept in ``_audio``."""
        self._looked = 0
        """Position up to which the VAD has looked."""
        self._starts: dict[int, int] = {}
        self._spoken: dict[int, str] = {}
        """The languages of turns that are heard again; the others are in the call's."""
        self._asked: dict[int, int] = {}
        """Turn -> position up to which its text was last requested."""
        self._tasks: dict[int, dict[str, asyncio.Task[None]]] = {}
        self._judging: list[Window] | None = None
        """Windows that wait for the network."""
        self._failure: Exception | None = None
        self._settled = asyncio.Event()
        self._clips: dict[int, tuple[bytes, int]] = {}
        self._kept = 0
        self._waiting: set[int] = set()
        """Turns that have said that they wait."""
        self._more = asyncio.Event()
        """There is enough for a recogniser of partial texts: the position is ``_enough``."""
        self._enough: int | None = None
        self.config = SessionConfig()
        self.recorder: CallRecorder | None = None
        """Is given every window that the core counts."""

    @property
    def position(self) -> int:
        """Samples heard so far."""
        return self._first + len(self._audio) // SAMPLE_BYTES

    @property
    def settling(self) -> bool:
        """Whether audio that was taken is still to be heard: the network hears other calls, too."""
        return self._judging is not None or self._failure is not None

    @property
    def busy(self) -> bool:
        """Whether no more can be taken before that."""
        return self.settling and (len(self._unheard) > _AHEAD_BYTES or self._failure is not None)

    async def settled(self) -> None:
        """Wait until all audio that was taken has been heard; raises what the network raised."""
        while self._judging is not None:
            self._settled.clear()
            await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def hear(self, pcm: bytes | memoryview, rate: int) -> None:
        """Take the next samples (PCM16 mono at ``rate`` Hz), unless ``busy``; raises nothing."""
        if self._resampler is None or self._resampler.source_hz != rate:
            self._change_rate(rate)
        self._unheard += pcm
        if not self.settling:
            self._hear_on(rate)

    def _hear_on(self, rate: int) -> None:
        """Hear what was taken, once that is needed."""
        awaited = self._awaited()
        decides = awaited is not None and self._until(awaited, rate) <= len(self._unheard)
        missing = self._detector.missing * SAMPLE_BYTES * rate
        if not decides and len(self._unheard) * HEARING_RATE < missing:
            return
        try:
            self._judging = windows = self._take_unheard()
            if self._voices.judge(self._detector, windows, self._judged, at_once=decides):
                self._judged(None)
        except Exception as error:  # noqa: BLE001 - raised by ``settled``
            self._judged(error)
        if len(self._audio) > _FORGET_FROM:
            self._forget()
        if self._enough is not None and self.position >= self._enough:
            self._enough = None
            self._more.set()

    def _change_rate(self, rate: int) -> None:
        self._take_unheard()  # less than a window
        self._resampler = Resampler(rate, HEARING_RATE)

    def _take_unheard(self) -> list[Window]:
        """Resample what was kept; the windows that it completes."""
        if self._resampler is None:
            return []
        heard = self._resampler.push(bytes(self._unheard))
        self._unheard.clear()
        self._audio += heard
        return self._detector.cut(heard)

    def _judged(self, failure: Exception | None) -> None:
        """The windows have been judged, or the network failed."""
        windows, self._judging = self._judging or [], None
        if failure is None:
            try:
                self._look(windows)
            except Exception as error:  # noqa: BLE001 - raised by ``settled``
                failure = error
        self._failure = failure
        self._settled.set()
        if failure is None and self._unheard and self._resampler is not None:
            self._hear_on(self._resampler.source_hz)

    def _look(self, windows: list[Window]) -> None:
        for window in windows:
            self._looked += _WINDOW
            if self.recorder is not None:
                self.recorder.hear(window.pcm)
            level = round(level_of(window.pcm) * 10) / 10
            echo = self.echo.hear(window.pcm, voiced=window.voice >= LEAST_THRESHOLD)
            echo = round(echo * 100) / 100  # to decimals, ``round`` takes ten times as long
            self._dispatch(VoiceWindow(self._looked, window.voice, level, echo))
        awaited = self._awaited()
        if awaited is None or awaited > self.position:
            return
        quiet = self._detector.quiet()
        if quiet is not None and self._looked + quiet >= awaited:
            self._dispatch(SilenceHeard(self._looked + quiet))

    def _until(self, position: int, rate: int) -> float:
        """How many bytes at ``rate`` there must be in ``_unheard`` up to ``position``."""
        return (position - self.position) * SAMPLE_BYTES * rate / HEARING_RATE

    def start(self, turn: int, position: int) -> None:
        """Begin to transcribe the turn that starts at ``position``."""
        self._starts[turn] = position
        self._tasks[turn] = {"feed": self._spawn(self._feed(turn, position))}

    def keep(self, pcm: bytes, rate: int) -> int:
        """Keep audio that came with an item; the number under which to transcribe it."""
        self._kept += 1
        self._clips[self._kept] = (pcm, rate)
        while len(self._clips) > _CLIPS:
            del self._clips[next(iter(self._clips))]
        return self._kept

    def transcribe_clip(self, turn: int, clip: int) -> None:
        """Transcribe audio that is kept, as the turn."""
        pcm, rate = self._clips.pop(clip)
        self._tasks[turn] = {"finish": self._spawn(self._transcribe_clip(turn, pcm, rate))}

    def finish(self, turn: int, position: int) -> None:
        """Transcribe all of the turn up to ``position``."""
        self._asked[turn] = position
        self._replace(turn, "finish", self._finish(turn, position))

    def score(self, turn: int, position: int) -> None:
        """Ask the turn detector about the turn up to ``position``."""
        self._replace(turn, "score", self._score(turn, position))

    def detect_language(self, order: DetectLanguage) -> None:
        """Ask the language detector about a turn."""
        self._replace(order.turn, "language", self._detect_language(order))

    def restart(self, turn: int, language: str) -> None:
        """Give the turn's transcripts anew from its start: it is spoken in ``language``."""
        if (position := self._starts.get(turn)) is not None:
            self._spoken[turn] = language
            self._replace(turn, "feed", self._feed(turn, position))

    def drop(self, turn: int) -> None:
        """The turn needs no transcription any more."""
        self._starts.pop(turn, None)
        self._spoken.pop(turn, None)
        self._asked.pop(turn, None)
        self._waiting.discard(turn)
        for task in self._tasks.pop(turn, {}).values():
            task.cancel()

    # ------------------------------------------------------------------ within

    def _replace(self, turn: int, role: str, work: Coroutine[Any, Any, None]) -> None:
        tasks = self._tasks.get(turn)
        if tasks is None:
            work.close()
            return
        if role in tasks:
            tasks[role].cancel()
        tasks[role] = self._spawn(work)

    def _cut(self, start: int, end: int) -> bytes:
        low = max(0, start - self._first) * SAMPLE_BYTES
        return bytes(self._audio[low : max(0, end - self._first) * SAMPLE_BYTES])

    def _forget(self) -> None:
        padding = self.position - _PADDING_SECONDS * HEARING_RATE
        oldest = min([padding, *self._starts.values()])
        oldest = max(oldest, self.position - _KEPT_SECONDS * HEARING_RATE, self._first)
        # Cut in large steps: moving the rest of the buffer on every frame would cost more.
        if oldest - self._first > HEARING_RATE:
            del self._audio[: (oldest - self._first) * SAMPLE_BYTES]
            self._first = oldest

    async def _feed(self, turn: int, position: int) -> None:
        model, language = self.config.transcription_model, self._language_of(turn)
        try:
            stream = await self._open(turn, model, language)
        except EngineError as error:
            log.warning("no partial transcripts for turn %d: %s", turn, error.code)
            return
        text, reported = "", position
        try:
            while True:
                while self.position < (enough := position + _FEED):
                    self._enough = min(enough, self._enough or enough)
                    self._more.clear()
                    await self._more.wait()
                end = self.position
                partial = await stream.accept(self._cut(position, end))
                position = end
                asked = self._asked.get(turn, position)
                if partial != text or reported < asked <= position:
                    text, reported = partial, position
                    self._dispatch(PartialTranscript(turn, text, position))
        except EngineError as error:
            log.warning("partial transcripts of turn %d ended: %s", turn, error.code)
        finally:
            stream.close()

    def _language_of(self, turn: int) -> str:
        return self._spoken.get(turn, self.config.language)

    async def _open(self, turn: int, model: str, language: str) -> TranscriptionStream:
        """Begin partial transcripts as soon as a recogniser is free."""
        engine = self._engines.streaming_transcriber(model, language)
        while True:
            try:
                return await engine.open(language)
            except EngineBusy:
                self._wait_for_place(turn, self._ahead(model, language))
                await asyncio.sleep(_RETRY_SECONDS)

    def _ahead(self, model: str, language: str) -> int:
        load = self._engines.hearing_load(model, language)
        return load.running + load.waiting

    def _wait_for_place(self, turn: int, ahead: int) -> None:
        if turn not in self._waiting:
            self._waiting.add(turn)
            self._dispatch(TranscriptionWaits(turn, ahead))

    async def _transcribe_clip(self, turn: int, pcm: bytes, rate: int) -> None:
        resampler, heard = Resampler(rate, HEARING_RATE), bytearray()
        for start in range(0, len(pcm), _STRETCH_BYTES):
            heard += resampler.push(pcm[start : start + _STRETCH_BYTES])
            await asyncio.sleep(0)
        await self._transcribe(turn, bytes(heard + resampler.flush()), 0)

    async def _finish(self, turn: int, position: int) -> None:
        await self._transcribe(turn, self._cut(self._starts[turn], position), position)

    async def _transcribe(self, turn: int, pcm: bytes, position: int) -> None:
        model, language = self.config.transcription_model, self._language_of(turn)
        try:
            engine = self._engines.transcriber(model, language)
            heard, waited = await self._heard(turn, engine, pcm + _TAIL, language)
        except EngineError as error:
            self._dispatch(TranscriptionFailed(turn, error.code, str(error)))
        else:
            self._dispatch(FinalTranscript(turn, heard.text, position, waited))

    async def _heard(
        self, turn: int, engine: Transcriber, pcm: bytes, language: str
    ) -> tuple[Transcription, float]:
        """The final transcript, and the seconds that it took if the turn had to wait for it."""
        loop, model = asyncio.get_running_loop(), self.config.transcription_model
        began, waits = loop.time(), None
        if self._engines.hearing_load(model, language).crowded:
            ahead = self._ahead(model, language)
            waits = loop.call_later(_CROWDED_SECONDS, self._wait_for_place, turn, ahead)
        try:
            while True:
                try:
                    heard = await engine.transcribe(pcm, language)
                except EngineBusy:
                    if loop.time() - began >= _BUSY_SECONDS:
                        raise
                    self._wait_for_place(turn, self._ahead(model, language))
                    await asyncio.sleep(_RETRY_SECONDS)
                else:
                    waited = round(loop.time() - began, 3) if turn in self._waiting else 0.0
                    return heard, waited
        finally:
            if waits is not None:
                waits.cancel()

    async def _score(self, turn: int, position: int) -> None:
        pcm = self._cut(self._starts[turn], position)
        try:
            probability = await self._engines.turn_detector.score(pcm)
        except EngineError as error:
            log.warning("turn detector gave no opinion: %s", error.code)
            probability = _UNDECIDED
        self._dispatch(TurnScored(turn, position, probability))

    async def _detect_language(self, order: DetectLanguage) -> None:
        pcm = self._cut(self._starts[order.turn], order.position)
        found = DetectedLanguage(self.config.language, 0.0)
        try:
            found = await self._engines.language_detector.detect(pcm, order.languages)
        except EngineError as error:
            log.warning("the language of turn %d is not known: %s", order.turn, error.code)
        self._dispatch(
            LanguageDetected(order.turn, order.position, found.language, found.probability)
        )
