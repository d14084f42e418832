"""VoskTranscriber: partial transcripts while the caller speaks.

Library: Vosk 0.3 (Apache-2.0), https://alphacephei.com/vosk; model vosk-model-small-en-us-0.15.
One model (about 100 MB) is shared; a bounded pool of recognisers holds the state of utterances.

Rules
- A recogniser is handed out only clean: ``FinalResult`` before ``Reset``, or the next utterance
  begins with the last words of this one. Cleaning runs on the executor; ``open`` waits for it.
- The pool is warmed: a recogniser's first utterance costs half a second more than the others.
- Partial word times are never requested: they delay partials to two seconds.
- A recogniser whose run failed or got stuck is discarded and replaced.
- The library ends a segment by itself after half a second of silence; segments are joined, so
  that an utterance is everything between ``open`` and ``finish``.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from media.formats import HEARING_RATE, SAMPLE_BYTES
from pipelines.engines.base import EngineBusy, EngineError, ModelUnavailable, Transcription, Word
from pipelines.engines.engine import Engine, EngineSettings, Role, warmed
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.resources import usable_cores
from pipelines.weights.manifest import MODELS

log = logging.getLogger(__name__)

T = TypeVar("T")

WARMING = (np.random.default_rng(7).standard_normal(HEARING_RATE) * 3000).astype("<i2").tobytes()
"""A second of noise: enough to make the decoder allocate what speech will need."""


class _Recognizer:
    """A KaldiRecognizer and the utterance in it; everything here runs on executor threads."""

    def __init__(self, model: Any) -> None:
        import vosk

        self._kaldi = vosk.KaldiRecognizer(model, HEARING_RATE)
        self._kaldi.SetWords(True)
        self._lock = Lock()
        self._fed = 0
        """Samples since the recogniser was created: the library never restarts its word times."""
        self._begun = 0
        """``_fed`` when the current utterance began."""
        self._texts: list[str] = []
        self._words: list[Word] = []
        self.accept(WARMING)
        self.finish()

    def accept(self, pcm: bytes) -> str:
        """Decode the next samples; the text of the utterance so far."""
        with self._lock:
            self._fed += len(pcm) // SAMPLE_BYTES
            if self._kaldi.AcceptWaveform(pcm):
                self._keep(self._kaldi.Result())
                return " ".join(self._texts)
            partial = json.loads(self._kaldi.PartialResult())["partial"]
            return " ".join([*self._texts, partial]) if partial else " ".join(self._texts)

    def finish(self) -> Transcription:
        """The utterance's final text; leaves the recogniser clean."""
        with self._lock:
            self._keep(self._kaldi.FinalResult())
            self._kaldi.Reset()
            heard = Transcription(" ".join(self._texts), tuple(self._words))
            self._texts.clear()
            self._words.clear()
            self._begun = self._fed
            return heard

    def _keep(self, result: str) -> None:
        segment = json.loads(result)
        if segment["text"]:
            self._texts.append(segment["text"])
        self._words += [
            Word(
                text=word["word"],
                start=max(0, round(word["start"] * HEARING_RATE) - self._begun),
                end=max(0, round(word["end"] * HEARING_RATE) - self._begun),
                confidence=word["conf"],
            )
            for word in segment.get("result", ())
        ]


