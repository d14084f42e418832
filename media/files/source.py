"""MediaSource: a media file opened so that it can do no harm.

Rules
- The demuxer is the one that the first bytes name (``media.files.magic``); nothing is guessed.
- The library reads from a file that is already open: it gets no path and no protocol, so a file
  cannot make it open another.
- Only the decoders listed here may run; pictures are not decoded unless they are to be copied.
- The library's errors become MediaErrors.
- A single allocation is bounded. Some demuxers believe the lengths that a file declares: a WAV file
  of a kilobyte can ask for two gigabytes. The library has a limit for the whole process; PyAV does
  not expose it, so it is set through the C API (``av_max_alloc``).
"""

import contextlib
import ctypes
import ctypes.util
import errno
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from .limits import MediaError, NoAudio, UnreadableMedia
from .magic import HEAD_BYTES, MP3, Container, container_of, id3_bytes

MAX_BLOCK_BYTES = 128 * 1024 * 1024
"""A frame of raw 8K video, or the index of a day's recording, is less."""


@cache
def bound_allocations() -> None:
    """Set the limit; harmless when repeated. Raises OSError if the library is not found."""
    package = Path(av.__file__).parent
    shipped = sorted(
        path
        for folder in (package.parent / "av.libs", package / ".dylibs")
        for path in folder.glob("*avutil*")
    )
    name = str(shipped[0]) if shipped else ctypes.util.find_library("avutil")
    if name is None:
        raise OSError("no libavutil in the av package: install av from its wheel")
    limit = ctypes.CDLL(name).av_max_alloc
    limit.restype, limit.argtypes = None, [ctypes.c_size_t]
    limit(MAX_BLOCK_BYTES)


MIN_RATE, MAX_RATE = 1_000, 768_000
MAX_CHANNELS = 32
_DECODERS = tuple(
    (
        "aac aac_fixed aac_latm ac3 ac3_fixed adpcm_ima_qt adpcm_ima_wav adpcm_ms adpcm_swf"
        " adpcm_yamaha alac amrnb amrwb dca eac3 flac gsm gsm_ms libopus mp1 mp1float mp2"
        " mp2float mp3 mp3float nellymoser opus pcm_alaw pcm_bluray pcm_dvd pcm_f32be pcm_f32le"
        " pcm_f64be pcm_f64le pcm_lxf pcm_mulaw pcm_s16be pcm_s16be_planar pcm_s16le"
        " pcm_s16le_planar pcm_s24be pcm_s24le pcm_s24le_planar pcm_s32be pcm_s32le"
        " pcm_s32le_planar pcm_s64be pcm_s64le pcm_s8 pcm_s8_planar pcm_u16be pcm_u16le"
        " pcm_u24be pcm_u24le pcm_u32be pcm_u32le pcm_u8 qdm2 qdmc speex vorbis wavpack"
        " wmalossless wmapro wmav1 wmav2 wmavoice"
    ).split()
)
_PICTURES = tuple(
    (
        "av1 dnxhd flv h263 h264 hevc libdav1d mjpeg mpeg1video mpeg2video mpeg4 msmpeg4v2"
        " msmpeg4 prores theora vc1 vp6f vp8 vp9 wmv1 wmv2 wmv3"
    ).split()
)
_VENDOR = (av.FFmpegError, ValueError, MemoryError, OverflowError, IndexError, RuntimeError)
"""What the library raises on damaged files, its own errors aside."""
_NOT_THE_FILE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE))
"""Faults of this machine, which are raised as they are."""


