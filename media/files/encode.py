"""Encoder: PCM16 mono into a file's bytes while it is being made.

Formats are the contract's: mp3, wav, opus (in Ogg), aac (ADTS) and flac. Every byte is emitted as
soon as the container has it, and none is changed later, so the same encoder serves streams and
files. What a header must know beforehand is given as ``samples``; without it a WAV or FLAC header
says "unknown", which players take for "until the end".

Bit rates suit speech: 64 kbit/s for mp3 and aac, 48 for opus (32 for light ones).
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from media.formats import SAMPLE_BYTES
from media.resample import Resampler

PLAIN_RATE = 24_000
"""Hz of audio without a container."""
HEADER_BYTES = 44
_UNKNOWN = 0xFFFFFFFF


def wave_header(rate: int, samples: int | None = None) -> bytes:
    """The 44-byte RIFF header of PCM16 mono at ``rate`` Hz; ``samples`` None: not known yet.

    Then the length field is 0xFFFFFFFF, as in streams: players take it for "until the end". So
    too if the file is longer than RIFF can express (4 GiB)."""
    size = _UNKNOWN if samples is None else samples * SAMPLE_BYTES
    if size + HEADER_BYTES - 8 > _UNKNOWN:
        size = whole = _UNKNOWN
    else:
        whole = size + HEADER_BYTES - 8
    described = struct.pack("<HHIIHH", 1, 1, rate, rate * SAMPLE_BYTES, SAMPLE_BYTES, 16)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", whole, b"WAVE", b"fmt ", len(described))
        + described
        + struct.pack("<4sI", b"data", size)
    )


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a format is encoded; ``rates`` empty: any rate; ``options`` are the muxer's."""

    muxer: str
    codec: str
    bit_rate: int | None = None
    rates: tuple[int, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    effort: tuple[tuple[str, str], ...] = ()
    """The codec's options."""


_AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_RECIPES = {
    # no Xing header: it would have to be rewritten at the end
    "mp3": _Recipe(
        muxer="mp3",
        codec="libmp3lame",
        bit_rate=64_000,
        rates=_AAC_RATES,
        options=(("write_xing", "0"), ("id3v2_version", "0")),
    ),
    "opus": _Recipe(
        muxer="ogg",
        codec="libopus",
        bit_rate=48_000,
        rates=(8_000, 12_000, 16_000, 24_000, 48_000),
        options=(("page_duration", "100000"),),
    ),
    "aac": _Recipe(muxer="adts", codec="aac", bit_rate=64_000, rates=_AAC_RATES),
    "flac": _Recipe(muxer="flac", codec="flac"),
}
_LIGHT = _Recipe(
    muxer="ogg",
    codec="libopus",
    bit_rate=40_000,
    rates=_RECIPES["opus"].rates,
    options=(("page_duration", "1000000"),),
    effort=(("compression_level", "0"), ("frame_duration", "60")),
)
"""As good as with level 2 and 32 kbit/s, which spends 38 (mean distance of the log-mel spectrum
from the original's, 24 recordings: 0.028 and 0.026), and as large, for two thirds of the time."""
FORMATS = ("wav", *_RECIPES)
_FLAC_LENGTH_AT = 21
"""Offset of a FLAC file's number of samples: the last 36 bits of five bytes."""
_MOST_FLAC_SAMPLES = (1 << 36) - 1


class Encoder:
    """One file or stream, from its first byte to its last; not shareable between threads.

    ``rate`` in Hz is that of the pushed samples; if the format does not have it they are resampled.
    ``samples``: how many will be pushed in all, if known. ``light``: opus at 40 kbit/s with little
    effort, for what is encoded while calls run (pushed by the second: 4 s of a core for an hour of
    speech, 31 s otherwise)."""

    def __init__(
        self, format: str, rate: int, samples: int | None = None, *, light: bool = False
    ) -> None:
        if format not in FORMATS:
            raise ValueError(f"format {format!r}: one of {', '.join(FORMATS)} is needed")
        self._rate = rate
        self._place = 0
        self._samples = samples
        self._out = _Outlet()
        self._begun = False
        self._wave = format == "wav"
        if not self._wave:
            self._open(_LIGHT if light else _RECIPES[format])
        self._flac = format == "flac"

    def push(self, pcm: bytes) -> bytes:
        """Take samples, return what the file gains by them (perhaps nothing yet)."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are not whole PCM16 samples: send an even number")
        if self._wave:
            return self._head() + pcm
        if pcm:
            frame = AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None], "s16", "mono")
            frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
            frame.pts = self._place
            self._place += frame.samples
            self._output.mux(self._stream.encode(frame))
        return self._taken()

    def finish(self) -> bytes:
        """The file's last bytes."""
        if self._wave:
            return self._head()
        self._output.mux(self._stream.encode(None))
        self._output.close()
        return self._taken()

    def _open(self, recipe: _Recipe) -> None:
        options = {"flush_packets": "1", **dict(recipe.options)}
        self._output = av.open(self._out, "w", format=recipe.muxer, options=options)
        rate = _nearest(self._rate, recipe.rates)
        stream = cast(AudioStream, self._output.add_stream(recipe.codec, rate=rate))
        stream.layout = "mono"
        stream.options = dict(recipe.effort)
        if recipe.bit_rate is not None:
            stream.bit_rate = recipe.bit_rate
        self._stream = stream

    def _head(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return wave_header(self._rate, self._samples)

    def _taken(self) -> bytes:
        made = self._out.take()
        if made and not self._begun:
            self._begun = True
            if self._flac and self._samples is not None:
                made = _with_length(made, min(self._samples, _MOST_FLAC_SAMPLES))
        return made


class PlainSamples:
    """The samples themselves, at PLAIN_RATE, pushed and finished as those of an Encoder are."""

    def __init__(self, rate: int) -> None:
        self._resampler = Resampler(rate, PLAIN_RATE)
        self._late = self._resampler.delay * SAMPLE_BYTES

    def push(self, pcm: bytes) -> bytes:
        """Samples in, samples out."""
        return self._without_delay(self._resampler.push(pcm))

    def finish(self) -> bytes:
        """The last samples."""
        return self._without_delay(self._resampler.flush())

    def _without_delay(self, made: bytes) -> bytes:
        skipped = min(self._late, len(made))
        self._late -= skipped
        return made[skipped:]


def encode_file(source: Path, target: Path, format: str, rate: int) -> Generator[None, None, None]:
    """The PCM16 mono in ``source`` as a file of ``format``; pauses every second of audio.

    Blocking; raises OSError."""
    encoder = Encoder(format, rate, source.stat().st_size // SAMPLE_BYTES)
    with source.open("rb") as pcm, target.open("wb") as file:
        while block := pcm.read(rate * SAMPLE_BYTES):
            file.write(encoder.push(block))
            yield
        file.write(encoder.finish())


class _Outlet:
    """Where the muxer writes; it cannot go back."""

    def __init__(self) -> None:
        self._made = bytearray()

    def write(self, piece: bytes) -> int:
        """Called by the muxer."""
        self._made += piece
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        made = bytes(self._made)
        self._made.clear()
        return made


def _nearest(rate: int, rates: tuple[int, ...]) -> int:
    """The lowest of ``rates`` that loses nothing of ``rate``, or the highest there is."""
    if not rates:
        return rate
    return next((known for known in rates if known >= rate), rates[-1])


def _with_length(head: bytes, samples: int) -> bytes:
    field = bytearray(head)
    at = _FLAC_LENGTH_AT
    written = int.from_bytes(field[at : at + 5], "big") & ~_MOST_FLAC_SAMPLES | samples
    field[at : at + 5] = written.to_bytes(5, "big")
    return bytes(field)