class VoskStream:
    """One utterance; its methods must not overlap."""

    def __init__(self, engine: "VoskTranscriber", recognizer: _Recognizer) -> None:
        self._engine = engine
        self._recognizer: _Recognizer | None = recognizer

    async def accept(self, pcm: bytes) -> str:
        """Take the next samples (HEARING_RATE) and return the partial text so far."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are not a whole number of 16-bit samples")
        return await self._run(self._open_recognizer().accept, pcm)

    async def finish(self) -> Transcription:
        """End the utterance and return its final text, with word times."""
        recognizer = self._open_recognizer()
        heard = await self._run(recognizer.finish)
        self._recognizer = None
        self._engine.give_back(recognizer, clean=True)
        return heard

    def close(self) -> None:
        """Give the recogniser back; harmless when called twice."""
        if self._recognizer is not None:
            recognizer, self._recognizer = self._recognizer, None
            self._engine.give_back(recognizer, clean=False)

    def _open_recognizer(self) -> _Recognizer:
        if self._recognizer is None:
            raise RuntimeError("the utterance is over: open a new one")
        return self._recognizer

    async def _run(self, fn: Callable[..., T], *args: Any) -> T:
        try:
            return await self._engine.run(fn, *args)
        except EngineBusy:
            raise
        except EngineError:
            self._recognizer = None
            self._engine.replace()
            raise


class VoskTranscriber:
    """StreamingTranscriber for English."""

    model_id = "vosk-small-en"

    def __init__(
        self,
        model_dir: Path,
        *,
        recognizers: int = 8,
        workers: int = 2,
        deadline: float = 10.0,
    ) -> None:
        """``recognizers`` utterances at once; ``deadline`` (seconds) bounds each step."""
        self._model_dir = model_dir
        self._recognizers = recognizers
        self._deadline = deadline
        self._executor = EngineExecutor(
            self.model_id, workers, 4 * recognizers, role=Role.STREAMING_TRANSCRIPTION
        )
        self._model: Any = None
        self._idle: list[_Recognizer] = []
        self._made = 0
        """Recognisers that are idle, in use, or being cleaned or created."""
        self._chores: set[asyncio.Task[None]] = set()
        """Recognisers on their way back to the pool."""
        self.load_seconds = 0.0

    async def warm(self) -> None:
        """Load the model and fill the pool."""
        while self._made < self._recognizers:
            self._made += 1
            await self._add()

    async def open(self, language: str = "en") -> VoskStream:
        """Begin an utterance.

        Raises EngineBusy when all recognisers are taken, ModelUnavailable for a language other
        than English."""
        if language.partition("-")[0].lower() != "en":
            raise ModelUnavailable(f"{self.model_id} understands English only, not {language!r}")
        while not self._idle:
            if self._chores:
                await asyncio.wait(
                    self._chores, timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED
                )
            elif self._made < self._recognizers:
                self._made += 1
                await self._add()
            else:
                raise EngineBusy(f"{self.model_id}: all {self._made} recognisers are in use")
        return VoskStream(self, self._idle.pop())

    async def close(self) -> None:
        """End the threads and free the model; open utterances fail."""
        chores = list(self._chores)
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        await self._executor.close()
        self._idle.clear()
        self._model = None

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Run a recogniser's method on the executor; for this engine's streams."""
        return await self._executor.run(fn, *args, deadline=self._deadline)

    def give_back(self, recognizer: _Recognizer, *, clean: bool) -> None:
        """Return a recogniser to the pool, cleaning it first if needed."""
        if clean:
            self._idle.append(recognizer)
        else:
            self._begin(self._clean(recognizer))

    def replace(self) -> None:
        """Create a recogniser in place of a lost one."""
        self._begin(self._add())

    def _begin(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _clean(self, recognizer: _Recognizer) -> None:
        try:
            await self.run(recognizer.finish)
        except EngineError as error:
            log.warning("a recogniser is discarded: %s", error)
            await self._add()
        else:
            self._idle.append(recognizer)

    async def _add(self) -> None:
        """Create one more recogniser; if that fails, a later ``open`` tries again."""
        try:
            self._idle.append(await self._executor.run(self._make, deadline=60))
        except BaseException as error:
            self._made -= 1
            if not isinstance(error, EngineError) or asyncio.current_task() not in self._chores:
                raise
            log.warning("a recogniser could not be created: %s", error)

    def _make(self) -> _Recognizer:
        if self._model is None:
            import vosk

            began = time.monotonic()
            vosk.SetLogLevel(-1)
            self._model = vosk.Model(str(self._model_dir))
            self.load_seconds = time.monotonic() - began
        return _Recognizer(self._model)


_PER_CORE = 8
"""Recognisers: two cores transcribe some 16 streams at once. Each takes 10 MB, and half a second of
a core to warm, so that a node of 400 calls would spend 4 GB and minutes on its own."""


async def _load(settings: EngineSettings) -> VoskTranscriber:
    folder = settings.models_dir / VoskTranscriber.model_id
    recognizers = min(settings.calls, _PER_CORE * usable_cores())
    return await warmed(VoskTranscriber(folder, recognizers=recognizers))


ENGINE = Engine(
    role=Role.STREAMING_TRANSCRIPTION,
    id=VoskTranscriber.model_id,
    weights=(MODELS[VoskTranscriber.model_id],),
    load=_load,
)
