"""Decoding: every format, nothing beyond the cap, no surprise from damaged files."""

import contextlib
import random
import resource
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.files.decode import decode
from media.files.limits import MediaError, MediaLimits, MediaTooLong, NoAudio, UnreadableMedia
from tests.support.examples import examples
from tests.support.media_files import FORMATS, RATE, audio_file, tone, video_file


@cache
def example(extension: str) -> bytes:
    """A file of the format; a second and a bit of a tone."""
    return audio_file(extension, tone(1.2))


def samples_of_file(path: Path, rate: int = 16_000, **limits: float) -> np.ndarray:
    pcm = b"".join(decode(path, rate, MediaLimits(**limits)))
    return np.frombuffer(pcm, "<i2")


def pitch(samples: np.ndarray, rate: int) -> float:
    middle = samples[rate // 4 : rate // 4 + rate // 2].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), rate))
    return float(spectrum.argmax())


def placed(folder: Path, content: bytes) -> Path:
    path = folder / "recording"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format(extension: str, tmp_path: Path) -> None:
    heard = samples_of_file(placed(tmp_path, example(extension)))
    assert 1.15 < len(heard) / 16_000 < 1.30
    assert abs(pitch(heard, 16_000) - 440) <= 2
    assert 7_000 < np.abs(heard[4000:12000]).max() < 9_500


@pytest.mark.parametrize("extension", ["mp3", "flac", "aac"])
def test_audio_behind_album_art_is_decoded(extension: str, tmp_path: Path) -> None:
    size = 20_000
    length = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\x04\0\0" + length + bytes(size)
    heard = samples_of_file(placed(tmp_path, tag + example(extension)))
    assert abs(pitch(heard, 16_000) - 440) <= 2


def test_pieces_of_about_a_second_at_the_wanted_rate(tmp_path: Path) -> None:
    path = placed(tmp_path, audio_file("flac", tone(3.5)))
    pieces = list(decode(path, 24_000))
    assert [len(piece) / 48_000 for piece in pieces[:-1]] == pytest.approx([1, 1, 1], abs=0.15)
    assert sum(map(len, pieces)) == 2 * int(3.5 * 24_000)


def test_sound_that_begins_late_has_silence_before_it(tmp_path: Path) -> None:
    path = video_file(tmp_path / "late.mkv", tone(1), muxer="matroska", sound_at=1.5)
    heard = samples_of_file(path)
    assert len(heard) / 16_000 == pytest.approx(2.5, abs=0.1)
    assert np.abs(heard[: int(1.4 * 16_000)]).max() == 0
    assert pitch(heard[int(1.6 * 16_000) :], 16_000) == pytest.approx(440, abs=2)


def test_nothing_is_decoded_beyond_the_cap(tmp_path: Path) -> None:
    path = placed(tmp_path, audio_file("wav", tone(3)))
    taken = decode(path, limits=MediaLimits(max_seconds=2))
    first = next(taken)
    assert len(first) >= 32_000
    with pytest.raises(MediaTooLong, match="more than 2 seconds of audio: cut it into parts"):
        list(taken)
    assert len(samples_of_file(path, max_seconds=3)) == 48_000


@pytest.mark.slow
def test_a_bomb_goes_off_in_constant_memory(tmp_path: Path) -> None:
    """A hundred KiB that are 25 minutes: declared wrong, so that only decoding shows it."""
    bomb = bytearray(audio_file("flac", np.zeros(RATE * 1500, np.int16)))
    bomb[21:26] = bytes((bomb[21] & 0xF0, 0, 0, 0, 100))
    path = placed(tmp_path, bytes(bomb))
    assert len(bomb) < 400_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MediaTooLong):
        for _ in decode(path, limits=MediaLimits(max_seconds=1200)):
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize("extension", ["wav", "mp3", "flac", "ogg", "aac", "ts", "mka"])
def test_a_truncated_file_is_decoded_up_to_its_cut(extension: str, tmp_path: Path) -> None:
    whole = audio_file(extension, tone(3))
    heard = samples_of_file(placed(tmp_path, whole[: len(whole) // 2]))
    assert 0.7 < len(heard) / 16_000 < 2.3
    assert abs(pitch(heard, 16_000) - 440) <= 2


def test_a_truncated_mp4_has_lost_its_index(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="damaged or cut short"):
        samples_of_file(placed(tmp_path, example("mp4")[:-2000]))


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="Nothing in the file's sound track"):
        samples_of_file(placed(tmp_path, example("wav")[:100]))


def test_a_video_without_sound(tmp_path: Path) -> None:
    path = video_file(tmp_path / "silent.mp4", None)
    with pytest.raises(NoAudio, match="no audio in the file"):
        samples_of_file(path)


@pytest.mark.parametrize("name", ["list.wav", "list.mp3", "list.m3u8", "list.ffconcat"])
def test_files_that_name_other_files_open_none(name: str, tmp_path: Path) -> None:
    secret = placed(tmp_path, example("wav"))
    for text in (
        f"#EXTM3U\n#EXTINF:1,\n{secret}\n", f"ffconcat version 1.0\nfile {secret}\n",
        f"file '{secret}'\n",
    ):  # fmt: skip
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(UnreadableMedia):
            samples_of_file(path)


def test_lengths_that_lie_take_no_memory(tmp_path: Path) -> None:
    """A chunk of a WAV file that claims two gigabytes."""
    lying = bytearray(example("wav"))
    at = lying.index(b"LIST")
    lying[at + 4 : at + 8] = b"\x1a\x00\x00\x80"
    lying[at + 16 : at + 20] = b"\xf0\xff\xff\x7f"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableMedia):
        samples_of_file(placed(tmp_path, bytes(lying)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@settings(
    max_examples=examples(250),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(sorted(FORMATS)), st.integers(0, 2**32), st.sampled_from([1, 4, 16, 200]))
def test_damage_raises_only_the_documented_error(
    tmp_path: Path, extension: str, seed: int, hits: int
) -> None:
    chance = random.Random(seed)
    content = bytearray(example(extension))
    for _ in range(hits):
        reach = 256 if chance.random() < 0.5 else len(content)
        content[chance.randrange(min(reach, len(content)))] = chance.choice((0, 255, seed % 256))
    if chance.random() < 0.3:
        del content[chance.randrange(1, len(content)) :]
    try:
        heard = samples_of_file(placed(tmp_path, bytes(content)), max_seconds=20)
    except MediaError as error:
        assert str(error).endswith(".")  # noqa: PT017 - either is right
    else:
        assert 0 < len(heard) <= 20 * 16_000


@settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.binary(max_size=2000), st.sampled_from([b"", b"\xff\xfb\x90", b"OggS\0", b"RIFF1234WAVE"])
)
def test_noise_is_refused(tmp_path: Path, content: bytes, begun: bytes) -> None:
    path = placed(tmp_path, begun + content)
    with contextlib.suppress(MediaError):
        assert len(samples_of_file(path, max_seconds=20)) <= 20 * 16_000
