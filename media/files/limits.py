"""MediaLimits: how much of a file is decoded.

The cap counts seconds of decoded audio, because that is what costs: 1 MiB of FLAC can hold two
hours of silence.
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
