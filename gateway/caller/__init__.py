"""A caller in code: speaks recordings into a running server and hears the reply in time.

``blab talk``, the end-to-end tests and the bench are made of it. It knows the server only by
its public protocol.
"""

from gateway.caller.caller import Caller, NoAnswer, TimedEvent
from gateway.caller.demo_key import demo_key
from gateway.caller.line import Line, LineClosed
from gateway.caller.microphone import Microphone, Utterance
from gateway.caller.narrator import Narrator
from gateway.caller.player import Player
from gateway.caller.recording import Recording, write_wav
from gateway.caller.report import CallReport
from gateway.caller.webrtc_line import WebRtcLine
from gateway.caller.websocket_line import WebSocketLine

__all__ = [
    "CallReport",
    "Caller",
    "Line",
    "LineClosed",
    "Microphone",
    "Narrator",
    "NoAnswer",
    "Player",
    "Recording",
    "TimedEvent",
    "Utterance",
    "WebRtcLine",
    "WebSocketLine",
    "demo_key",
    "write_wav",
]
