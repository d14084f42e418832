"""UpstreamFileTranscriber: whole recordings behind ``POST /v1/audio/transcriptions``.

https://platform.openai.com/docs/api-reference/audio/createTranscription

A recording is cut at its silences and sent window by window. Segments and word times are asked for
(``verbose_json``); an upstream that refuses that form gives a text without times for each window.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from media.formats import HEARING_RATE
from media.silero import SileroModel
from pipelines.engines.base import EngineFailed
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.jobs import Hearing, Segment
from pipelines.engines.transcription.speech_windows import Window
from pipelines.engines.transcription.window_hearing import Understood, hear_windows, timed_segment

from .client import UpstreamClient
from .transcription import BODY_LIMIT, wav

VAD_DEADLINE = 30.0
LANGUAGE_NAMES = {
    "arabic": "ar", "bulgarian": "bg", "chinese": "zh", "croatian": "hr", "czech": "cs",
    "danish": "da", "dutch": "nl", "english": "en", "estonian": "et", "finnish": "fi",
    "french": "fr", "german": "de", "greek": "el", "hindi": "hi", "hungarian": "hu",
    "indonesian": "id", "italian": "it", "japanese": "ja", "korean": "ko", "latvian": "lv",
    "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru", "slovak": "sk",
    "slovenian": "sl", "spanish": "es", "swedish": "sv", "turkish": "tr", "ukrainian": "uk",
    "vietnamese": "vi",
}  # fmt: skip
"""OpenAI's answers name languages in English."""


class UpstreamFileTranscriber:
    """A FileTranscriber of whatever languages the upstream hears."""

    languages: tuple[str, ...] = ()
    translates = False

    def __init__(self, model_id: str, client: UpstreamClient, vad: Path) -> None:
        """``vad`` is Silero's ONNX file."""
        self.model_id = model_id
        self._client = client
        self._vad_file = vad
        self._vad: SileroModel | None = None
        self._plain = False
        """Whether the upstream gives no times."""

    async def transcribe_file(
        self, pcm: AsyncIterator[bytes], language: str | None = None, *, english: bool = False
    ) -> AsyncGenerator[Hearing, None]:
        """See FileTranscriber. Raises EngineError."""
        if english:
            raise EngineFailed(f"{self.model_id} does not translate")
        if language is not None:
            language = language.partition("-")[0].lower()
        hearings = hear_windows(pcm, language, await self._silero(), self._understand)
        async with aclosing(hearings):
            async for hearing in hearings:
                yield hearing

    async def _silero(self) -> SileroModel:
        if self._vad is None:
            loader = EngineExecutor(f"{self.model_id} loader", 1, 0)
            try:
                self._vad = await loader.run(SileroModel, self._vad_file, deadline=VAD_DEADLINE)
            finally:
                await loader.close()
        return self._vad

    async def _understand(self, window: Window, language: str | None) -> Understood:
        if not self._plain:
            try:
                return _timed(window, await self._ask(window, language, "verbose_json"), language)
            except EngineFailed as error:
                if "response_format" not in str(error):
                    raise
                self._plain = True
        return _timed(window, await self._ask(window, language, "json"), language)

    async def _ask(self, window: Window, language: str | None, form: str) -> Mapping[str, Any]:
        data = aiohttp.FormData()
        pcm = window.samples.tobytes()
        data.add_field("file", wav(pcm), filename="speech.wav", content_type="audio/wav")
        data.add_field("model", self.model_id)
        data.add_field("response_format", form)
        if form == "verbose_json":
            data.add_field("timestamp_granularities[]", "segment")
            data.add_field("timestamp_granularities[]", "word")
        if language is not None:
            data.add_field("language", language)
        async with self._client.open(
            "POST", "/audio/transcriptions", model=self.model_id, data=data
        ) as response:
            answer = await self._client.json(response, BODY_LIMIT)
        if not isinstance(answer.get("text"), str):
            raise EngineFailed("the upstream's transcription has no text")
        return dict(answer)


def _timed(window: Window, answer: Mapping[str, Any], language: str | None) -> Understood:
    """The segments of an answer, each with the words that begin in it."""
    named = answer.get("language")
    if language is None and isinstance(named, str):
        language = LANGUAGE_NAMES.get(named.lower(), named.lower() if len(named) == 2 else None)
    try:
        words = [
            (str(word["word"]), float(word["start"]), float(word["end"]))
            for word in answer.get("words") or ()
        ]
        spans = [
            (str(segment["text"]), float(segment["start"]), float(segment["end"]))
            for segment in answer.get("segments") or ()
        ]
    except (KeyError, TypeError, ValueError):
        raise EngineFailed("the upstream's transcription is not in the form asked for") from None
    if not spans:
        seconds = len(window.samples) / HEARING_RATE
        spans = [(str(answer["text"]), 0.0, seconds)]
    segments: list[Segment] = []
    for number, (text, begin, end) in enumerate(spans):
        last = number == len(spans) - 1
        own = [word for word in words if last or word[1] < end]
        words = words[len(own) :]
        segments.append(timed_segment(window, text, begin, end, own))
    return Understood(tuple(segments), language, sure=language is not None)
