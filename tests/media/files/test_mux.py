"""A video's pictures with another sound track: no bit of the pictures changes."""

from pathlib import Path

import av
import numpy as np
import pytest

from media.files.limits import UnreadableMedia
from media.files.mux import Muxed, replace_audio
from tests.support.media_files import audio_file, audio_of, tone, video_file, video_packets

KINDS = [
    ("mp4", "aac", "libx264", Muxed("video/mp4", "mp4")),
    ("mp4", "aac", "mpeg4", Muxed("video/mp4", "mp4")),
    ("mov", "aac", "mpeg4", Muxed("video/quicktime", "mov")),
    ("matroska", "aac", "libx264", Muxed("video/x-matroska", "mkv")),
    ("webm", "libopus", "libvpx", Muxed("video/webm", "webm")),
    ("avi", "libmp3lame", "mpeg4", Muxed("video/x-msvideo", "avi")),
    ("mpegts", "aac", "libx264", Muxed("video/mp2t", "ts")),
    ("vob", "mp2", "mpeg2video", Muxed("video/mpeg", "mpg")),
    ("flv", "aac", "flv", Muxed("video/x-flv", "flv")),
    ("asf", "libmp3lame", "wmv2", Muxed("video/x-ms-wmv", "wmv")),
]


def replaced(source: Path, samples: np.ndarray, target: Path) -> Muxed:
    pcm = source.with_name("new.pcm")
    pcm.write_bytes(samples.tobytes())
    steps = replace_audio(source, pcm, 48_000, target)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            made: Muxed = ended.value
            return made


def times(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
        return np.array([float((p.pts or 0) * p.time_base) for p in packets])


@pytest.mark.parametrize(("muxer", "codec", "picture", "expected"), KINDS)
def test_every_container(
    muxer: str, codec: str, picture: str, expected: Muxed, tmp_path: Path
) -> None:
    source = video_file(
        tmp_path / "source", tone(2), muxer=muxer, codec=codec, picture=picture, seconds=2
    )
    target = tmp_path / "target"
    assert replaced(source, tone(2, 880), target) == expected
    assert video_packets(target) == video_packets(source)
    before, after = times(source), times(target)
    assert np.ptp(after - before) < (0.045 if muxer == "avi" else 0.005)  # a frame, by its muxer
    heard = audio_of(target, 16_000)
    assert len(heard) / 16_000 == pytest.approx(2, abs=0.1)
    assert abs(int(np.abs(np.fft.rfft(heard[8_000:24_000])).argmax()) - 880) <= 1


@pytest.mark.parametrize("seconds", [0.5, 6])
def test_sound_shorter_and_longer_than_the_pictures(seconds: float, tmp_path: Path) -> None:
    source = video_file(tmp_path / "source", tone(2), seconds=2)
    target = tmp_path / "target"
    replaced(source, tone(seconds, 880), target)
    assert video_packets(target) == video_packets(source)
    assert len(audio_of(target, 16_000)) / 16_000 == pytest.approx(seconds, abs=0.1)


def test_codecs_that_a_container_rejects_go_into_matroska(tmp_path: Path) -> None:
    source = video_file(tmp_path / "source", tone(1), picture="libvpx-vp9", seconds=1)
    content = source.read_bytes()
    source.write_bytes(content[:8] + b"3gp4" + content[12:])
    target = tmp_path / "target"
    assert replaced(source, tone(1), target) == Muxed("video/x-matroska", "mkv")
    assert video_packets(target) == video_packets(source)


def test_no_pictures(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(audio_file("m4a", tone(1)))
    with pytest.raises(UnreadableMedia, match="no moving pictures"):
        replaced(source, tone(1), tmp_path / "target")
