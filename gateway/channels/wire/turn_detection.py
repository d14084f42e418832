"""``turn_detection``: null, server_vad or semantic_vad, to and from the core's TurnDetection."""

from dataclasses import replace
from typing import Any

from sessions.core.config import Eagerness, TurnDetection, TurnMode

from .fields import Fields

_COMMON = ("type", "create_response", "interrupt_response")
_SERVER = (*_COMMON, "idle_timeout_ms", "prefix_padding_ms", "silence_duration_ms", "threshold")
_SEMANTIC = (*_COMMON, "eagerness", "idle_timeout_ms")
_MODES = (TurnMode.SERVER_VAD.value, TurnMode.SEMANTIC_VAD.value)


def merge_turn_detection(fields: Fields, present: TurnDetection) -> TurnDetection:
    """What ``fields.turn_detection`` makes of the present value; raises ClientFault."""
    if fields.is_null("turn_detection"):
        return replace(present, mode=TurnMode.NONE)
    wanted = fields.child("turn_detection")
    if wanted is None:
        return present
    if present.mode is TurnMode.NONE:
        wanted.need("type")
    mode = TurnMode(wanted.choice("type", _MODES) or present.mode)
    wanted.only(_SERVER if mode is TurnMode.SERVER_VAD else _SEMANTIC)
    eagerness = wanted.choice("eagerness", [each.value for each in Eagerness])
    changes = {
        "threshold": wanted.number("threshold", 0, 1),
        "prefix_padding_ms": wanted.integer("prefix_padding_ms", 0, 5_000),
        "silence_duration_ms": wanted.integer("silence_duration_ms", 20, 20_000),
        "eagerness": Eagerness(eagerness) if eagerness else None,
        "create_response": wanted.flag("create_response"),
        "interrupt_response": wanted.flag("interrupt_response"),
        "idle_timeout_ms": wanted.integer("idle_timeout_ms", 1_000, 600_000),
    }
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    if wanted.is_null("idle_timeout_ms"):
        given["idle_timeout_ms"] = None
    return replace(present, mode=mode, **given)


def render_turn_detection(detection: TurnDetection) -> dict[str, Any] | None:
    """The object of session.created and session.updated; None for push to talk."""
    if detection.mode is TurnMode.NONE:
        return None
    common: dict[str, Any] = {
        "type": detection.mode.value,
        "create_response": detection.create_response,
        "interrupt_response": detection.interrupt_response,
    }
    if detection.mode is TurnMode.SEMANTIC_VAD:
        common["eagerness"] = detection.eagerness.value
        if detection.idle_timeout_ms is not None:
            common["idle_timeout_ms"] = detection.idle_timeout_ms
        return common
    return common | {
        "threshold": detection.threshold,
        "prefix_padding_ms": detection.prefix_padding_ms,
        "silence_duration_ms": detection.silence_duration_ms,
        "idle_timeout_ms": detection.idle_timeout_ms,
    }
