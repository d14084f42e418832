"""TranscriptionForm: what a recording's transcript is to look like, as OpenAI's clients say it.

Fields that would not change the answer (``prompt``, ``temperature``, ``chunking_strategy``) are
accepted and forgotten.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from rest.errors import ValidationFailed
from rest.language_tag import language_named
from rest.uploads import Upload

TranscriptFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
FORMATS: tuple[TranscriptFormat, ...] = get_args(TranscriptFormat)
STREAMED: tuple[TranscriptFormat, ...] = ("json", "text")

FORMAT, STREAM = "response_format", "stream"
GRANULARITIES, INCLUDE = "timestamp_granularities", "include"
FIELDS = (FORMAT, STREAM, GRANULARITIES, f"{GRANULARITIES}[]", INCLUDE, f"{INCLUDE}[]")
"""Text fields that are read beside those that all forms have."""
_TRUE, _FALSE = ("true", "1"), ("false", "0", "")


@dataclass(frozen=True, slots=True)
class TranscriptionForm:
    """``words`` and ``segments``: whether their times are told; ``logprobs``: how sure the
    engine is of each word."""

    model: str
    language: str | None
    format: TranscriptFormat
    stream: bool = False
    words: bool = False
    segments: bool = True
    logprobs: bool = False


def read_form(upload: Upload, *, streams: bool) -> TranscriptionForm:
    """The form; raises ValidationFailed. ``streams``: whether the operation can stream."""
    if not upload.model:
        raise ValidationFailed("You must provide a model.", param="model")
    format = _once(upload, FORMAT) or "json"
    if format not in FORMATS:
        raise ValidationFailed(
            f"response_format {format!r} is not made here: send one of {', '.join(FORMATS)}.",
            param=FORMAT,
        )
    stream = streams and _truth(upload)
    if stream and format not in STREAMED:
        raise ValidationFailed(
            f"A stream has no {format}: send {' or '.join(STREAMED)}.", param=STREAM
        )
    asked = _several(upload, GRANULARITIES, ("word", "segment"))
    if asked and format != "verbose_json":
        raise ValidationFailed(
            f"{GRANULARITIES} need response_format verbose_json.", param=GRANULARITIES
        )
    return TranscriptionForm(
        model=upload.model,
        language=language_named(upload.language),
        format=format,
        stream=stream,
        words="word" in asked,
        segments="segment" in asked or not asked,
        logprobs="logprobs" in _several(upload, INCLUDE, ("logprobs",)),
    )


def _once(upload: Upload, name: str) -> str:
    sent = upload.more.get(name, ())
    if len(sent) > 1:
        raise ValidationFailed(f"{name} is given more than once.", param=name)
    return sent[0] if sent else ""


def _truth(upload: Upload) -> bool:
    sent = _once(upload, STREAM).lower()
    if sent not in (*_TRUE, *_FALSE):
        raise ValidationFailed("stream is true or false.", param=STREAM)
    return sent in _TRUE


def _several(upload: Upload, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The values of a list, which clients send with brackets or without."""
    sent = (*upload.more.get(name, ()), *upload.more.get(f"{name}[]", ()))
    for value in sent:
        if value not in known:
            raise ValidationFailed(
                f"{name} {value!r} is not known: send {' or '.join(known)}.", param=name
            )
    return sent
