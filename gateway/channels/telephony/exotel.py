"""Exotel's voice streaming: linear audio at 8, 16 or 24 kHz (the address's ``sample-rate``), 100 ms
a message (https://developer.exotel.com/docs/agentstream/stream-voicebot-applet)."""

from collections.abc import Mapping
from typing import ClassVar

from .media_stream import MediaStream, Names


class Exotel(MediaStream):
    """Exotel: linear audio, or µ-law."""

    name = "exotel"
    names = Names(
        stream_id="stream_sid",
        call_id="call_sid",
        account_id="account_sid",
        media_format="media_format",
        parameters="custom_parameters",
    )
    encodings: ClassVar[Mapping[str, str]] = {
        "base64": "l16",
        "raw/slin": "l16",
        "audio/x-raw": "l16",
        "audio/l16": "l16",
        "audio/x-l16": "l16",
        "audio/x-mulaw": "pcmu",
    }
    rates: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "l16": (8_000, 16_000, 24_000),
        "pcmu": (8_000,),
    }
    default = "l16"
    frame_ms = 100
