"""UpstreamTranscriber: speech-to-text behind ``POST /v1/audio/transcriptions``.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

import io
import wave

import aiohttp

from media.formats import HEARING_RATE, SAMPLE_BYTES
from pipelines.engines.base import EngineFailed, Transcription

from .client import UpstreamClient

BODY_LIMIT = 1 << 20


class UpstreamTranscriber:
    """A Transcriber of whole utterances; gives no word times."""

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
