"""Speech behind an upstream: a speaker, and transcribers of utterances and of recordings.

- ``UpstreamSpeaker``: ``POST /v1/audio/speech``, raw PCM streamed as it is made
  (https://platform.openai.com/docs/api-reference/audio/createSpeech).
- ``UpstreamTranscriber``: ``POST /v1/audio/transcriptions`` for one utterance
  (https://platform.openai.com/docs/api-reference/audio/createTranscription).
- ``UpstreamFileTranscriber``: the same route for recordings, cut at their silences and sent window
  by window. It asks for segments and word times (``verbose_json``); from an upstream that refuses
  that format each window is one text without times.
"""

import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from media.formats import HEARING_RATE, SAMPLE_BYTES
from media.vad import SileroModel
from pipelines.engines.base import EngineFailed, Transcription
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.jobs import Transcribed
from pipelines.engines.transcription.speech_windows import (
    SpokenText,
    Understood,
    Window,
    hear_windows,
    timed_segments,
)

from .client import UpstreamClient

SLOWEST, FASTEST = 0.25, 4.0
INPUT_LIMIT = 4096
"""Characters the contract allows in one request."""


class UpstreamSpeaker:
    """A Speaker; the contract's ``pcm`` is 24 kHz mono PCM16 LE."""

    def __init__(
        self,
        model_id: str,
        client: UpstreamClient,
        upstream_model: str = "",
        *,
        default_voice: str = "alloy",
        sample_rate: int = 24_000,
    ) -> None:
        self.model_id = model_id
        self.sample_rate = sample_rate
        self.voices: tuple[str, ...] = ("default", default_voice)
        self._client = client
        self._model = upstream_model or model_id
        self._default = default_voice

    async def speak(
        self,
        text: str,
        *,
        voice: str = "default",
        speed: float = 1.0,
        language: str = "en",  # noqa: ARG002 - the contract has no language; models hear it in the text
    ) -> AsyncGenerator[bytes, None]:
        """Yield whole samples as they arrive; voice names are passed to the upstream unchanged.

        Closing the generator closes the connection."""
        for part in _parts(text):
            request = {
                "model": self._model,
                "input": part,
                "voice": self._default if voice == "default" else voice,
                "response_format": "pcm",
                "speed": min(max(speed, SLOWEST), FASTEST),
            }
            opened = self._client.open("POST", "/audio/speech", model=self._model, json=request)
            async with opened as response:
                if response.content_type in ("application/json", "text/html", "audio/wav"):
                    raise EngineFailed(
                        f"the upstream sent {response.content_type}, but raw PCM was requested"
                    )
                rest = b""
                async with aclosing(self._client.pieces(response)) as pieces:
                    async for piece in pieces:
                        piece = rest + piece
                        whole = len(piece) // SAMPLE_BYTES * SAMPLE_BYTES
                        rest = piece[whole:]
                        if whole:
                            yield piece[:whole]


def _parts(text: str) -> list[str]:
    """``text`` in parts of at most INPUT_LIMIT characters, cut at spaces if there are any."""
    parts = []
    text = text.strip()
    while len(text) > INPUT_LIMIT:
        cut = text.rfind(" ", 1, INPUT_LIMIT)
        cut = cut if cut > 0 else INPUT_LIMIT
        parts.append(text[:cut])
        text = text[cut:].strip()
    return [*parts, text] if text else parts


BODY_LIMIT = 1 << 20


class UpstreamTranscriber:
    """A Transcriber of whole utterances; returns no word times."""

    def __init__(self, model_id: str, client: UpstreamClient, upstream_model: str = "") -> None:
        self.model_id = model_id
        self._client = client
        self._model = upstream_model or model_id

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:
        """The text of ``pcm`` (HEARING_RATE). Nothing is sent for no audio."""
        if len(pcm) < SAMPLE_BYTES:
            return Transcription("", language=language)
        form = aiohttp.FormData()
        form.add_field("file", wav(pcm), filename="speech.wav", content_type="audio/wav")
        form.add_field("model", self._model)
        form.add_field("language", language.split("-")[0])
        form.add_field("response_format", "json")
        async with self._client.open(
            "POST", "/audio/transcriptions", model=self._model, data=form
        ) as response:
            answer = await self._client.json(response, BODY_LIMIT)
        text = answer.get("text")
        if not isinstance(text, str):
            raise EngineFailed("the upstream's transcription has no text")
        return Transcription(text.strip(), language=language)


def wav(pcm: bytes) -> bytes:
    """``pcm`` in a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(SAMPLE_BYTES)
        out.setframerate(HEARING_RATE)
        out.writeframes(pcm)
    return file.getvalue()


VAD_DEADLINE = 30.0
LANGUAGE_NAMES = dict(
    pair.split(":")
    for pair in (
        "arabic:ar bulgarian:bg chinese:zh croatian:hr czech:cs danish:da dutch:nl english:en"
        " estonian:et finnish:fi french:fr german:de greek:el hindi:hi hungarian:hu"
        " indonesian:id italian:it japanese:ja korean:ko latvian:lv polish:pl portuguese:pt"
        " romanian:ro russian:ru slovak:sk slovenian:sl spanish:es swedish:sv turkish:tr"
        " ukrainian:uk vietnamese:vi"
    ).split()
)
"""OpenAI's answers name languages in English."""


class UpstreamFileTranscriber:
    """A FileTranscriber for whatever languages the upstream understands."""

    languages: tuple[str, ...] = ()
    translates = False

    def __init__(self, model_id: str, client: UpstreamClient, vad: Path) -> None:
        """``vad`` is Silero's ONNX file."""
        self.model_id = model_id
        self._client = client
        self._vad_file = vad
        self._vad: SileroModel | None = None
        self._plain = False
        """Whether the upstream returns no times."""

    async def transcribe_file(
        self, pcm: AsyncIterator[bytes], language: str | None = None, *, english: bool = False
    ) -> AsyncGenerator[Transcribed, None]:
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
        raise EngineFailed("the upstream's transcription is not in the requested format") from None
    if not spans:
        seconds = len(window.samples) / HEARING_RATE
        spans = [(str(answer["text"]), 0.0, seconds)]
    texts: list[SpokenText] = []
    for number, (text, begin, end) in enumerate(spans):
        last = number == len(spans) - 1
        own = [word for word in words if last or word[1] < end]
        words = words[len(own) :]
        texts.append(SpokenText(text, begin, end, tuple((*word, 1.0) for word in own)))
    segments = timed_segments(window, texts)
    return Understood(segments, language, sure=language is not None)
