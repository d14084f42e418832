"""Twilio Media Streams, as https://www.twilio.com/docs/voice/media-streams has them."""

from media.formats import Encoding

from .dialect import Dialect

TWILIO = Dialect(
    name="twilio",
    stream_id="streamSid",
    call_id="callSid",
    account_id="accountSid",
    media_format="mediaFormat",
    parameters="customParameters",
    encodings={"audio/x-mulaw": Encoding.PCMU},
    output=Encoding.PCMU,
)
