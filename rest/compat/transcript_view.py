"""A transcript in the shapes that OpenAI's clients read."""

import asyncio
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pipelines.engines.translation.chat_translator import LANGUAGES
from pipelines.jobs.usage import HEARD_TOKEN_MS, audio_tokens
from pipelines.transcription.subtitles import render
from pipelines.transcription.timed_text import TimedSegment, TimedWord

from .models import json_answer
from .transcription_form import TranscriptionForm

_LEAST = 1e-6
"""A confidence of 0 has no logarithm."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is shown. ``task``: transcribe or translate."""

    segments: Sequence[TimedSegment]
    language: str | None
    duration_ms: int
    task: str = "transcribe"

    @property
    def text(self) -> str:
        """All of it, on one line."""
        return " ".join(segment.text for segment in self.segments)


async def shown(transcript: Transcript, form: TranscriptionForm) -> web.Response:
    """The transcript as the form asks for it."""
    match form.format:
        case "json":
            return json_answer(_json(transcript, form))
        case "verbose_json":
            return json_answer(await asyncio.to_thread(_verbose, transcript, form))
        case "text":
            return _plain(f"{transcript.text}\n")
        case "srt" | "vtt" as format:
            duration = transcript.duration_ms
            file = await asyncio.to_thread(
                render, transcript.segments, format, duration_ms=duration
            )
            return _plain(file)


def logprobs_of(segments: Sequence[TimedSegment]) -> list[dict[str, Any]]:
    """How sure the engine is of each word: its words are the tokens here."""
    return [
        {
            "token": word.text,
            "bytes": list(word.text.encode()),
            "logprob": _logprob(word),
        }
        for segment in segments
        for word in segment.words
    ]


def usage_of(text: str, duration_ms: int, model: str) -> dict[str, Any]:
    """As OpenAI counts for the model that was named: whole seconds begun for ``whisper-1`` and our
    own, tokens for ``gpt-4o-transcribe`` and its kin. The tokens of the text are its words."""
    if not model.startswith("gpt-"):
        return {"type": "duration", "seconds": math.ceil(duration_ms / 1000)}
    heard = audio_tokens(duration_ms, HEARD_TOKEN_MS)
    written = len(text.split())
    return {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
        "output_tokens": written,
        "total_tokens": heard + written,
    }


def _json(transcript: Transcript, form: TranscriptionForm) -> dict[str, Any]:
    told: dict[str, Any] = {"text": transcript.text}
    if transcript.task == "transcribe":
        told["usage"] = usage_of(transcript.text, transcript.duration_ms, form.model)
    if form.logprobs:
        told["logprobs"] = logprobs_of(transcript.segments)
    return told


def _verbose(transcript: Transcript, form: TranscriptionForm) -> dict[str, Any]:
    tag = transcript.language or "und"
    told: dict[str, Any] = {
        "task": transcript.task,
        "language": LANGUAGES.get(tag.partition("-")[0].lower(), tag).lower(),
        "duration": transcript.duration_ms / 1000,
        "text": transcript.text,
        "usage": usage_of(transcript.text, transcript.duration_ms, form.model),
    }
    if form.segments:
        told["segments"] = [
            _segment(number, segment) for number, segment in enumerate(transcript.segments)
        ]
    if form.words:
        told["words"] = [
            {"word": word.text, "start": word.start_ms / 1000, "end": word.end_ms / 1000}
            for segment in transcript.segments
            for word in segment.words
        ]
    return told


def _segment(number: int, segment: TimedSegment) -> dict[str, Any]:
    """``avg_logprob`` is that of its words; what Whisper's decoder alone knows is 0 or empty."""
    sure = [_logprob(word) for word in segment.words]
    raw = segment.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": segment.start_ms / 1000,
        "end": segment.end_ms / 1000,
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": sum(sure) / len(sure) if sure else 0.0,
        "compression_ratio": len(raw) / len(zlib.compress(raw)),
        "no_speech_prob": 0.0,
    }


def _logprob(word: TimedWord) -> float:
    return math.log(min(max(word.confidence, _LEAST), 1.0))


def _plain(text: str) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text, content_type="text/plain", charset="utf-8", headers=headers)
