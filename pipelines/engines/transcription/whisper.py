"""WhisperTranscriber: recordings of any length in 99 languages, with word times.

Model: Whisper base (MIT), https://github.com/openai/whisper, as faster-whisper (MIT) runs it on
CTranslate2, int8.

Rules
- Loaded from a directory, never from a hub.
- The encoder is given a window and ``REST_SECONDS`` of silence instead of 30 s: a short clip takes
  a sixth of the time and is recognised as well (19 of 200 words wrong instead of 17).
- Text that repeats itself, or is longer than anybody can speak, is decoded again with repeated
  n-grams forbidden. Not in the first pass: that also breaks what was really said repeatedly.
- Bytes that do not form a whole character (the end of a truncated text) are dropped.
- It is given windows of speech only (``speech_windows``): on silence and noise it invents words.
  Nothing is carried from window to window, so that one bad window does not spoil the next.
- One window is one task on the executor, with a deadline. A listener that leaves is free at once;
  the window under way finishes by itself within seconds.
"""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from media.formats import HEARING_RATE
from media.vad import SileroModel
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.jobs import Transcribed
from pipelines.engines.resources import usable_cores
from pipelines.weights.manifest import MODELS

from .speech_windows import SpokenText, Understood, Window, hear_windows, timed_segments
from .voice_activity import MODEL_ID as SILERO
from .voice_activity import silero_file

MODEL_ID = "whisper-base"
LANGUAGES: tuple[str, ...] = tuple(
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he"
    " hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne"
    " nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk"
    " ur uz vi yi yo zh".split()
)
LOAD_DEADLINE = 120.0
WINDOW_DEADLINE = 180.0
"""Seconds for a window, including its time in the queue; a full one takes 2-10 s of one core."""

BEAMS = 2
"""Hypotheses kept: 5 cost half as much again and were no more accurate."""
TEMPERATURES = (0.0, 0.4, 0.8)
"""Tried in turn if a text is improbable or repeats itself."""

SURE = 0.5
"""Probability from which a window's language is the recording's."""

FRAMES_PER_SECOND = 100
REST_SECONDS = 3.0
"""Silence after the window; without it the decoder does not find the end."""

OVER_SECONDS = 0.6
"""So close to the end of a window no more words come; decoding on, the model invents some."""

EARLY_SECONDS = 0.07
"""By how much the times of words are early, as they are read off the decoder's attention: measured
against forced alignment, in the median of 180 English words (``bench.word_times``)."""

TOKENS_PER_SECOND, TOKENS, MOST_TOKENS = 30, 20, 440
"""Limit for a window: tokens per second, plus a constant; Devanagari takes up to 25 a second."""

NGRAM = 4
"""Tokens in a row that may occur only once when decoding again."""

REPETITIVE = 2.4
"""Compression ratio of a text above which it counts as a loop (Whisper's own threshold)."""

CHARACTERS_PER_SECOND, CHARACTERS = 30, 10
"""Nobody says more in a window's time: fast speech has 20 characters a second."""

Floats = npt.NDArray[np.float32]
Encode = Callable[[Floats], Any]


def threads() -> int:
    """Threads for one window: one core is left for other work."""
    return max(1, usable_cores() - 1)


