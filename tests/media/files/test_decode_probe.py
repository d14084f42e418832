"""What a probe reports about a file before anything is done with it."""

from pathlib import Path

import av
import numpy as np
import pytest

from media.files.decode import MediaInfo, probe
from media.files.limits import MediaLimits, MediaTooLong, NoAudio, UnreadableMedia
from tests.support.media_files import RATE, audio_file, tone, video_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def placed(folder: Path, content: bytes) -> Path:
    path = folder / "recording.bin"
    path.write_bytes(content)
    return path


def test_audio_is_probed(folder: Path) -> None:
    info = probe(placed(folder, audio_file("flac", tone(2.5))))
    assert info == MediaInfo("flac", "audio/flac", 2500, False, RATE, 1, "flac")


def test_video_is_probed(folder: Path) -> None:
    info = probe(video_file(folder / "film", tone(2), seconds=2))
    assert (info.container, info.content_type, info.has_video) == ("mp4", "video/mp4", True)
    assert (info.duration_ms, info.audio_codec) == (2000, "aac")


@pytest.mark.parametrize(
    ("extension", "content_type"),
    [("m4a", "audio/mp4"), ("webm", "audio/webm"), ("ogg", "audio/ogg"), ("mp3", "audio/mpeg")],
)
def test_sound_in_containers_for_both(folder: Path, extension: str, content_type: str) -> None:
    info = probe(placed(folder, audio_file(extension, tone(1))))
    assert (info.content_type, info.has_video) == (content_type, False)


def test_album_art_is_not_video(folder: Path) -> None:
    path = folder / "album.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=RATE)
        sound.layout = "mono"
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(tone(1)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        output.mux(cover.encode(picture))
        output.mux(cover.encode(None))
    info = probe(path)
    assert (info.has_video, info.content_type) == (False, "audio/mp4")


def test_a_file_that_declares_too_long_is_not_decoded(folder: Path) -> None:
    path = placed(folder, audio_file("flac", tone(3)))
    with pytest.raises(MediaTooLong, match="more than 2 seconds"):
        probe(path, MediaLimits(max_seconds=2))
    assert probe(path, MediaLimits(max_seconds=3)).duration_ms == 3000


def test_a_header_proves_nothing(folder: Path) -> None:
    with pytest.raises(UnreadableMedia):
        probe(placed(folder, audio_file("flac", tone(1))[:300]))


def test_no_sound(folder: Path) -> None:
    with pytest.raises(NoAudio):
        probe(video_file(folder / "silent.mkv", None, muxer="matroska"))


def test_absurd_claims_are_refused(folder: Path) -> None:
    absurd = bytearray(audio_file("wav", tone(1)))
    absurd[24:28] = (4_000_000).to_bytes(4, "little")
    with pytest.raises(UnreadableMedia, match="claims 4000000 Hz"):
        probe(placed(folder, bytes(absurd)))
