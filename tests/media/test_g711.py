"""G.711 against FFmpeg's own tables, and against itself."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import g711

EVERY_BYTE = bytes(range(256))
CODECS = {
    "pcm_mulaw": (g711.encode_ulaw, g711.decode_ulaw),
    "pcm_alaw": (g711.encode_alaw, g711.decode_alaw),
}


@pytest.mark.parametrize("name", CODECS)
def test_every_byte_decodes_as_ffmpeg_decodes_it(name):
    decoder = av.CodecContext.create(name, "r")
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    (frame,) = decoder.decode(av.Packet(EVERY_BYTE))
    assert CODECS[name][1](EVERY_BYTE) == frame.to_ndarray().astype("<i2").tobytes()


@pytest.mark.parametrize("name", CODECS)
def test_a_byte_survives_a_round_trip(name):
    encode, decode = CODECS[name]
    back = encode(decode(EVERY_BYTE))
    differing = [code for code in range(256) if back[code] != code]
    assert differing in ([], [0x7F])  # µ-law's negative zero


@pytest.mark.parametrize("name", CODECS)
def test_every_sample_encodes_to_a_near_value(name):
    encode, decode = CODECS[name]
    samples = np.arange(-32768, 32768, dtype="<i2")
    back = np.frombuffer(decode(encode(samples.tobytes())), "<i2").astype(int)
    error = np.abs(back - samples.astype(int))
    step = np.maximum(np.abs(samples.astype(int)) / 16, 16)
    assert (error <= step + 8).mean() > 0.985  # the rest is clipped at the top
    assert (np.sign(back) * np.sign(samples.astype(int)) >= 0).all()


@given(st.binary(max_size=99))
def test_sizes(payload):
    assert len(g711.decode_ulaw(payload)) == 2 * len(payload)
    if len(payload) % 2:
        with pytest.raises(ValueError, match="even number"):
            g711.encode_alaw(payload)
    else:
        assert len(g711.encode_ulaw(payload)) == len(payload) // 2


def test_silence_bytes():
    assert g711.encode_ulaw(bytes(2)) == bytes([g711.ULAW_SILENCE])
    assert g711.encode_alaw(bytes(2)) == bytes([g711.ALAW_SILENCE])
