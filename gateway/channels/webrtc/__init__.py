"""WebRTC calls: ``POST /v1/realtime/calls``, audio both ways, events on ``oai-events``."""

from .calls import HangUp, StartCall, WebRTCCalls, setup
from .channel import WebRTCChannel
from .ice import IceSettings, TurnServer
from .offer import OfferError

__all__ = [
    "HangUp",
    "IceSettings",
    "OfferError",
    "StartCall",
    "TurnServer",
    "WebRTCCalls",
    "WebRTCChannel",
    "setup",
]
