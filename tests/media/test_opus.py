"""libopus from the av wheel: speech survives, loss is concealed, garbage is reported."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.opus import (
    OpusDecoder,
    OpusEncoder,
    OpusError,
    has_redundancy,
    packet_ticks,
)
from media.resample import resample


@pytest.fixture(scope="module")
def spoken(request):
    import wave

    with wave.open(str(request.config.rootpath / "tests/audio/joe_q_internet.wav")) as file:
        return file.readframes(file.getnframes())


@pytest.fixture(scope="module")
def packets(spoken):
    pcm = resample(spoken, 16_000, 24_000)
    encoder = OpusEncoder(24_000)
    return [encoder.encode(pcm[i : i + 960]) for i in range(0, len(pcm) - 959, 960)]


def alike(a: bytes, b: bytes) -> float:
    """Best correlation of two recordings within 20 ms of shift."""
    x, y = (np.frombuffer(pcm, "<i2").astype(float) for pcm in (a, b))
    n = min(len(x), len(y)) - 320
    return max(float(np.corrcoef(x[:n], y[k : k + n])[0, 1]) for k in range(0, 320, 4))


def test_speech_survives_at_a_voice_bitrate(spoken, packets):
    decoder = OpusDecoder(16_000)
    heard = b"".join(decoder.decode(packet) for packet in packets)
    assert len(heard) == len(packets) * 640
    assert alike(spoken, heard) > 0.9
    assert sum(map(len, packets)) * 8 * 50 / len(packets) < 40_000
    assert {packet_ticks(packet) for packet in packets} == {960}


def test_redundancy_brings_back_a_lost_frame_better_than_concealment(packets):
    assert sum(map(has_redundancy, packets)) > len(packets) / 2
    clean, healed, guessed = OpusDecoder(), OpusDecoder(), OpusDecoder()
    errors = {"healed": 0.0, "guessed": 0.0}
    for n, packet in enumerate(packets[:-1]):
        true = np.frombuffer(clean.decode(packet), "<i2").astype(float)
        if n % 10 == 5:
            first = healed.recover(packets[n + 1], 320)
            second = guessed.conceal(320)
        else:
            first, second = healed.decode(packet), guessed.decode(packet)
        errors["healed"] += float(np.mean((np.frombuffer(first, "<i2") - true) ** 2))
        errors["guessed"] += float(np.mean((np.frombuffer(second, "<i2") - true) ** 2))
    assert errors["healed"] < errors["guessed"] / 2


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("samples", [0, 1, 320, 333, 960, 7777])
def test_concealment_is_exactly_as_long_as_asked(packets, rate, samples):
    decoder = OpusDecoder(rate)
    decoder.decode(packets[40])
    assert len(decoder.conceal(samples)) == 2 * samples
    assert len(decoder.recover(packets[42], samples)) == 2 * samples


def test_concealment_fades(packets):
    decoder = OpusDecoder()
    for packet in packets[:40]:
        decoder.decode(packet)
    faded = np.frombuffer(decoder.conceal(16_000), "<i2")
    assert np.abs(faded[-1600:]).max() < 200


def test_reset_makes_the_encoder_new():
    tone = (8000 * np.sin(np.arange(480) / 9)).astype("<i2").tobytes()
    encoder = OpusEncoder()
    first = [encoder.encode(tone) for _ in range(3)]
    encoder.reset()
    assert [encoder.encode(tone) for _ in range(3)] == first


@given(st.binary(max_size=200))
def test_garbage_is_refused_by_name_or_decoded_but_never_kills(payload):
    decoder = OpusDecoder()
    with suppress(OpusError):
        ticks = packet_ticks(payload)
        assert len(decoder.decode(payload)) == 2 * ticks // 3


def test_refusals():
    with pytest.raises(OpusError, match="11025 Hz"):
        OpusEncoder(11_025)
    with pytest.raises(OpusError, match="frame of 100 samples"):
        OpusEncoder().encode(bytes(200))
    with pytest.raises(OpusError, match="0 bytes"):
        OpusDecoder().decode(b"")
