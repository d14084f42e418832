"""Recordings, and the ear: the caller hears what the playout clock lets through."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.caller import Player, Recording, write_wav
from tests.support.paths import AUDIO

RATE = 1000


def pcm(*samples: int) -> bytes:
    return np.array(samples, "<i2").tobytes()


def test_audio_is_heard_on_time_with_silence_between() -> None:
    player = Player(RATE, start=10.0)
    player.feed(pcm(*[500] * 100), 10.2)
    player.advance(10.5)
    heard = player.heard()
    assert len(heard) == 500
    assert np.flatnonzero(heard).tolist() == list(range(200, 300))
    assert player.audible_after(10.0) == pytest.approx(10.2)
    assert player.audible_until(10.5) == pytest.approx(10.299)
    assert player.audible_after(10.31) is None
    assert player.audible_until(10.2) is None


def test_pieces_queue_in_order() -> None:
    player = Player(RATE, start=0.0)
    player.feed(pcm(*[1] * 100), 0.0)
    player.feed(pcm(*[2] * 100), 0.05)
    assert player.waiting_ms == 150
    player.advance(0.2)
    assert player.heard().tolist() == [1] * 100 + [2] * 100
    assert player.waiting_ms == 0


def test_flush_drops_what_was_not_heard() -> None:
    player = Player(RATE, start=0.0)
    player.feed(pcm(*[900] * 400), 0.0)
    assert player.flush(0.15) == 250
    player.feed(pcm(*[700] * 50), 0.3)
    player.advance(0.4)
    assert player.heard().tolist() == [900] * 150 + [0] * 150 + [700] * 50 + [0] * 50
    assert player.flushed_samples == 250
    assert player.stretches(gap_s=0.1) == [
        pytest.approx((0.0, 0.149)),
        pytest.approx((0.3, 0.349)),
    ]


def test_a_long_call_keeps_its_beginning() -> None:
    player = Player(RATE, start=0.0)
    player.feed(pcm(*[300] * 10), 0.0)
    player.feed(pcm(*[400] * 10), 25.0)
    player.advance(60.0)
    assert len(player.heard()) == 60_000
    assert np.flatnonzero(player.heard()).tolist() == [*range(10), *range(25_000, 25_010)]
    assert player.audible_until(60.0) == pytest.approx(25.009)


def test_a_live_stream_catches_up_in_silence_only() -> None:
    player = Player(RATE, start=0.0, live=True)
    for piece in (0, 0, 900, 0, 0, 0):
        player.feed(pcm(*[piece] * 20), 0.0)
    assert player.waiting_ms == 80
    player.advance(0.02)
    player.feed(pcm(*[0] * 20), 0.02)
    assert player.waiting_ms == 20
    assert player.heard().tolist() == [900] * 20


def test_memory_is_bounded() -> None:
    player = Player(RATE, start=0.0, limit_s=1.0)
    player.advance(5.0)
    assert len(player.heard()) == 1000


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        Player(RATE, start=0.0).feed(b"abc", 0.0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["feed", "flush", "advance"]), st.integers(0, 300)), max_size=40
)


@given(STEPS)
def test_every_sample_is_heard_waiting_or_flushed(steps: list[tuple[str, int]]) -> None:
    player, now, fed = Player(RATE, start=0.0), 0.0, 0
    for what, amount in steps:
        if what == "feed":
            player.feed(pcm(*[1000] * amount), now)
            fed += amount
        elif what == "flush":
            player.flush(now)
        now += amount / RATE
        player.advance(now)
    heard = int(np.count_nonzero(player.heard()))
    assert heard + round(player.waiting_ms * RATE / 1000) + player.flushed_samples == fed
    assert len(player.heard()) == round(now * RATE)


def test_a_recording_is_resampled_and_its_loud_part_found(tmp_path: Path) -> None:
    rate = 16_000
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
    silence = np.zeros(rate // 2, np.int16)
    write_wav(tmp_path / "a.wav", np.concatenate([silence, tone, silence]), rate)
    recording = Recording.read(tmp_path / "a.wav", 24_000)
    assert recording.seconds == pytest.approx(2.0, abs=0.001)
    assert recording.first == pytest.approx(12_000, abs=300)
    assert recording.last == pytest.approx(36_000, abs=300)
    assert np.abs(recording.samples).max() == pytest.approx(8000, rel=0.05)


def test_real_speech_has_a_loud_part() -> None:
    recording = Recording.read(AUDIO / "joe_q_capital.wav", 24_000)
    assert 0 <= recording.first < recording.last <= len(recording.samples)
    assert recording.last - recording.first > 24_000


def test_silence_counts_whole() -> None:
    recording = Recording.of(np.zeros(2400, np.int16), 24_000)
    assert (recording.first, recording.last) == (0, 2400)


def test_files_that_are_not_audio_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"no audio at all")
    with pytest.raises(ValueError, match=r"x\.wav holds no readable audio"):
        Recording.read(tmp_path / "x.wav", 24_000)
    with pytest.raises(FileNotFoundError):
        Recording.read(tmp_path / "y.wav", 24_000)
