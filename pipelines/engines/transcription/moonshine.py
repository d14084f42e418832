"""MoonshineTranscriber: the final text of an utterance, with punctuation.

Library and model: Moonshine Voice (MIT), https://github.com/moonshine-ai/moonshine, tiny-en.

Rules
- A vendor transcriber is not safe to share between threads (it returns garbage), so there is one
  per running call, kept in a pool of ``workers``; the C call releases the interpreter lock.
- The library's own voice detection is off: it is given only what the VAD called speech, because it
  invents words where there are none.
- Samples go to the C library as they are in memory. The package's own Python method would build
  a list of float objects from them, under the interpreter lock: 10 ms per second of speech.
- Speech longer than ``PIECE_SECONDS`` is cut at its quietest point and the texts are joined.
- It recognises more with a little silence at both ends: about 300 ms before the first word and
  200 ms after the last (measured: 2.9 % of words wrong instead of 6.3 %). A turn with its prefix
  padding and endpointing silence has that already; nothing is added here.
- ``tidy`` drops what the decoder was seen to add on its own.
"""

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from media.formats import HEARING_RATE, SAMPLE_BYTES
from pipelines.engines.base import HearingLoad, ModelUnavailable, Transcription
from pipelines.engines.engine import Engine, EngineSettings, Role, warmed
from pipelines.engines.executor import EngineExecutor
from pipelines.weights.manifest import MODELS

PIECE_SECONDS = 30
"""Longest audio given to the model at once."""

EARLIEST_CUT = 0.6
"""A cut is sought in the last 40 % of a piece."""

QUIET = HEARING_RATE // 10
"""Samples (100 ms) over which loudness is compared to find the quietest point."""

SHORTEST = HEARING_RATE // 10
"""Samples below which there is nothing to hear."""

QUOTES = "'\"`‘’“”"

Samples = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float32]


def pieces(samples: Samples, longest: int = PIECE_SECONDS * HEARING_RATE) -> Iterator[Samples]:
    """``samples`` in pieces of at most ``longest`` samples, cut at the quietest 100 ms."""
    while len(samples) > longest:
        earliest = int(longest * EARLIEST_CUT)
        region = samples[earliest:longest].astype(np.float32)
        blocks = region[: len(region) // QUIET * QUIET].reshape(-1, QUIET)
        quietest = int(np.argmin(np.square(blocks).sum(axis=1)))
        cut = earliest + quietest * QUIET + QUIET // 2
        yield samples[:cut]
        samples = samples[cut:]
    if len(samples) >= SHORTEST:
        yield samples


def tidy(text: str) -> str:
    """``text`` without what the decoder adds on its own.

    Seen: quotation marks around the whole or opening and never closing (``'I enter Ned``,
    ``"What time is it?"``), and a text of nothing but punctuation for a breath or a click,
    which becomes the empty text. Marks inside the text and an apostrophe that ends a word stay."""
    text = " ".join(text.split()).lstrip(QUOTES + " ")
    bare = text.rstrip(QUOTES + " ")
    if bare[-1:] in set(".,?!"):
        text = bare
    return text if any(character.isalnum() for character in text) else ""


class _Vendor:
    """One vendor transcriber; used by one thread at a time."""

    def __init__(self, model_dir: Path) -> None:
        from moonshine_voice.moonshine_api import ModelArch, TranscriptC
        from moonshine_voice.transcriber import Transcriber

        self._transcriber: Any = Transcriber(
            model_dir,
            ModelArch.TINY,
            options={
                "vad_threshold": "0.0",
                "return_audio_data": "false",
                "vad_max_segment_duration": str(PIECE_SECONDS),
            },
        )
        self._transcript_pointer: Any = ctypes.POINTER(TranscriptC)

    def transcribe(self, samples: Floats) -> str:
        """The text of float32 samples in -1..1 at HEARING_RATE."""
        from moonshine_voice.errors import check_error

        transcriber = self._transcriber
        result = self._transcript_pointer()
        check_error(
            transcriber._lib.moonshine_transcribe_without_streaming(
                transcriber._handle,
                samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                len(samples),
                HEARING_RATE,
                0,
                ctypes.byref(result),
            )
        )
        transcript = transcriber._parse_transcript(result)
        return " ".join(line.text.strip() for line in transcript.lines)

    def close(self) -> None:
        self._transcriber.close()


class MoonshineTranscriber:
    """Transcriber for English."""

    model_id = "moonshine-tiny-en"

    def __init__(
        self,
        model_dir: Path,
        *,
        workers: int = 2,
        queue_limit: int = 32,
        deadline: float = 20.0,
    ) -> None:
        """``workers`` utterances at once; ``deadline`` (seconds) bounds each ``transcribe``."""
        self._model_dir = model_dir
        self._workers = workers
        self._deadline = deadline
        self._executor = EngineExecutor(
            self.model_id, workers, queue_limit, role=Role.TRANSCRIPTION
        )
        self._lock = Lock()
        self._idle: list[_Vendor] = []
        self.load_seconds = 0.0

    async def warm(self) -> None:
        """Load a vendor transcriber per worker and let each hear something."""
        await self._executor.run(self._fill, deadline=60)

    @property
    def load_now(self) -> HearingLoad:
        """How many utterances are transcribed and wait now."""
        pending = self._executor.pending
        running = min(pending, self._workers)
        return HearingLoad(running, pending - running, self._workers)

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:
        """The text of an utterance; the empty text for less than 100 ms.

        Raises ModelUnavailable for a language other than English."""
        if language.partition("-")[0].lower() != "en":
            raise ModelUnavailable(f"{self.model_id} understands English only, not {language!r}")
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are not a whole number of 16-bit samples")
        text = await self._executor.run(self._transcribe, pcm, deadline=self._deadline)
        return Transcription(text)

    async def close(self) -> None:
        """End the threads and free the models."""
        await self._executor.close()
        with self._lock:
            idle, self._idle = self._idle, []
        for vendor in idle:
            vendor.close()

    def _fill(self) -> None:
        began = time.monotonic()
        hum = np.sin(np.arange(HEARING_RATE, dtype=np.float32) * 0.1) * np.float32(0.1)
        while len(self._idle) < self._workers:
            vendor = _Vendor(self._model_dir)
            self.load_seconds = self.load_seconds or time.monotonic() - began
            vendor.transcribe(hum)
            with self._lock:
                self._idle.append(vendor)

    def _transcribe(self, pcm: bytes) -> str:
        with self._lock:
            vendor = self._idle.pop() if self._idle else None
        vendor = vendor or _Vendor(self._model_dir)
        texts = [
            tidy(vendor.transcribe(piece.astype(np.float32) * np.float32(1 / 32768)))
            for piece in pieces(np.frombuffer(pcm, "<i2"))
        ]
        with self._lock:  # not reached after an error: such a transcriber is not used again
            spare = len(self._idle) >= self._workers
            if not spare:
                self._idle.append(vendor)
        if spare:
            vendor.close()
        return " ".join(text for text in texts if text)


async def _load(settings: EngineSettings) -> MoonshineTranscriber:
    return await warmed(MoonshineTranscriber(settings.models_dir / MoonshineTranscriber.model_id))


ENGINE = Engine(
    role=Role.TRANSCRIPTION,
    id=MoonshineTranscriber.model_id,
    weights=(MODELS[MoonshineTranscriber.model_id],),
    word_errors={"en": 0.02},  # measured as those of ``whisper_calls``
    load=_load,
)