class MediaSource:
    """An open file: its kind, its audio track and, if there is one, its moving picture."""

    def __init__(self, kind: Container, opened: InputContainer) -> None:
        self.kind = kind
        self.opened = opened
        self.audio = _audio(opened)
        self.video = _video(opened)

    @property
    def start(self) -> float:
        """Seconds on the file's clock at which its timeline begins."""
        start = self.opened.start_time
        return start / av.time_base if start is not None else 0.0

    @property
    def duration(self) -> float | None:
        """Length in seconds as the file declares it, or as it is guessed; None: unknown."""
        stream = self.audio
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        whole = self.opened.duration
        return whole / av.time_base if whole and whole > 0 else None

    def only(self, *streams: AudioStream | VideoStream) -> None:
        """Have the demuxer skip what is in other streams."""
        for stream in self.opened.streams:
            if stream not in streams:
                stream.discard = Discard.all


MediaFile = Path | BinaryIO
"""Where a file is, or the file itself, open for reading; it is left open."""


@contextlib.contextmanager
def opened(source: MediaFile, *, pictures: bool = False) -> Iterator[MediaSource]:
    """The file's tracks, closed at the end. ``pictures``: their packets are to be copied, for
    which the library must decode a few of them.

    Raises UnreadableMedia, NoAudio and OSError; inside the block too, whatever the library raises
    becomes UnreadableMedia."""
    bound_allocations()
    with reading(source) as file:
        kind = _kind(file)
        with damaged("The file is damaged or cut short: it cannot be opened."):
            library = av.open(
                _Reader(file),
                "r",
                kind.demuxer,
                options={
                    "protocol_whitelist": "",
                    "format_whitelist": kind.demuxer,
                    "codec_whitelist": ",".join(_DECODERS + _PICTURES * pictures),
                },
                metadata_errors="replace",
            )
            with library:
                yield MediaSource(kind, library)


def reading(source: MediaFile) -> contextlib.AbstractContextManager[BinaryIO]:
    """The file from its beginning; closed at the end if it is opened here."""
    if isinstance(source, Path):
        return source.open("rb")
    source.seek(0)
    return contextlib.nullcontext(source)


@contextlib.contextmanager
def damaged(message: str) -> Iterator[None]:
    """What the library raises inside the block becomes UnreadableMedia with ``message``."""
    try:
        yield
    except MediaError:
        raise
    except _VENDOR as error:
        if getattr(error, "errno", None) in _NOT_THE_FILE:
            raise
        raise UnreadableMedia(message) from error


class _Reader:
    """A file for the library: seeking nowhere is answered, not raised."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read = file.read
        self.tell = file.tell
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def seek(self, offset: int, whence: int) -> int:
        """The new position; -1 if it is invalid."""
        base = (0, self._file.tell(), self._size)[whence]
        if not 0 <= base + offset <= self._size:
            return -1
        return self._file.seek(base + offset)


def _kind(file: BinaryIO) -> Container:
    head = file.read(HEAD_BYTES)
    tag = id3_bytes(head)
    if not tag:
        file.seek(0)
        return container_of(head)
    file.seek(tag)
    rest = file.read(HEAD_BYTES)
    file.seek(0)
    with contextlib.suppress(UnreadableMedia):
        found = container_of(rest)
        return found if found.name in ("aac", "flac") else MP3
    return MP3


def _audio(opened: InputContainer) -> AudioStream:
    if not opened.streams.audio:
        raise NoAudio("There is no audio in the file: send one with a sound track.")
    stream = cast(AudioStream, opened.streams.best("audio") or opened.streams.audio[0])
    context = stream.codec_context
    if context is None or context.codec is None:
        raise UnreadableMedia("The sound track's codec is not known here: send it as MP3 or WAV.")
    rate, channels = context.sample_rate, context.layout.nb_channels
    if not MIN_RATE <= rate <= MAX_RATE or not 1 <= channels <= MAX_CHANNELS:
        raise UnreadableMedia(
            f"The sound track claims {rate} Hz and {channels} channels: it is damaged."
        )
    return stream


def _video(opened: InputContainer) -> VideoStream | None:
    """Moving pictures; the cover of an album is none."""
    still = Disposition.attached_pic | Disposition.still_image
    return next((s for s in opened.streams.video if not s.disposition & still), None)
