"""A turn's audio: which parts are speech, and how a reply is stored."""

from pathlib import Path

import pytest

from media.files.decode import decode
from media.files.encode import Encoder
from media.formats import HEARING_RATE
from pipelines.engines.scripted.live import LoudnessModel, tone, tone_of
from rest.http.errors import ValidationFailed
from rest.jobs.recordings import encode_reply, read_speech
from sessions.recorded_channel import OUTPUT_RATE
from tests.support.rest.agent_app import recording


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_speech_is_resampled_to_the_engines_rate(tmp_path: Path, rate: int) -> None:
    file = written(tmp_path / "a.wav", recording(1.0, rate=rate))
    [part] = read_speech(file, LoudnessModel())
    assert len(part) / 2 / HEARING_RATE == pytest.approx(1.0, abs=0.05)
    assert tone_of(part, HEARING_RATE) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav"])
def test_any_container_is_read(tmp_path: Path, format: str) -> None:
    encoder = Encoder(format, OUTPUT_RATE)
    data = encoder.push(tone(440.0, OUTPUT_RATE, OUTPUT_RATE)) + encoder.finish()
    [part] = read_speech(written(tmp_path / "a", data), LoudnessModel())
    assert len(part) / 2 / HEARING_RATE == pytest.approx(1.0, abs=0.1)


def test_speech_around_a_long_silence_is_two_parts(tmp_path: Path) -> None:
    file = bytearray(recording(8.0, silent=True))
    for second in (1, 6):
        file[44 + second * 32_000 : 44 + second * 32_000 + 32_000] = recording(1.0)[44:]
    parts = read_speech(written(tmp_path / "a.wav", bytes(file)), LoudnessModel())
    assert [len(part) / 32_000 for part in parts] == pytest.approx([1.65, 1.65], abs=0.1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (recording(1.0, silent=True), "no_speech"),
        (b"nothing of the kind", "unreadable_audio"),
        (recording(181.0, rate=8_000), "unreadable_audio"),
    ],
)
def test_unusable_recordings_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        read_speech(written(tmp_path / "a", data), LoudnessModel())
    assert (refused.value.reason, refused.value.param) == (reason, "file")


def test_a_reply_is_an_mp3(tmp_path: Path) -> None:
    data = encode_reply(bytearray(tone(500.0, 2 * OUTPUT_RATE, OUTPUT_RATE)))
    pcm = b"".join(decode(written(tmp_path / "a.mp3", data), OUTPUT_RATE))
    assert len(pcm) / 2 / OUTPUT_RATE == pytest.approx(2.0, abs=0.1)
    assert tone_of(pcm, OUTPUT_RATE) == pytest.approx(500, abs=2)
