"""Muxing: a video's pictures, untouched, with a new sound track.

The packets of the moving picture are copied byte for byte, into the same container if its muxer
accepts them, otherwise into Matroska. Other tracks are dropped. The timeline begins at 0.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from media.formats import SAMPLE_BYTES

from .limits import UnreadableMedia
from .magic import MATROSKA, Container
from .source import MediaFile, MediaSource, damaged, opened, reading

_BIT_RATE = 96_000
_CODECS = {
    "webm": "libopus",
    "ogg": "libopus",
    "avi": "libmp3lame",
    "asf": "libmp3lame",
    "vob": "mp2",
}
"""Sound by muxer; the others take AAC."""
_EXTENSIONS = {
    "matroska": "mkv",
    "mpegts": "ts",
    "mpegps": "mpg",
    "asf": "wmv",
    "ogg": "ogv",
}
"""By container; the others are called by their name."""


@dataclass(frozen=True, slots=True)
class Muxed:
    """What was made: its media type, and the extension that such files have."""

    content_type: str
    extension: str


def replace_audio(
    source: MediaFile, pcm: MediaFile, rate: int, target: Path
) -> Generator[None, None, Muxed]:
    """The pictures of ``source`` with the sound in ``pcm`` (PCM16 mono at ``rate`` Hz, one that
    every codec has: 48000) as ``target``; pauses about every second of it.

    Blocking; raises UnreadableMedia (also if there are no pictures), NoAudio and OSError."""
    with opened(source, pictures=True) as media, reading(pcm) as sound:
        if media.video is None:
            raise UnreadableMedia("There are no moving pictures in the file.")
        media.only(media.video)
        kind = media.kind
        try:
            output = _begin(media.video, kind, rate, target)
        except (av.FFmpegError, ValueError):
            kind = MATROSKA
            output = _begin(media.video, kind, rate, target)
        with output, damaged("The video is damaged: its pictures cannot be copied."):
            track = _SoundTrack(output, rate)
            pictures = output.streams.video[0]
            for seconds, packet in _pictures(media, media.video):
                while track.behind(seconds):
                    piece = sound.read(rate * SAMPLE_BYTES)
                    track.push(piece)
                    yield
                packet.stream = pictures
                output.mux(packet)
            while piece := sound.read(rate * SAMPLE_BYTES):
                track.push(piece)
                yield
            track.finish()
    return Muxed(kind.video_type, _EXTENSIONS.get(kind.name, kind.name))


def _begin(video: VideoStream, kind: Container, rate: int, target: Path) -> OutputContainer:
    """The file with its header written; a muxer refuses a codec at that point."""
    options = {"movflags": "+faststart"} if kind.demuxer == "mov" else {}
    output = av.open(str(target), "w", format=kind.muxer, options=options)
    try:
        output.add_stream_from_template(video)
        codec = _CODECS.get(kind.muxer, "aac")
        sound = cast(AudioStream, output.add_stream(codec, rate=rate))
        sound.layout = "mono"
        sound.bit_rate = _BIT_RATE
        output.start_encoding()
    except BaseException:
        output.close()
        raise
    return output


def _pictures(
    media: MediaSource, stream: VideoStream
) -> Iterator[tuple[float, "Packet[VideoStream]"]]:
    """The packets on a timeline from 0, each with times that a muxer takes, and its seconds."""
    last: int | None = None
    base = stream.time_base or Fraction(1, av.time_base)
    shift = round(media.start / base)
    for packet in media.opened.demux(stream):
        if not packet.size:
            continue
        step = max(1, packet.duration or 0)
        dts = packet.dts - shift if packet.dts is not None else None
        if dts is None:
            dts = 0 if last is None else last + step
        elif last is not None and dts <= last:
            dts = last + 1
        pts = packet.pts - shift if packet.pts is not None else dts
        packet.dts, packet.pts = dts, max(pts, dts)
        last = dts
        yield float(dts * base), packet


class _SoundTrack:
    """The new sound, encoded as it is needed."""

    def __init__(self, output: OutputContainer, rate: int) -> None:
        self._output = output
        self._stream = output.streams.audio[0]
        self._rate = rate
        self._place = 0
        self._ended = False

    def behind(self, seconds: float) -> bool:
        """Whether more sound is needed for pictures of that time to be written."""
        return not self._ended and self._place <= seconds * self._rate

    def push(self, pcm: bytes) -> None:
        """Take samples; none: there are no more."""
        if not pcm:
            self._ended = True
            return
        frame = AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None], "s16", "mono")
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = self._place
        self._place += frame.samples
        self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder holds."""
        self._output.mux(self._stream.encode(None))
