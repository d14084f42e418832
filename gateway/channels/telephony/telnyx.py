"""Telnyx media streaming in RTP mode: snake case, no stream id on what is sent back, and media
that may arrive out of order.

The format of ``start`` is that of the caller's audio (``stream_codec``); what is sent back must be
in ``stream_bidirectional_codec``. Blab answers in kind, but PCMA by PCMU, the default there.
https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming
"""

from collections.abc import Mapping
from typing import ClassVar

from .media_stream import MediaStream, Names


class Telnyx(MediaStream):
    """Telnyx: PCMU, PCMA, L16, G.722 and Opus."""

    name = "telnyx"
    names = Names(
        stream_id="stream_id",
        call_id="call_control_id",
        account_id="user_id",
        media_format="media_format",
        parameters="custom_parameters",
    )
    encodings: ClassVar[Mapping[str, str]] = {
        "pcmu": "pcmu",
        "pcma": "pcma",
        "l16": "l16",
        "g722": "g722",
        "opus": "opus",
    }
    rates: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "pcmu": (8_000,),
        "pcma": (8_000,),
        "l16": (8_000, 16_000, 24_000),
        "g722": (16_000, 8_000),
        "opus": (16_000, 8_000, 48_000, 24_000),
    }
    answers: ClassVar[Mapping[str, str]] = {"pcma": "pcmu"}
    addressed = False
    ordered = False
