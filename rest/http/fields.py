"""Constrained types that bodies and queries of several resources use.

Lengths are in characters. What the contract bounds is bounded as it says; what it leaves open has
the bound written here, far above what people send.
"""

from typing import Annotated, Literal, get_args

from msgspec import Meta

MAX_TEXT = 100_000
"""Characters of a text to be spoken."""

Name = Annotated[str, Meta(max_length=200)]
ModelId = Annotated[str, Meta(max_length=200)]
VoiceId = Annotated[str, Meta(max_length=200)]
StorageKey = Annotated[str, Meta(max_length=500)]
Cursor = Annotated[str, Meta(max_length=500)]
Text = Annotated[
    str,
    Meta(
        max_length=MAX_TEXT,
        extra_json_schema={
            "minLength": 1,
            # a letter or a digit; \W is ASCII to some validators, so whatever is not ASCII passes
            "pattern": r"^[^\u0000]*([^\W_]|[^\x00-\x7f])[^\u0000]*$",
        },
    ),
]
"""To be spoken: there must be a word in it."""
Description = Annotated[str, Meta(max_length=10_000)]
LanguageTag = Annotated[
    str,
    Meta(
        max_length=35,
        extra_json_schema={"pattern": r"^([A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*)?$"},
    ),
]
"""A BCP 47 tag where the contract does not list the languages (RFC 5646 asks for 35)."""

Limit = Annotated[int, Meta(ge=1, le=100)]
DEFAULT_LIMIT = 20

AudioFormat = Literal["mp3", "wav", "opus", "aac", "flac"]
AUDIO_FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
SpokenLanguage = Literal[
    "ar",
    "bg",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "et",
    "fi",
    "fr",
    "hi",
    "hr",
    "hu",
    "id",
    "it",
    "ja",
    "ko",
    "lv",
    "nl",
    "pl",
    "pt",
    "ro",
    "ru",
    "sk",
    "sl",
    "sv",
    "tr",
    "uk",
    "vi",
]
JobType = Literal["tts", "stt", "voice_clone", "dubbing", "batch", "webhook", "cleanup"]
