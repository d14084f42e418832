"""How much of a file is decoded, and why a file is refused.

The cap counts seconds of decoded audio, because that is what costs: 1 MiB of FLAC can hold two
hours of silence. The errors form one tree, and every message is safe to show to the sender::

    MediaError
    ├── UnreadableMedia   not a supported container, damaged, or nothing in it decodes
    ├── NoAudio           a valid container, but without an audio track
    └── MediaTooLong      more seconds of audio than are accepted
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """At most ``max_seconds`` of audio are decoded from a file."""

    max_seconds: float = 4 * 3600.0


DEFAULT_LIMITS = MediaLimits()


def in_words(seconds: float) -> str:
    """A length for a message, in hours, minutes or seconds."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} seconds"


class MediaError(Exception):
    """A file that cannot be used; the message says why and what to do."""


class UnreadableMedia(MediaError):
    """The file is not a supported media file, or it is damaged."""


class NoAudio(MediaError):
    """The file is valid, but has no audio."""


class MediaTooLong(MediaError):
    """The file holds more audio than is accepted."""
