"""A caller in code: speaks recordings to a running server and hears the reply in real time.

``blab talk``, the end-to-end tests and the bench are built on it. It knows the server only through
its public protocol.
"""

from gateway.caller.audio import Microphone, Player, Recording, Utterance, write_wav
from gateway.caller.caller import Caller, NoAnswer, TimedEvent
from gateway.caller.channels import (
    CallEnded,
    CallerChannel,
    CallerWebRtc,
    CallerWebSocket,
    ConnectionLost,
    ServerBusy,
    demo_key,
)
from gateway.caller.report import CallReport, Narrator

__all__ = [
    "CallEnded",
    "CallReport",
    "Caller",
    "CallerChannel",
    "CallerWebRtc",
    "CallerWebSocket",
    "ConnectionLost",
    "Microphone",
    "Narrator",
    "NoAnswer",
    "Player",
    "Recording",
    "ServerBusy",
    "TimedEvent",
    "Utterance",
    "demo_key",
    "write_wav",
]
