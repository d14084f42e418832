"""Formats of carriers: what is named opens a codec, and what a codec writes, it reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.codecs import NAMES, BadAudio, StreamFormat
from gateway.channels.telephony.dialect import Dialect
from gateway.channels.telephony.exotel import EXOTEL
from gateway.channels.telephony.telnyx import TELNYX
from gateway.channels.telephony.twilio import SIGNALWIRE, TWILIO
from media.formats import Encoding, samples_of
from media.resample import resample
from pipelines.engines.scripted.live import tone

DIALECTS = (TWILIO, TELNYX, EXOTEL, SIGNALWIRE)
FORMATS = sorted(
    {
        StreamFormat(name, rate)
        for d in DIALECTS
        for name, rates in d.rates.items()
        for rate in rates
    },
    key=lambda form: (form.name, form.rate),
)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_dialect_opens_every_format_it_names(dialect: Dialect) -> None:
    assert {*dialect.encodings.values(), dialect.default} <= set(NAMES)
    for encoding, name in dialect.encodings.items():
        for rate in (None, *dialect.rates[name]):
            form = dialect.format(encoding.upper(), rate)
            assert form is not None
            assert form.name == name
            assert dialect.answer(form).open().output_rate in (8_000, 16_000, 24_000, 48_000)
    assert dialect.format("audio/mp3", None) is None
    assert dialect.format(None, 11_025) is None


@pytest.mark.parametrize(
    ("dialect", "encoding", "rate", "heard", "answered"),
    [
        (TWILIO, "audio/x-mulaw", 8_000, ("pcmu", 8_000), ("pcmu", 8_000)),
        (TELNYX, "PCMA", 8_000, ("pcma", 8_000), ("pcmu", 8_000)),
        (TELNYX, "L16", 16_000, ("l16", 16_000), ("l16", 16_000)),
        (TELNYX, "G722", 8_000, ("g722", 8_000), ("g722", 8_000)),
        (TELNYX, "OPUS", 48_000, ("opus", 48_000), ("opus", 48_000)),
        (EXOTEL, "audio/x-raw", 24_000, ("l16", 24_000), ("l16", 24_000)),
        (EXOTEL, None, None, ("l16", 8_000), ("l16", 8_000)),
        (SIGNALWIRE, "audio/x-L16", 24_000, ("l16", 24_000), ("l16", 24_000)),
    ],
)
def test_a_stream_is_answered_in_kind(
    dialect: Dialect, encoding: str, rate: int, heard: tuple[str, int], answered: tuple[str, int]
) -> None:
    form = dialect.format(encoding, rate)
    assert form == StreamFormat(*heard)
    assert dialect.answer(form) == StreamFormat(*answered)


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
def test_whatever_is_sent_is_audio_or_none(name: str, payload: bytes) -> None:
    codec = StreamFormat(name, 16_000).open()
    try:
        heard = codec.decode(payload)
    except BadAudio as error:
        heard, code = b"", error.code
    else:
        code = f"invalid_{name}"
    assert len(heard) % 2 == 0
    assert code == f"invalid_{name}"
