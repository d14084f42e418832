"""Carriers' formats: every named format opens a codec, and a codec reads what it writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.carrier import CODECS, BadAudio, StreamFormat
from gateway.channels.telephony.exotel import Exotel
from gateway.channels.telephony.media_stream import MediaStream
from gateway.channels.telephony.telnyx import Telnyx
from gateway.channels.telephony.twilio import SignalWire, Twilio
from media.formats import Encoding, samples_of
from media.resample import resample
from pipelines.engines.scripted.live import tone

CARRIERS = (Twilio, Telnyx, Exotel, SignalWire)
FORMATS = sorted(
    {
        StreamFormat(name, rate)
        for carrier in CARRIERS
        for name, rates in carrier.rates.items()
        for rate in rates
    },
    key=lambda form: (form.name, form.rate),
)


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: carrier.name)
def test_a_carrier_opens_every_format_it_names(carrier: type[MediaStream]) -> None:
    assert {*carrier.encodings.values(), carrier.default} <= set(CODECS)
    for encoding, name in carrier.encodings.items():
        for rate in (None, *carrier.rates[name]):
            form = carrier.format_of(encoding.upper(), rate)
            assert form is not None
            assert form.name == name
            assert carrier.answer_to(form).open().output_rate in (8_000, 16_000, 24_000, 48_000)
    assert carrier.format_of("audio/mp3", None) is None
    assert carrier.format_of(None, 11_025) is None


@pytest.mark.parametrize(
    ("carrier", "encoding", "rate", "heard", "answered"),
    [
        (Twilio, "audio/x-mulaw", 8_000, ("pcmu", 8_000), ("pcmu", 8_000)),
        (Telnyx, "PCMA", 8_000, ("pcma", 8_000), ("pcmu", 8_000)),
        (Telnyx, "L16", 16_000, ("l16", 16_000), ("l16", 16_000)),
        (Telnyx, "G722", 8_000, ("g722", 8_000), ("g722", 8_000)),
        (Telnyx, "OPUS", 48_000, ("opus", 48_000), ("opus", 48_000)),
        (Exotel, "audio/x-raw", 24_000, ("l16", 24_000), ("l16", 24_000)),
        (Exotel, None, None, ("l16", 8_000), ("l16", 8_000)),
        (SignalWire, "audio/x-L16", 24_000, ("l16", 24_000), ("l16", 24_000)),
    ],
)
def test_a_stream_is_answered_in_its_own_format(
    carrier: type[MediaStream],
    encoding: str,
    rate: int,
    heard: tuple[str, int],
    answered: tuple[str, int],
) -> None:
    form = carrier.format_of(encoding, rate)
    assert form == StreamFormat(*heard)
    assert carrier.answer_to(form) == StreamFormat(*answered)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name}-{form.rate}")
def test_what_a_codec_writes_it_reads(form: StreamFormat) -> None:
    writer, reader = form.open(), form.open()
    rate = writer.output_rate
    said = tone(440, rate // 2, rate)
    step = 2 * samples_of(20, rate)
    frames = [said[start : start + step] for start in range(0, len(said), step)]
    heard = b"".join(reader.decode(writer.encode(frame)) for frame in frames)
    assert len(heard) // 2 == reader.input_rate // 2
    there = np.frombuffer(resample(said, rate, 8_000), "<i2").astype(float)
    back = np.frombuffer(resample(heard, reader.input_rate, 8_000), "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(back[400:]))
    assert abs(np.argmax(spectrum) * 8_000 / len(back[400:]) - 440) < 5
    assert 0.8 < np.std(back[400:]) / np.std(there[400:]) < 1.25


def test_the_session_object_says_the_rate() -> None:
    assert StreamFormat("g722", 8_000).open().format.rate == 16_000
    opus = StreamFormat("opus", 48_000).open()
    assert (opus.format.encoding, opus.output_rate, opus.input_rate) == (
        Encoding.PCM,
        48_000,
        16_000,
    )


def test_half_a_sample_is_no_audio() -> None:
    with pytest.raises(BadAudio, match="odd_samples"):
        StreamFormat("l16", 8_000).open().decode(b"\1\2\3")


@pytest.mark.parametrize("name", ["g722", "opus"])
@given(payload=st.binary(max_size=400))
def test_any_bytes_decode_to_audio_or_nothing(name: str, payload: bytes) -> None:
    codec = StreamFormat(name, 16_000).open()
    try:
        heard = codec.decode(payload)
    except BadAudio as error:
        heard, code = b"", error.code
    else:
        code = f"invalid_{name}"
    assert len(heard) % 2 == 0
    assert code == f"invalid_{name}"
