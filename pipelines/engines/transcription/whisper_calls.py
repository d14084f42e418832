"""WhisperCalls: what callers say in other languages than English, and which language they speak.

Model: Whisper base (MIT), as in ``whisper``, on CTranslate2 (MIT) itself, int8.

Rules
- One model for all calls, on threads of its own: a long recording never holds up a call.
- CTranslate2 is called directly, without word times: an utterance of 2.5 s costs 0.2 s of one core
  instead of 0.37. The library that prepares recordings would also stop the
  event loop for 55 ms while it reads its tokenizer, which is not needed here.
- The encoder is given an utterance and ``REST_SECONDS`` of silence, not 30 s (see ``whisper``).
- At most ``workers`` decodings run at once, one thread each. Utterances that wait meanwhile are
  decoded together (four at once take two thirds of the time); at most ``queue_limit`` wait, in a
  line for each call. One more is refused with EngineBusy, or takes the place of the newest in the
  longest line.
- A partial transcript is decoded only where a thread is idle and another one stays free for the
  final transcripts; otherwise it is skipped, and the last one stands.
- The text ends at the first time that the model writes near the end of the utterance: after it, it
  was seen to say the whole sentence again (measured: 24 % of words wrong in Portuguese instead of
  9 %, 16 instead of 14 % in French).
- A text that goes in circles is decoded again with repeated n-grams forbidden, as in recordings.
"""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from media.formats import HEARING_RATE, SAMPLE_BYTES
from pipelines.engines.base import (
    DetectedLanguage,
    EngineBusy,
    EngineError,
    EngineTimeout,
    HearingLoad,
    ModelUnavailable,
    Transcription,
    base_language,
)
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.fair_queue import FLOW, FairQueue
from pipelines.engines.resources import usable_cores
from pipelines.weights.manifest import MODELS

from .moonshine import SHORTEST, pieces, tidy
from .smart_turn import log_mel
from .whisper import (
    FRAMES_PER_SECOND,
    LANGUAGES,
    LOAD_DEADLINE,
    MODEL_ID,
    MOST_TOKENS,
    NGRAM,
    OVER_SECONDS,
    REST_SECONDS,
    TOKENS,
    TOKENS_PER_SECOND,
    looping,
)

Samples = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float32]

BEAMS = 3
"""Words wrong over the telephone with 2, 3 and 5: fr 16.2, 14.6, 16.0 %; es 4.6, 4.3, 4.0; de 5.7,
5.7, 5.1; it 9.1, 8.1, 7.5; pt 6.1, 5.8, 5.2. It costs 9 and 14 % more CPU than 2."""
BATCH = 4
"""Utterances decoded together: eight saved little more, and the first of them waits for all."""
DEADLINE = 20.0
"""Seconds for an utterance, its time in the queue included."""
DETECTION_DEADLINE = 5.0

LONGEST = 27 * HEARING_RATE
"""Samples decoded at once: 30 s with the silence after them. The beginning of a longer utterance
is not decoded again for a partial transcript."""

PARTIAL_SAMPLES = HEARING_RATE
"""Speech between two partial transcripts, each of which decodes the utterance so far."""

DETECTION_SAMPLES = 4 * HEARING_RATE
DETECTION_REST_SECONDS = 0.5
"""Audio, and silence after it, by which a language is recognised; 3 s of silence cost 60 % more."""

NO_SPEECH, IMPROBABLE = 0.6, -1.0
"""A text is dropped where the model doubts both that there was speech and what it said: the
probability of no speech and the mean logarithm of the text's (Whisper's own thresholds)."""

_START, _TASK, _MARK = "<|startoftranscript|>", "<|transcribe|>", "<|"
_TIME = re.compile(r"<\|(\d+\.\d+)\|>")


