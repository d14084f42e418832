"""Encoded files that other programs read, written while the audio still arrives; their headers."""

import io
import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from media.files.encode import FORMATS, HEADER_BYTES, Encoder, encode_file, wave_header
from media.formats import SAMPLE_BYTES
from tests.support.media_files import tone


def test_sizes() -> None:
    head = wave_header(24_000, 100)
    assert len(head) == HEADER_BYTES
    assert struct.unpack("<I", head[4:8])[0] == HEADER_BYTES - 8 + 200
    assert struct.unpack("<I", head[40:44])[0] == 200
    assert struct.unpack("<I", head[28:32])[0] == 48_000


def test_an_unknown_or_too_large_length_is_written_as_the_maximum() -> None:
    for samples in (None, 2**31, 2**40):
        head = wave_header(8_000, samples)
        assert (head[4:8], head[40:44]) == (b"\xff" * 4, b"\xff" * 4)


CODECS = {"mp3": "mp3", "wav": "pcm_s16le", "opus": "opus", "aac": "aac", "flac": "flac"}


def pushed(encoder: Encoder, pcm: bytes, step: int) -> list[bytes]:
    return [encoder.push(pcm[at : at + step]) for at in range(0, len(pcm), step)]


def decoded(content: bytes) -> tuple[str, int, np.ndarray]:
    with av.open(io.BytesIO(content)) as file:
        stream = file.streams.audio[0]
        name, rate = stream.codec_context.codec.canonical_name, stream.codec_context.sample_rate
        resampler = av.AudioResampler(format="s16", layout="mono", rate=24_000)
        frames = [f for frame in file.decode(stream) for f in resampler.resample(frame)]
        frames += resampler.resample(None)
    heard = [frame.to_ndarray()[0] for frame in frames]
    return name, rate, np.concatenate([np.zeros(0, np.int16), *heard])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 48_000, 96_000])
def test_formats_and_rates(format: str, rate: int) -> None:
    pcm = tone(2, rate=rate).tobytes()
    encoder = Encoder(format, rate, len(pcm) // SAMPLE_BYTES)
    content = b"".join([*pushed(encoder, pcm, 2 * (rate // 10)), encoder.finish()])
    codec, coded_rate, heard = decoded(content)
    assert codec == CODECS[format]
    assert coded_rate == {"opus": 48_000, "flac": rate, "wav": rate}.get(format, min(rate, 48_000))
    assert 1.99 <= len(heard) / 24_000 < 2.25
    spectrum = np.abs(np.fft.rfft(heard[12_000:36_000]))
    assert spectrum.argmax() == 440
    level = np.sqrt(np.mean(heard[12_000:36_000].astype(float) ** 2)) * np.sqrt(2)
    assert level == pytest.approx(8192, rel=0.06)


@pytest.mark.parametrize("format", FORMATS)
def test_audio_is_encoded_while_it_arrives(format: str) -> None:
    """After half a second of sound there is a file that plays most of it."""
    encoder = Encoder(format, 24_000)
    pieces = pushed(encoder, tone(0.5, rate=24_000).tobytes(), 2 * 480)
    assert next(place for place, piece in enumerate(pieces) if piece) <= 10
    heard = decoded(b"".join(pieces))[2]
    assert len(heard) / 24_000 > 0.3


def test_headers_have_the_length_when_it_is_known() -> None:
    pcm = tone(1, rate=24_000).tobytes()
    for format, length in (("wav", 24_000), ("flac", 24_000)):
        encoder = Encoder(format, 24_000, length)
        content = encoder.push(pcm) + encoder.finish()
        with av.open(io.BytesIO(content)) as file:
            assert file.streams.audio[0].duration == length
    with wave.open(io.BytesIO(Encoder("wav", 8000, 4).push(b"12345678"))) as file:
        assert (file.getnframes(), file.getframerate(), file.getnchannels()) == (4, 8000, 1)
        assert file.readframes(4) == b"12345678"


def test_stream_headers_have_no_length() -> None:
    head = Encoder("wav", 24_000).push(b"12")
    assert (head[4:8], head[40:44], head[44:]) == (b"\xff" * 4, b"\xff" * 4, b"12")
    flac = Encoder("flac", 24_000)
    begun = flac.push(tone(1, rate=24_000).tobytes())
    assert int.from_bytes(begun[21:26], "big") & ((1 << 36) - 1) == 0
    assert len(decoded(begun + flac.finish())[2]) == 24_000


@pytest.mark.parametrize("format", FORMATS)
def test_hardly_any_sound(format: str) -> None:
    silent = Encoder(format, 24_000)
    assert isinstance(silent.push(b"") + silent.finish(), bytes)
    short = Encoder(format, 24_000)
    made = short.push(b"\x01\x00" * 10) + short.finish()
    assert decoded(made)[0] == CODECS[format]


def test_a_whole_file(tmp_path: Path) -> None:
    source, target = tmp_path / "raw.pcm", tmp_path / "take.wav"
    source.write_bytes(tone(2.5, rate=24_000).tobytes())
    assert len(list(encode_file(source, target, "wav", 24_000))) == 3
    with wave.open(str(target)) as file:
        assert file.getnframes() == 60_000


def test_refusals() -> None:
    with pytest.raises(ValueError, match="'ogg': one of wav, mp3, opus, aac, flac"):
        Encoder("ogg", 24_000)
    with pytest.raises(ValueError, match="even number"):
        Encoder("wav", 24_000).push(b"123")
