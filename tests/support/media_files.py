"""Media files made for tests, by the library itself."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

RATE = 48_000
FORMATS = {
    "wav": ("wav", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "flac": ("flac", "flac"),
    "ogg": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
    "m4a": ("ipod", "aac"),
    "mp4": ("mp4", "aac"),
    "mov": ("mov", "pcm_s16le"),
    "3gp": ("3gp", "aac"),
    "mka": ("matroska", "flac"),
    "webm": ("webm", "libopus"),
    "aiff": ("aiff", "pcm_s16be"),
    "au": ("au", "pcm_s16be"),
    "caf": ("caf", "pcm_s16le"),
    "w64": ("w64", "pcm_s16le"),
    "avi": ("avi", "libmp3lame"),
    "wma": ("asf", "wmav2"),
    "ts": ("mpegts", "aac"),
    "mpg": ("vob", "mp2"),
    "ac3": ("ac3", "ac3"),
    "flv": ("flv", "aac"),
    "wv": ("wv", "wavpack"),
}
"""Muxer and codec by extension."""


def tone(
    seconds: float, frequency: float = 440.0, rate: int = RATE, level: float = 0.25
) -> Samples:
    at = np.arange(int(seconds * rate)) / rate
    return (32767 * level * np.sin(2 * np.pi * frequency * at)).astype(np.int16)


def audio_file(extension: str, samples: Samples, rate: int = RATE) -> bytes:
    """``samples`` (mono) in a file of the given kind."""
    muxer, codec = FORMATS[extension]
    file = io.BytesIO()
    with av.open(file, "w", format=muxer) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.layout = "mono"
        stream.bit_rate = 96_000
        _encode(output, stream, samples, rate)
    return file.getvalue()


def video_file(
    path: Path,
    samples: Samples | None,
    *,
    muxer: str = "mp4",
    codec: str = "aac",
    picture: str = "mpeg4",
    seconds: float = 3.0,
    rate: int = RATE,
    sound_at: float = 0.0,
) -> Path:
    """Moving pictures of 64x48 at 25 a second, with sound where ``samples`` are given."""
    with av.open(str(path), "w", format=muxer) as output:
        video = output.add_stream(picture, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = None
        if samples is not None:
            audio = output.add_stream(codec, rate=rate)
            audio.layout = "mono"
        for number in range(int(25 * seconds)):
            image = np.full((48, 64, 3), (7 * number) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio is not None and samples is not None:
            _encode(output, audio, samples, rate, int(sound_at * rate))
    return path


def video_packets(path: Path) -> list[bytes]:
    """The packets of the moving picture."""
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(video=0) if packet.size]


def audio_of(path: Path, rate: int) -> Samples:
    """The sound track as any other program would decode it."""
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        pieces = [f.to_ndarray()[0] for s in file.decode(audio=0) for f in resampler.resample(s)]
        pieces += [f.to_ndarray()[0] for f in resampler.resample(None)]
    return np.concatenate(pieces).astype(np.int16)


def _encode(output, stream, samples: Samples, rate: int, place: int = 0) -> None:
    step = rate // 10
    for begin in range(0, len(samples), step):
        piece = np.ascontiguousarray(samples[begin : begin + step])[None]
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, place + begin, Fraction(1, rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
