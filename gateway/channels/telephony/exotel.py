"""Exotel's voice streaming: raw PCM16 at 8 kHz, 100 ms a message."""

from media.formats import Encoding

from .dialect import Dialect

EXOTEL = Dialect(
    name="exotel",
    stream_id="stream_sid",
    call_id="call_sid",
    account_id="account_sid",
    media_format="media_format",
    parameters="custom_parameters",
    encodings={"base64": Encoding.PCM, "raw/slin": Encoding.PCM},
    output=Encoding.PCM,
    frame_ms=100,
)
