"""WhisperTranscriber: recordings of any length in 99 languages, with word times.

Model: Whisper base (MIT), https://github.com/openai/whisper, as faster-whisper (MIT) runs it on
CTranslate2, int8. It reads 30 s at once and takes as long for a word as for a sentence.

Rules
- Loaded from a directory, never from a hub.
- It hears windows of speech only (``speech_windows``): on silence and noise it invents words.
  Nothing is carried from window to window, so that one bad window stays one.
- One window is one call on the executor, under a deadline. Who stops listening is free at once;
  a window that is being heard ends by itself, in some seconds.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np

from media.silero import SileroModel

from .base import ModelUnavailable, Word
from .executor import EngineExecutor
from .jobs import Hearing, Segment
from .speech_windows import Window
from .window_hearing import Understood, hear_windows, timed_segment

MODEL_ID = "whisper-base"
LANGUAGES: tuple[str, ...] = tuple(
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he"
    " hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne"
    " nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk"
    " ur uz vi yi yo zh".split()
)
LOAD_DEADLINE = 120.0
WINDOW_DEADLINE = 180.0
"""Seconds for a window, time in the queue included; a full one takes 5-15 s of one core."""

BEAMS = 2
"""Hypotheses kept: 5 cost half as much again and heard no better."""
TEMPERATURES = (0.0, 0.4, 0.8)
"""Tried in turn where a text is improbable or repeats itself."""

SURE = 0.5
"""Probability from which a window's language is the recording's."""


def threads() -> int:
    """Threads of one call: one core is left to the others."""
    return max(1, (os.cpu_count() or 1) - 1)


class WhisperTranscriber:
    """A FileTranscriber; see ``load``."""

    languages = LANGUAGES

    def __init__(
        self, model: Any, vad: SileroModel, *, model_id: str = MODEL_ID, workers: int = 2
    ) -> None:
        """``model`` is a ``faster_whisper.WhisperModel`` made for ``workers`` calls at once."""
        self.model_id = model_id
        self._model = model
        self._vad = vad
        self._executor = EngineExecutor(model_id, workers, queue_limit=32)

    @classmethod
    async def load(
        cls, folder: Path, vad: Path, *, model_id: str = MODEL_ID, workers: int = 2
    ) -> "WhisperTranscriber":
        """From the model's directory and Silero's ONNX file; a second, 250 MB.

        Raises EngineFailed, EngineTimeout."""
        loader = EngineExecutor(f"{model_id} loader", 1, 0)
        try:
            model, silero = await loader.run(_open, folder, vad, workers, deadline=LOAD_DEADLINE)
        finally:
            await loader.close()
        return cls(model, silero, model_id=model_id, workers=workers)

    async def transcribe_file(
        self, pcm: AsyncIterator[bytes], language: str | None = None
    ) -> AsyncGenerator[Hearing, None]:
        """See FileTranscriber. Raises ModelUnavailable (language), EngineBusy, EngineTimeout,
        EngineFailed."""
        if language is not None:
            language = language.partition("-")[0].lower()
            if language not in self.languages:
                raise ModelUnavailable(f"{self.model_id} does not hear {language!r}")
        async with aclosing(hear_windows(pcm, language, self._vad, self._understand)) as hearings:
            async for hearing in hearings:
                yield hearing

    async def close(self) -> None:
        """End the threads and free the model."""
        await self._executor.close()
        self._model = None

    async def _understand(self, window: Window, language: str | None) -> Understood:
        return await self._executor.run(
            self._hear, self._model, window, language, deadline=WINDOW_DEADLINE
        )

    def _hear(self, model: Any, window: Window, language: str | None) -> Understood:
        """What the window says; runs on a thread."""
        found, info = model.transcribe(
            window.samples.astype(np.float32) * np.float32(1 / 32768),
            language=language,
            beam_size=BEAMS,
            temperature=TEMPERATURES,
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        segments = tuple(_segment(window, one) for one in found)
        return Understood(segments, str(info.language), float(info.language_probability) >= SURE)


def _segment(window: Window, found: Any) -> Segment:
    words = found.words or ()
    times = [(str(word.word), float(word.start), float(word.end)) for word in words]
    segment = timed_segment(window, str(found.text), float(found.start), float(found.end), times)
    chances = [float(word.probability) for word in words if word.word.strip()]
    sure = tuple(
        Word(word.text, word.start, word.end, chance)
        for word, chance in zip(segment.words, chances, strict=True)
    )
    return Segment(segment.start, segment.end, segment.text, sure)


def _open(folder: Path, vad: Path, workers: int) -> tuple[Any, SileroModel]:
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(folder),
        device="cpu",
        compute_type="int8",
        cpu_threads=threads(),
        num_workers=workers,
        local_files_only=True,
    )
    return model, SileroModel(vad)
