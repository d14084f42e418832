"""How OpenAI's clients request a transcript, and how it is shown to them.

Form fields that would not change the answer (``prompt``, ``temperature``, ``chunking_strategy``)
are accepted and named in a ``Warning`` header, as is a granularity of times that the answer has no
place for, or that the engine has no times for (``without_effect``).
"""

import asyncio
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from aiohttp import web

from pipelines.engines.translation import CHAT_LANGUAGES
from pipelines.jobs.job import ApiWarning
from pipelines.jobs.usage import HEARD_TOKEN_MS, audio_tokens
from pipelines.transcription.subtitles import render
from pipelines.transcription.timed_text import TimedSegment, TimedWord
from rest.http.errors import ValidationFailed
from rest.http.fields import language_named
from rest.http.uploads import Upload

from .models import json_answer

TranscriptFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
FORMATS: tuple[TranscriptFormat, ...] = get_args(TranscriptFormat)
STREAMED: tuple[TranscriptFormat, ...] = ("json", "text")

FORMAT, STREAM = "response_format", "stream"
GRANULARITIES, INCLUDE = "timestamp_granularities", "include"
SPEAKERS = ("known_speaker_names", "known_speaker_references")
DRAFT = "allow_draft"
FIELDS = (
    FORMAT,
    STREAM,
    DRAFT,
    *[f"{name}{end}" for name in (GRANULARITIES, INCLUDE, *SPEAKERS) for end in ("", "[]")],
)
"""Text fields that are read besides those that all forms have."""
_TRUE, _FALSE = ("true", "1"), ("false", "0", "")


@dataclass(frozen=True, slots=True)
class TranscriptionForm:
    """``words`` and ``segments``: whether their times are included; ``granular``: whether any were
    requested; ``logprobs``: whether the engine's confidence in each word is included;
    ``allow_draft``: whether a translation by a chat model is accepted."""

    model: str
    language: str | None
    format: TranscriptFormat
    stream: bool = False
    words: bool = False
    segments: bool = True
    granular: bool = False
    logprobs: bool = False
    allow_draft: bool = False


def read_form(upload: Upload, *, translates: bool = False) -> TranscriptionForm:
    """The form; raises ValidationFailed. ``translates``: it is a translation's, which neither
    streams nor has times of words."""
    if not upload.model:
        raise ValidationFailed("You must provide a model.", param="model")
    format = _once(upload, FORMAT) or "json"
    if format not in FORMATS:
        raise ValidationFailed(
            f"response_format {format!r} is not available: send one of {', '.join(FORMATS)}.",
            param=FORMAT,
        )
    for name in SPEAKERS:
        if _several(upload, name):
            raise ValidationFailed("Speakers are not distinguished here.", param=name)
    stream = _truth(upload, STREAM)
    if stream and (translates or format not in STREAMED):
        raise ValidationFailed(
            "A translation does not stream."
            if translates
            else f"A stream has no {format}: send {' or '.join(STREAMED)}.",
            param=STREAM,
        )
    asked = _several(upload, GRANULARITIES, ("word", "segment"))
    logprobs = "logprobs" in _several(upload, INCLUDE, ("logprobs",))
    _check_words(format, asked, translates=translates, logprobs=logprobs)
    return TranscriptionForm(
        model=upload.model,
        language=language_named(upload.language),
        format=format,
        stream=stream,
        words="word" in asked,
        segments="segment" in asked or not asked,
        granular=bool(asked),
        logprobs=logprobs,
        allow_draft=translates and _truth(upload, DRAFT),
    )


def _check_words(
    format: TranscriptFormat, asked: tuple[str, ...], *, translates: bool, logprobs: bool
) -> None:
    """Refuse details of words that the answer has no place for. Segments may be asked for in any
    format, as they are OpenAI's default."""
    if "word" in asked and (translates or format != "verbose_json"):
        raise ValidationFailed(
            "A translation has no times of words."
            if translates
            else f"{GRANULARITIES} word needs response_format verbose_json.",
            param=GRANULARITIES,
        )
    if logprobs and (translates or format != "json"):
        raise ValidationFailed(
            "A translation has no logprobs."
            if translates
            else f"{INCLUDE} logprobs needs response_format json.",
            param=INCLUDE,
        )


def _once(upload: Upload, name: str) -> str:
    sent = upload.more.get(name, ())
    if len(sent) > 1:
        raise ValidationFailed(f"{name} is given more than once.", param=name)
    return sent[0] if sent else ""


def _truth(upload: Upload, name: str) -> bool:
    sent = _once(upload, name).lower()
    if sent not in (*_TRUE, *_FALSE):
        raise ValidationFailed(f"{name} is true or false.", param=name)
    return sent in _TRUE


def _several(upload: Upload, name: str, known: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The values of a list, which clients send with brackets or without."""
    sent = (*upload.more.get(name, ()), *upload.more.get(f"{name}[]", ()))
    for value in sent:
        if known is not None and value not in known:
            raise ValidationFailed(
                f"{name} {value!r} is not known: send {' or '.join(known)}.", param=name
            )
    return sent


def without_effect(form: TranscriptionForm, segments: Sequence[TimedSegment]) -> list[ApiWarning]:
    """What of the requested times is not in the answer, or only estimated."""
    found = []
    if form.granular and form.format != "verbose_json":
        message = f"{GRANULARITIES} has no effect on response_format {form.format}."
        found.append(ApiWarning("no_effect", message, GRANULARITIES))
    untimed = sum(not segment.words for segment in segments)
    if untimed and (form.words or form.format in ("srt", "vtt")):
        consequence = "they are missing" if form.words else "cues place them by their letters"
        message = (
            f"The engine gave no times for the words of {untimed} of {len(segments)} segments:"
            f" {consequence}."
        )
        found.append(ApiWarning("words_untimed", message, GRANULARITIES if form.words else None))
    return found


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
    """The engine's confidence in each word: words are the tokens here."""
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
    """As OpenAI counts for the named model: seconds, rounded up, for ``whisper-1`` and our own,
    tokens for ``gpt-4o-transcribe`` and the like. The tokens of the text are its words."""
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
    body: dict[str, Any] = {"text": transcript.text}
    if transcript.task == "transcribe":
        body["usage"] = usage_of(transcript.text, transcript.duration_ms, form.model)
    if form.logprobs:
        body["logprobs"] = logprobs_of(transcript.segments)
    return body


def _verbose(transcript: Transcript, form: TranscriptionForm) -> dict[str, Any]:
    tag = transcript.language or "und"
    body: dict[str, Any] = {
        "task": transcript.task,
        "language": CHAT_LANGUAGES.get(tag.partition("-")[0].lower(), tag).lower(),
        "duration": transcript.duration_ms / 1000,
        "text": transcript.text,
        "usage": usage_of(transcript.text, transcript.duration_ms, form.model),
    }
    if form.segments:
        body["segments"] = [
            _segment(number, segment) for number, segment in enumerate(transcript.segments)
        ]
    if form.words:
        body["words"] = [
            {"word": word.text, "start": word.start_ms / 1000, "end": word.end_ms / 1000}
            for segment in transcript.segments
            for word in segment.words
        ]
    return body


def _segment(number: int, segment: TimedSegment) -> dict[str, Any]:
    """``avg_logprob`` is that of its words; what only Whisper's decoder knows is 0 or empty."""
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
