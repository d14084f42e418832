"""Probing: what a media file is, before anything is done with it.

The first sound is decoded, because a header proves nothing. Lengths are what the file declares,
or what its bit rate suggests: only decoding tells the truth, and its cap holds there again.
"""

from dataclasses import dataclass

from media.errors import MediaTooLong

from .decode import decode, too_long
from .limits import DEFAULT_LIMITS, MediaLimits
from .source import MediaFile, MediaSource, opened


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A media file. ``duration_ms`` None: not known before it is decoded; ``sample_rate`` in Hz;
    ``content_type`` is that of the whole file; ``has_video``: moving pictures, no cover."""

    container: str
    content_type: str
    duration_ms: int | None
    has_video: bool
    sample_rate: int
    channels: int
    audio_codec: str


def probe(file: MediaFile, limits: MediaLimits = DEFAULT_LIMITS) -> MediaInfo:
    """What the file is. Blocking; raises the MediaError family and OSError."""
    with opened(file) as source:
        seconds = source.duration
        if seconds is not None and source.kind.exact and seconds > limits.max_seconds:
            raise MediaTooLong(too_long(limits))
        info = _info(source, seconds)
    pieces = decode(file, limits=limits)
    next(pieces)
    pieces.close()
    return info


def _info(source: MediaSource, seconds: float | None) -> MediaInfo:
    kind, context = source.kind, source.audio.codec_context
    has_video = source.video is not None
    return MediaInfo(
        container=kind.name,
        content_type=kind.video_type if has_video else kind.audio_type,
        duration_ms=None if seconds is None else round(seconds * 1000),
        has_video=has_video,
        sample_rate=context.sample_rate,
        channels=context.layout.nb_channels,
        audio_codec=context.codec.canonical_name,
    )
