"""The values in bodies, queries and answers: constrained types, language tags, points in time.

Lengths are in characters. What the contract bounds has its bounds; what it leaves open has the
bound written here, far above what people send.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, get_args

from msgspec import Meta

from .errors import ValidationFailed

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
"""A text to be spoken, with at least one letter or digit."""
Description = Annotated[str, Meta(max_length=10_000)]
LanguageTag = Annotated[
    str,
    Meta(
        max_length=35,
        extra_json_schema={"pattern": r"^([A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*)?$"},
    ),
]
"""A BCP 47 tag where the contract does not list the languages (RFC 5646 asks for 35)."""

Moment = Annotated[str, Meta(max_length=64, extra_json_schema={"format": "date-time"})]
"""A point in time, read by ``parse_moment``."""

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


_TAG = re.compile(r"([A-Za-z]{2,3})(?:-[A-Za-z0-9]{1,8})*")
_MAX_TAG = 35


def language_named(tag: str | None) -> str | None:
    """The language of a BCP 47 tag, in lower case; None where none was sent. Raises
    ValidationFailed."""
    if not tag:
        return None
    return language_of_tag(tag if len(tag) <= _MAX_TAG else "")


def language_of_tag(tag: str, param: str = "language") -> str:
    """The language of a BCP 47 tag that was sent as ``param``, in lower case; raises
    ValidationFailed."""
    found = _TAG.fullmatch(tag)
    if found is None:
        raise ValidationFailed(f"{param} is a BCP 47 tag, such as en or pt-BR.", param=param)
    return found[1].lower()


_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def parse_moment(text: str) -> datetime:
    """A point in time of RFC 3339, in UTC, to the microsecond; raises ValueError where it is not
    one.

    A leap second becomes the moment after it; what lies outside the years that can be stored (1 to
    9999) becomes the nearest that can."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("a moment is written as 2030-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction = (found[7] or "")[:6].ljust(6, "0")
    ahead = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
    if second > 60 or int(found[9] or 0) > 23 or int(found[10] or 0) > 59:
        raise ValueError("a moment has at most 60 seconds and 23:59 hours of offset")
    if year == 0:
        return _FIRST
    moment = datetime(year, month, day, hour, minute, min(second, 59), int(fraction), UTC)
    late = timedelta(seconds=1 if second == 60 else 0)
    try:
        return moment + late - (ahead if found[8] == "+" else -ahead)
    except OverflowError:
        return _FIRST if year == 1 else _LAST


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with Z, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
