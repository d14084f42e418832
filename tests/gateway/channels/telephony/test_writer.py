"""Messages to carriers, as their documentation has them."""

import base64
import json

from gateway.channels.telephony.telnyx import TELNYX
from gateway.channels.telephony.twilio import TWILIO
from gateway.channels.telephony.writer import StreamWriter


def test_twilio_is_told_the_stream() -> None:
    writer = StreamWriter(TWILIO, "MZ1")
    payload = base64.b64encode(b"\xff" * 160).decode()
    assert json.loads(writer.media(b"\xff" * 160)) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": payload},
    }
    assert json.loads(writer.mark("m")) == {
        "event": "mark",
        "streamSid": "MZ1",
        "mark": {"name": "m"},
    }
    assert json.loads(writer.clear()) == {"event": "clear", "streamSid": "MZ1"}


def test_telnyx_is_not() -> None:
    writer = StreamWriter(TELNYX, "s1")
    assert json.loads(writer.clear()) == {"event": "clear"}
    assert json.loads(writer.mark("m")) == {"event": "mark", "mark": {"name": "m"}}
