"""Telnyx media streaming in RTP mode: snake case, no stream id on what is sent back, and media
that may arrive out of order."""

from media.formats import Encoding

from .dialect import Dialect

TELNYX = Dialect(
    name="telnyx",
    stream_id="stream_id",
    call_id="call_control_id",
    account_id="user_id",
    media_format="media_format",
    parameters="custom_parameters",
    encodings={"pcmu": Encoding.PCMU, "pcma": Encoding.PCMA},
    output=Encoding.PCMU,
    addressed=False,
    ordered=False,
)
