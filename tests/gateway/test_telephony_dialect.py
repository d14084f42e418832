"""Dialects agree with the telephone's format."""

import pytest

from gateway.channels.telephony.dialect import Dialect
from gateway.channels.telephony.exotel import EXOTEL
from gateway.channels.telephony.telnyx import TELNYX
from gateway.channels.telephony.twilio import TWILIO
from media.formats import Encoding
from media.g711 import ULAW_SILENCE


@pytest.mark.parametrize(
    ("dialect", "frame_bytes", "silence"),
    [(TWILIO, 160, ULAW_SILENCE), (TELNYX, 160, ULAW_SILENCE), (EXOTEL, 1600, 0)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_frames(dialect: Dialect, frame_bytes: int, silence: int) -> None:
    assert dialect.frame_bytes == frame_bytes
    assert dialect.silence == bytes([silence])
    assert dialect.output_format.rate == 8_000
    assert dialect.output in dialect.encodings.values()
    assert all(isinstance(encoding, Encoding) for encoding in dialect.encodings.values())
