"""Decoding a file's sound track into PCM16 mono, a second at a time; and probing what a file is.

Invariants
- Memory does not depend on the file: about a second is decoded and not yet yielded.
- The output keeps the file's timeline: sample ``n`` is heard ``n / rate`` seconds after the start
  of the file. Sound that begins later, or has gaps, gets silence in their place.
- At most ``limits.max_seconds`` are decoded; then MediaTooLong, whatever the file declares.
- A damaged or truncated file is decoded as far as possible; UnreadableMedia if nothing can be.
- ``probe`` decodes the first sound, because a header proves nothing. Lengths are what the file
  declares, or what its bit rate suggests: only decoding shows the truth, where the cap holds again.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from media.filters import pcm_of
from media.formats import HEARING_RATE, SAMPLE_BYTES

from .limits import DEFAULT_LIMITS, MediaLimits, MediaTooLong, UnreadableMedia, in_words
from .source import MediaFile, MediaSource, opened

_LEAST_GAP = 0.1
"""Seconds; what timestamps jitter by in honest files is less."""
_MOST_GAP = 600.0
"""Seconds; a longer jump is a fault in the timestamps, not silence."""
_MAX_FAULTS = 10_000
"""Packets in a row that do not decode before the rest is given up."""


def decode(
    source: MediaFile, rate: int = HEARING_RATE, limits: MediaLimits = DEFAULT_LIMITS
) -> Generator[bytes, None, None]:
    """PCM16 mono at ``rate`` Hz, in pieces of about a second; close it when done with it early.

    Blocking. Raises the MediaError family and OSError."""
    with opened(source) as media:
        media.only(media.audio)
        timeline = _Timeline(media, rate)
        most = int(limits.max_seconds * rate) * SAMPLE_BYTES
        made, held = 0, bytearray()
        for pcm in timeline.pieces():
            made += len(pcm)
            if made > most:
                raise MediaTooLong(too_long(limits))
            held += pcm
            if len(held) >= rate * SAMPLE_BYTES:
                yield bytes(held)
                held.clear()
        if not made:
            raise UnreadableMedia(
                "Nothing in the file's sound track can be decoded: it is damaged or empty."
            )
        if held:
            yield bytes(held)


def too_long(limits: MediaLimits) -> str:
    """What is said of a file that is too long."""
    return f"The file holds more than {in_words(limits.max_seconds)} of audio: cut it into parts."


class _Timeline:
    """The track as samples at ``rate``, with silence where it has gaps."""

    def __init__(self, source: MediaSource, rate: int) -> None:
        self._source = source
        self._rate = rate
        self._resampler = self._new_resampler()
        self._place = 0.0
        """Seconds of the track so far, by what was decoded and filled."""
        self._shift = -source.start
        """From the file's clock to the timeline's."""

    def pieces(self) -> Iterator[bytes]:
        """PCM16, some milliseconds each."""
        for frame in self._frames():
            yield from self._filling(frame)
            self._place += frame.samples / frame.sample_rate
            yield from self._resampled(frame)
        yield from self._resampled(None)

    def _frames(self) -> Iterator[AudioFrame]:
        faults = 0
        context = self._source.audio.codec_context
        packets = self._source.opened.demux(self._source.audio)
        while faults < _MAX_FAULTS:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):
                return
            try:
                frames = context.decode(packet)
            except (av.FFmpegError, ValueError):
                faults += 1
                continue
            if frames:
                faults = 0
            for frame in frames:
                if frame.samples and frame.sample_rate:
                    yield frame

    def _filling(self, frame: AudioFrame) -> Iterator[bytes]:
        if frame.pts is None or frame.time_base is None:
            return
        gap = float(frame.pts * frame.time_base) + self._shift - self._place
        if abs(gap) < _LEAST_GAP:
            return
        if 0 < gap <= _MOST_GAP:
            self._place += gap
            yield from self._resampled(None)
            rest = int(gap * self._rate)
            while rest:
                step = min(rest, self._rate)
                yield bytes(step * SAMPLE_BYTES)
                rest -= step
        else:
            self._shift -= gap

    def _resampled(self, frame: AudioFrame | None) -> Iterator[bytes]:
        """What comes of ``frame``; of None, what the filter still holds, and then a new one."""
        if frame is None:
            yield from map(pcm_of, self._resampler.resample(None))
            self._resampler = self._new_resampler()
            return
        frame.pts = None
        try:
            made = self._resampler.resample(frame)
        except ValueError:  # the track has changed its rate or channels
            yield from self._resampled(None)
            made = self._resampler.resample(frame)
        yield from map(pcm_of, made)

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler(format="s16", layout="mono", rate=self._rate)


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