def workers_here() -> int:
    """Decodings at once: half of the cores, from two to four."""
    return min(4, max(2, usable_cores() // 2))


def _byte_table() -> dict[str, int]:
    """The characters by which the vocabulary writes bytes (OpenAI's GPT-2, ``encoder.py``)."""
    seen = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    unseen = [byte for byte in range(256) if byte not in set(seen)]
    return {chr(byte): byte for byte in seen} | {
        chr(256 + number): byte for number, byte in enumerate(unseen)
    }


_BYTES = _byte_table()


def text_of(tokens: Sequence[str], seconds: float = 30.0) -> str:
    """The text of tokens as the vocabulary writes them, without marks and broken characters, up to
    the first time close to ``seconds``, the length of the utterance."""
    written = ""
    for token in tokens:
        at = _TIME.fullmatch(token)
        if at is not None and written and float(at[1]) >= seconds - OVER_SECONDS:
            break
        if not token.startswith(_MARK):
            written += token
    raw = bytes(_BYTES[character] for character in written)
    return tidy(raw.decode("utf-8", errors="ignore"))


def features(samples: Samples, rest_seconds: float = REST_SECONDS) -> Floats:
    """The model's input [80, frames]: the log-mel spectrogram of samples at HEARING_RATE and zeros
    after it, as Whisper was trained with; at most the 30 s that it takes."""
    heard = log_mel(np.pad(samples.astype(np.float32) * np.float32(1 / 32768), (0, 160)))
    frames = min(heard.shape[1] + int(rest_seconds * FRAMES_PER_SECOND), 30 * FRAMES_PER_SECOND)
    frames -= frames % 2  # two frames make one position
    padded: Floats = np.zeros((heard.shape[0], frames), np.float32)
    length = min(frames, heard.shape[1])
    padded[:, :length] = heard[:, :length]
    return padded


class _Utterance:
    """What is to be decoded, and where the text goes."""

    __slots__ = ("flow", "language", "samples", "text")

    def __init__(self, samples: Samples, language: str) -> None:
        self.samples = samples
        self.language = language
        self.flow = FLOW.get()
        self.text: asyncio.Future[str] = asyncio.get_running_loop().create_future()


class WhisperCalls:
    """Transcriber, StreamingTranscriber and LanguageDetector; see ``load``."""

    model_id = MODEL_ID
    languages = LANGUAGES

    def __init__(
        self,
        model: Any,
        *,
        workers: int = 2,
        queue_limit: int = 32,
        deadline: float = DEADLINE,
    ) -> None:
        """``model``: a ``ctranslate2.models.Whisper`` built for ``workers`` parallel runs;
        ``deadline`` (seconds) bounds each utterance."""
        self.workers = workers
        self._model = model
        self._queue_limit = queue_limit
        self._deadline = deadline
        self._executor = EngineExecutor(
            f"{MODEL_ID} for calls", workers, queue_limit=16, role=Role.TRANSCRIPTION
        )
        self._waiting: FairQueue[_Utterance] = FairQueue()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def load(cls, folder: Path, *, workers: int | None = None) -> "WhisperCalls":
        """From the model's directory, warm. Raises EngineFailed, EngineTimeout."""
        workers = workers or workers_here()
        loader = EngineExecutor(f"{MODEL_ID} loader", 1, 0)
        try:
            model = await loader.run(_open, folder, workers, deadline=LOAD_DEADLINE)
        finally:
            await loader.close()
        calls = cls(model, workers=workers)
        try:
            await calls.warm()
        except EngineError:
            await calls.close()
            raise
        return calls

    async def warm(self) -> None:
        """Hear something on every thread, so that the first call is as fast as the tenth."""
        hum = (np.sin(np.arange(HEARING_RATE) * 0.1) * 3000).astype("<i2").tobytes()
        await asyncio.gather(*(self.transcribe(hum, "es") for _ in range(self.workers)))

    @property
    def load_now(self) -> HearingLoad:
        """How many utterances are decoded and wait now."""
        return HearingLoad(self._running, len(self._waiting), self.workers)

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:
        """The text of an utterance; the empty text for less than 100 ms.

        Raises ModelUnavailable (language), EngineBusy, EngineTimeout, EngineFailed."""
        language = self._known(language)
        texts = [await self.hear(piece, language) for piece in pieces(_samples(pcm), LONGEST)]
        return Transcription(" ".join(text for text in texts if text), language=language)

    async def open(self, language: str = "en") -> "WhisperStream":
        """Begin an utterance. Raises ModelUnavailable (language), EngineBusy while so many
        utterances wait that another one would be refused."""
        language = self._known(language)
        if (busy := self._busy()) is not None:
            raise busy
        return WhisperStream(self, language)

    async def detect(self, pcm: bytes, languages: Sequence[str]) -> DetectedLanguage:
        """See LanguageDetector. Raises ValueError without ``languages``, ModelUnavailable for one
        that the model does not know, EngineBusy, EngineTimeout, EngineFailed."""
        known = list(dict.fromkeys(self._known(language) for language in languages))
        if not known:
            raise ValueError("a language is recognised among at least one")
        samples = _samples(pcm)[:DETECTION_SAMPLES]
        if len(known) == 1 or len(samples) < SHORTEST:
            return DetectedLanguage(known[0], 1.0 / len(known))
        chances = await self._executor.run(
            self._chances, self._model, samples, deadline=DETECTION_DEADLINE
        )
        best = max(known, key=lambda language: chances.get(language, 0.0))
        total = sum(chances.get(language, 0.0) for language in known)
        share = chances.get(best, 0.0) / total if total > 0 else 1.0 / len(known)
        return DetectedLanguage(best, share)

    async def close(self) -> None:
        """End the threads and free the model; utterances that wait fail."""
        await self._executor.close()
        while self._tasks:
            await asyncio.gather(*self._tasks)
        self._model = None

    # ------------------------------------------------------------------ for the streams

    async def hear(self, samples: Samples, language: str) -> str:
        """The text of at most 30 s; waits for its turn. Errors as ``transcribe``."""
        utterance = _Utterance(samples, language)
        self._make_room(utterance.flow)
        self._waiting.push(utterance, utterance.flow)
        self._serve()
        try:
            async with asyncio.timeout(self._deadline):
                return await utterance.text
        except TimeoutError:
            raise EngineTimeout(f"{self.model_id}: no text in {self._deadline:g} s") from None
        finally:
            self._waiting.remove(utterance, utterance.flow)

    async def hear_now(self, samples: Samples, language: str) -> str | None:
        """As ``hear``; None where no thread can be spared at once."""
        if self._waiting or self._running >= max(1, self.workers - 1):
            return None
        return await self.hear(samples, language)

    # ------------------------------------------------------------------ inside

    def _known(self, language: str) -> str:
        base = base_language(language)
        if base not in self.languages:
            raise ModelUnavailable(f"{self.model_id} does not understand {language!r}")
        return base

    def _busy(self) -> EngineBusy | None:
        if len(self._waiting) < self._queue_limit:
            return None
        return EngineBusy(
            f"{self.model_id}: {len(self._waiting)} utterances are waiting; try later"
        )

    def _make_room(self, flow: str) -> None:
        """Refuse the newest utterance of another call for one of ``flow``; raises EngineBusy."""
        busy = self._busy()
        if busy is None:
            return
        displaced = self._waiting.displaced(flow)
        if displaced is None:
            raise busy
        if not displaced.text.done():
            displaced.text.set_exception(busy)

    def _serve(self) -> None:
        """Give what waits to the threads that are idle."""
        while self._waiting and self._running < self.workers:
            count = min(BATCH, len(self._waiting))
            batch = [self._waiting.pop() for _ in range(count)]
            self._running += 1
            task = asyncio.create_task(self._decode(batch), name=f"{self.model_id} utterances")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _decode(self, batch: list[_Utterance]) -> None:
        given = [(one.samples, one.language) for one in batch]
        try:
            texts = await self._executor.run(
                self._texts, self._model, given, deadline=self._deadline
            )
        except EngineError as error:
            for one in batch:
                if not one.text.done():
                    one.text.set_exception(error)
        else:
            for one, text in zip(batch, texts, strict=True):
                if not one.text.done():
                    one.text.set_result(text)
        finally:
            self._running -= 1
            self._serve()

    @staticmethod
    def _texts(model: Any, batch: Sequence[tuple[Samples, str]]) -> list[str]:
        """The texts of utterances; runs on a thread."""
        encoded = model.encode(_view([features(samples) for samples, _ in batch]))
        prompts = [[_START, f"<|{language}|>", _TASK] for _, language in batch]
        seconds = [len(samples) / HEARING_RATE for samples, _ in batch]
        texts = _generated(model, encoded, prompts, seconds)
        if any(looping(text, len(one[0])) for text, one in zip(texts, batch, strict=True)):
            again = _generated(model, encoded, prompts, seconds, no_repeat_ngram_size=NGRAM)
            for number, (samples, _) in enumerate(batch):
                if looping(texts[number], len(samples)):
                    texts[number] = min(texts[number], again[number], key=len)
        return texts

    @staticmethod
    def _chances(model: Any, samples: Samples) -> dict[str, float]:
        """The probability of every language that the model knows; runs on a thread."""
        (found,) = model.detect_language(_view([features(samples, DETECTION_REST_SECONDS)]))
        return {mark.strip("<|>"): float(chance) for mark, chance in found}


class WhisperStream:
    """One utterance, decoded anew about every second; its methods must not overlap."""

    def __init__(self, calls: WhisperCalls, language: str) -> None:
        self._calls = calls
        self._language = language
        self._pcm = bytearray()
        self._decoded = 0
        """Samples of ``_pcm`` that the last partial transcript covers."""
        self._settled = ""
        """Text of what was cut from the beginning of ``_pcm``."""
        self._text = ""

    async def accept(self, pcm: bytes) -> str:
        """Take the next samples (HEARING_RATE) and return the partial text so far, which is up to
        a second old, or older where no thread was idle."""
        self._pcm += pcm
        samples = _samples(self._pcm)
        if len(samples) - self._decoded < PARTIAL_SAMPLES:
            return self._partial()
        samples = next(pieces(samples, LONGEST))
        text = await self._calls.hear_now(samples, self._language)
        if text is None:
            return self._partial()
        if len(samples) < len(self._pcm) // SAMPLE_BYTES:
            self._settled, self._text, self._decoded = _joined(self._settled, text), "", 0
            del self._pcm[: len(samples) * SAMPLE_BYTES]
        else:
            self._text, self._decoded = text, len(samples)
        return self._partial()

    async def finish(self) -> Transcription:
        """End the utterance and return its final text."""
        heard = await self._calls.transcribe(bytes(self._pcm), self._language)
        self.close()
        return Transcription(_joined(self._settled, heard.text), language=self._language)

    def close(self) -> None:
        """Forget the audio; harmless when called twice."""
        self._pcm.clear()

    def _partial(self) -> str:
        return _joined(self._settled, self._text)


def _joined(*texts: str) -> str:
    return " ".join(text for text in texts if text)


def _samples(pcm: bytes | bytearray) -> Samples:
    if len(pcm) % SAMPLE_BYTES:
        raise ValueError(f"{len(pcm)} bytes are not a whole number of 16-bit samples")
    return np.frombuffer(bytes(pcm), "<i2")


def _view(inputs: Sequence[Floats]) -> Any:
    """The model's input for several utterances: zeros after the shorter ones."""
    from ctranslate2 import StorageView

    frames = max(one.shape[1] for one in inputs)
    padded = [np.pad(one, ((0, 0), (0, frames - one.shape[1]))) for one in inputs]
    return StorageView.from_array(np.ascontiguousarray(np.stack(padded)))


def _generated(
    model: Any,
    encoded: Any,
    prompts: list[list[str]],
    seconds: list[float],
    **options: Any,
) -> list[str]:
    limit = min(MOST_TOKENS, TOKENS + int(TOKENS_PER_SECOND * max(seconds)))
    results = model.generate(
        encoded,
        prompts,
        beam_size=BEAMS,
        max_length=len(prompts[0]) + limit,
        return_scores=True,
        return_no_speech_prob=True,
        **options,
    )
    return [
        ""
        if one.no_speech_prob > NO_SPEECH and one.scores[0] < IMPROBABLE
        else text_of(one.sequences[0], length)
        for one, length in zip(results, seconds, strict=True)
    ]


def _open(folder: Path, workers: int) -> Any:
    from ctranslate2.models import Whisper

    return Whisper(
        str(folder), device="cpu", compute_type="int8", inter_threads=workers, intra_threads=1
    )


async def _load(settings: EngineSettings) -> WhisperCalls:
    return await WhisperCalls.load(settings.models_dir / MODEL_ID)


async def _same(_settings: EngineSettings, calls: WhisperCalls) -> WhisperCalls:
    """One engine has all roles."""
    return calls


_KEY = Role.TRANSCRIPTION, MODEL_ID
WORD_ERRORS = {"es": 0.04, "fr": 0.15, "de": 0.06, "it": 0.08, "pt": 0.06}
"""Share of words heard wrongly in turns of four words and more through the telephone's 8 kHz, 48
turns a language (``bench.languages``)."""

ENGINES = (
    Engine(
        role=Role.TRANSCRIPTION,
        id=MODEL_ID,
        weights=(MODELS[MODEL_ID],),
        library="ctranslate2",
        extra="blab[jobs]",
        languages=LANGUAGES,
        background=True,
        word_errors=WORD_ERRORS,
        load=_load,
    ),
    Engine(
        role=Role.STREAMING_TRANSCRIPTION,
        id=MODEL_ID,
        languages=LANGUAGES,
        needs=(_KEY,),
        background=True,
        load=_same,
    ),
    Engine(
        role=Role.LANGUAGE,
        id=MODEL_ID,
        languages=LANGUAGES,
        needs=(_KEY,),
        background=True,
        load=_same,
    ),
)
