"""TranscriptionForm: what a recording's transcript is to look like, as OpenAI's clients say it.

Fields that would not change the answer (``prompt``, ``temperature``, ``chunking_strategy``) are
accepted and forgotten.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from rest.http.errors import ValidationFailed
from rest.http.language_tag import language_named
from rest.http.uploads import Upload

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
"""Text fields that are read beside those that all forms have."""
_TRUE, _FALSE = ("true", "1"), ("false", "0", "")


@dataclass(frozen=True, slots=True)
class TranscriptionForm:
    """``words`` and ``segments``: whether their times are told; ``logprobs``: how sure the
    engine is of each word; ``allow_draft``: whether a translation by a chat model will do."""

    model: str
    language: str | None
    format: TranscriptFormat
    stream: bool = False
    words: bool = False
    segments: bool = True
    logprobs: bool = False
    allow_draft: bool = False


def read_form(upload: Upload, *, translates: bool = False) -> TranscriptionForm:
    """The form; raises ValidationFailed. ``translates``: of a translation, which neither streams
    nor knows anything of single words."""
    if not upload.model:
        raise ValidationFailed("You must provide a model.", param="model")
    format = _once(upload, FORMAT) or "json"
    if format not in FORMATS:
        raise ValidationFailed(
            f"response_format {format!r} is not made here: send one of {', '.join(FORMATS)}.",
            param=FORMAT,
        )
    for name in SPEAKERS:
        if _several(upload, name):
            raise ValidationFailed("Speakers are not told apart here.", param=name)
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
        logprobs=logprobs,
        allow_draft=translates and _truth(upload, DRAFT),
    )


def _check_words(
    format: TranscriptFormat, asked: tuple[str, ...], *, translates: bool, logprobs: bool
) -> None:
    """Refuse what is asked of single words and has no place in the answer. Segments may be asked
    for whatever the format, as they are what OpenAI's default is."""
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
