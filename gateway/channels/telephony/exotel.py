"""Exotel's voice streaming: linear audio at 8, 16 or 24 kHz (the address's ``sample-rate``), 100 ms
a message (https://developer.exotel.com/docs/agentstream/stream-voicebot-applet)."""

from .dialect import Dialect

EXOTEL = Dialect(
    name="exotel",
    stream_id="stream_sid",
    call_id="call_sid",
    account_id="account_sid",
    media_format="media_format",
    parameters="custom_parameters",
    encodings={
        "base64": "l16",
        "raw/slin": "l16",
        "audio/x-raw": "l16",
        "audio/l16": "l16",
        "audio/x-l16": "l16",
        "audio/x-mulaw": "pcmu",
    },
    rates={"l16": (8_000, 16_000, 24_000), "pcmu": (8_000,)},
    default="l16",
    frame_ms=100,
)
