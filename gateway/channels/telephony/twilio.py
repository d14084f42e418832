"""Twilio Media Streams, as https://www.twilio.com/docs/voice/media-streams has them, and
SignalWire's ``<Stream>``, which has the same messages and more formats, as its ``codec`` says
(https://developer.signalwire.com/compatibility-api/cxml/voice/stream)."""

from dataclasses import replace

from .dialect import Dialect

TWILIO = Dialect(
    name="twilio",
    stream_id="streamSid",
    call_id="callSid",
    account_id="accountSid",
    media_format="mediaFormat",
    parameters="customParameters",
    encodings={"audio/x-mulaw": "pcmu"},
    rates={"pcmu": (8_000,)},
)

SIGNALWIRE = replace(
    TWILIO,
    name="signalwire",
    encodings={
        **TWILIO.encodings,
        "audio/x-alaw": "pcma",
        "audio/x-l16": "l16",
        "audio/l16": "l16",
        "l16": "l16",
        "pcmu": "pcmu",
        "pcma": "pcma",
        "g722": "g722",
    },
    rates={
        "pcmu": (8_000,),
        "pcma": (8_000,),
        "l16": (8_000, 16_000, 24_000),
        "g722": (16_000, 8_000),
    },
)