class WhisperTranscriber:
    """A FileTranscriber; see ``load``."""

    languages = LANGUAGES
    translates = True

    def __init__(
        self, model: Any, vad: SileroModel, *, model_id: str = MODEL_ID, workers: int = 2
    ) -> None:
        """``model`` is a ``faster_whisper.WhisperModel`` built for ``workers`` parallel runs."""
        self.model_id = model_id
        self._model = model
        self._vad = vad
        self._executor = EngineExecutor(
            model_id, workers, queue_limit=32, role=Role.FILE_TRANSCRIPTION
        )

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
        self, pcm: AsyncIterator[bytes], language: str | None = None, *, english: bool = False
    ) -> AsyncGenerator[Transcribed, None]:
        """See FileTranscriber. Raises ModelUnavailable (language), EngineBusy, EngineTimeout,
        EngineFailed."""
        if language is not None:
            language = language.partition("-")[0].lower()
            if language not in self.languages:
                raise ModelUnavailable(f"{self.model_id} does not transcribe {language!r}")
        task = "translate" if english else "transcribe"
        understand = partial(self._understand, task)
        async with aclosing(hear_windows(pcm, language, self._vad, understand)) as hearings:
            async for hearing in hearings:
                yield hearing

    async def close(self) -> None:
        """End the threads and free the model."""
        await self._executor.close()
        self._model = None

    async def _understand(self, task: str, window: Window, language: str | None) -> Understood:
        return await self._executor.run(
            self._hear, self._model, window, language, task, deadline=WINDOW_DEADLINE
        )

    def _hear(self, model: Any, window: Window, language: str | None, task: str) -> Understood:
        """The transcript of the window; runs on a thread."""
        samples = window.samples.astype(np.float32) * np.float32(1 / 32768)
        found, info = _decoded(model, samples, language, task=task)
        if looping(_text(found), len(samples)):
            again, _ = _decoded(
                model, samples, str(info.language), task=task, no_repeat_ngram_size=NGRAM
            )
            found = min(
                (again, found), key=lambda one: (looping(_text(one), len(samples)), len(_text(one)))
            )
        segments = timed_segments(window, [_spoken(one) for one in found])
        return Understood(segments, str(info.language), float(info.language_probability) >= SURE)


def _decoded(
    model: Any, samples: Floats, language: str | None, **options: Any
) -> tuple[list[Any], Any]:
    """The vendor's segments and its information about the language."""
    seconds = len(samples) / HEARING_RATE
    stream, info = model.transcribe(
        samples,
        language=language,
        beam_size=BEAMS,
        temperature=TEMPERATURES,
        condition_on_previous_text=False,
        word_timestamps=True,
        max_new_tokens=min(MOST_TOKENS, TOKENS + int(TOKENS_PER_SECOND * seconds)),
        **options,
    )
    found = []
    for segment in stream:
        found.append(segment)
        if segment.end >= seconds - OVER_SECONDS:
            break
    return found, info


def _text(found: list[Any]) -> str:
    return "".join(str(segment.text) for segment in found).strip()


def looping(text: str, samples: int) -> bool:
    """Whether a text repeats itself, or has more characters than fit into ``samples``."""
    if len(text) > CHARACTERS + CHARACTERS_PER_SECOND * samples / HEARING_RATE:
        return True
    raw = text.encode()
    return len(raw) > REPETITIVE * len(zlib.compress(raw))


def _whole(text: str) -> str:
    """``text`` without replacement characters (bytes that were not a whole character)."""
    return text.replace("\ufffd", "")


def only_what_is_heard(encode: Encode) -> Encode:
    """``encode``, applied to the frames of the window and ``REST_SECONDS`` instead of the 3000
    frames to which faster-whisper pads with zeros; features are [bands, frames]."""

    def encoded(features: Floats) -> Any:
        heard = np.flatnonzero(features.any(axis=0))
        last = int(heard[-1]) + 1 if len(heard) else 0
        frames = last + int(REST_SECONDS * FRAMES_PER_SECOND)
        return encode(features[:, : frames + frames % 2])  # two frames make one position

    return encoded


def _spoken(found: Any) -> SpokenText:
    words = ((_whole(str(word.word)), word) for word in found.words or ())
    return SpokenText(
        _whole(str(found.text)),
        float(found.start),
        float(found.end),
        tuple(
            (
                text,
                float(word.start) + EARLY_SECONDS,
                float(word.end) + EARLY_SECONDS,
                float(word.probability),
            )
            for text, word in words
        ),
    )


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
    model.encode = only_what_is_heard(model.encode)
    return model, SileroModel(vad)


async def _load(settings: EngineSettings) -> WhisperTranscriber:
    home = settings.models_dir
    return await WhisperTranscriber.load(home / MODEL_ID, silero_file(home))


ENGINE = Engine(
    role=Role.FILE_TRANSCRIPTION,
    id=MODEL_ID,
    weights=(MODELS[MODEL_ID], MODELS[SILERO]),
    library="faster_whisper",
    extra="blab[jobs]",
    languages=LANGUAGES,
    on_demand=True,
    load=_load,
)
