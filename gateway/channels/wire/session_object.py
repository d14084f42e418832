"""The session object: OpenAI's ``session`` JSON merged into a SessionConfig, and written from it.

Rules
- A merge is partial: what is absent keeps its value; ``turn_detection: null`` means that only a
  commit ends a turn.
- The beta's flat names are read as aliases (``voice``, ``modalities``, ``input_audio_format``,
  ``input_audio_transcription``, ``turn_detection``, ``max_response_output_tokens``, …).
- What OpenAI knows and Blab does not do yet (tools, tracing, prompt, …) is taken and not kept;
  the session that is told back shows it as unset.
- ``session.blab`` holds our own: ``events`` (names of ``blab.*`` events wanted), ``language``,
  ``speech_model``.
"""

import re
from dataclasses import replace
from typing import Any, TypeVar

from media.formats import PCM_RATES, AudioFormat, Encoding
from sessions.core.config import SessionConfig

from .fields import Fields
from .turn_detection import merge_turn_detection, render_turn_detection

EXTENSIONS = ("latency", "transcript.partial", "playout")
"""What ``session.blab.events`` may name."""

MAX_OUTPUT_TOKENS = 4096
"""The meaning of ``"inf"``, and the most that may be asked for."""

_UNKEPT = {
    "include", "tools", "tool_choice", "parallel_tool_calls", "tracing", "truncation", "prompt",
    "reasoning", "object", "id", "expires_at", "client_secret", "noise_reduction",
    "input_audio_noise_reduction",
}  # fmt: skip
_KEPT = {
    "type", "model", "instructions", "output_modalities", "modalities", "max_output_tokens",
    "max_response_output_tokens", "temperature", "audio", "voice", "speed", "input_audio_format",
    "output_audio_format", "input_audio_transcription", "turn_detection", "blab",
}  # fmt: skip

_FORMATS = {
    "audio/pcm": Encoding.PCM,
    "pcm16": Encoding.PCM,
    "audio/pcmu": Encoding.PCMU,
    "g711_ulaw": Encoding.PCMU,
    "audio/pcma": Encoding.PCMA,
    "g711_alaw": Encoding.PCMA,
}
_T = TypeVar("_T")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def merge_session(session: Fields, config: SessionConfig) -> SessionConfig:
    """The configuration that holds after ``session`` was sent; raises ClientFault."""
    session.only(_KEPT | _UNKEPT)
    session.choice("type", ("realtime",))
    config = replace(
        config,
        model=session.text("model", max_chars=256) or config.model,
        instructions=_kept(session.text("instructions"), config.instructions),
        output_audio=_kept(merge_modalities(session), config.output_audio),
        max_output_tokens=_kept(merge_max_tokens(session), config.max_output_tokens),
        temperature=_kept(session.number("temperature", 0, 2), config.temperature),
    )
    config = _merge_flat(session, config)
    if (audio := session.child("audio")) is not None:
        audio.only(("input", "output"))
        if (heard := audio.child("input")) is not None:
            config = _merge_input(heard, config)
        if (spoken := audio.child("output")) is not None:
            config = _merge_output(spoken, config)
    if (blab := session.child("blab")) is not None:
        config = _merge_extensions(blab, config)
    return config


def render_session(config: SessionConfig, session_id: str) -> dict[str, Any]:
    """The ``session`` object of session.created and session.updated."""
    session: dict[str, Any] = {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": config.model,
        "output_modalities": ["audio" if config.output_audio else "text"],
        "instructions": config.instructions,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": config.max_output_tokens,
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": render_format(config.input_format),
                "transcription": {
                    "model": config.transcription_model,
                    "language": config.language,
                },
                "noise_reduction": None,
                "turn_detection": render_turn_detection(config.turn_detection),
            },
            "output": {
                "format": render_format(config.output_format),
                "voice": config.voice,
                "speed": config.speed,
            },
        },
    }
    if config.extensions:
        session["blab"] = {
            "events": sorted(config.extensions),
            "language": config.language,
            "speech_model": config.speech_model,
        }
    return session


def render_format(form: AudioFormat) -> dict[str, Any]:
    """``{"type": "audio/pcm", "rate": …}``; G.711 has no rate."""
    if form.encoding is Encoding.PCM:
        return {"type": form.encoding.value, "rate": form.rate}
    return {"type": form.encoding.value}


def merge_modalities(fields: Fields) -> bool | None:
    """Whether the reply is spoken; None where neither name is there."""
    name = "output_modalities" if fields.has("output_modalities") else "modalities"
    entries = fields.sequence(name, max_items=2)
    if entries is None:
        return None
    if not entries or any(entry not in ("audio", "text") for entry in entries):
        raise fields.fault(
            "invalid_value", f"'{fields.where(name)}' must be ['audio'] or ['text'].", name
        )
    return "audio" in entries


def merge_max_tokens(fields: Fields) -> int | None:
    """The token limit of a reply; ``"inf"`` is MAX_OUTPUT_TOKENS."""
    beta = "max_response_output_tokens"
    name = beta if fields.has(beta) else "max_output_tokens"
    if fields.raw(name) == "inf":
        return MAX_OUTPUT_TOKENS
    return fields.integer(name, 1, MAX_OUTPUT_TOKENS)


def _merge_flat(session: Fields, config: SessionConfig) -> SessionConfig:
    """The beta's flat names."""
    config = _merge_voice(session, config)
    config = _merge_transcription(session, "input_audio_transcription", config)
    return replace(
        config,
        input_format=_format(session, "input_audio_format", config.input_format),
        output_format=_format(session, "output_audio_format", config.output_format),
        turn_detection=merge_turn_detection(session, config.turn_detection),
    )


def _merge_input(heard: Fields, config: SessionConfig) -> SessionConfig:
    heard.only(("format", "noise_reduction", "transcription", "turn_detection"))
    if (reduction := heard.child("noise_reduction")) is not None:
        reduction.choice("type", ("near_field", "far_field"))
    config = _merge_transcription(heard, "transcription", config)
    return replace(
        config,
        input_format=_format(heard, "format", config.input_format),
        turn_detection=merge_turn_detection(heard, config.turn_detection),
    )


def _merge_output(spoken: Fields, config: SessionConfig) -> SessionConfig:
    spoken.only(("format", "voice", "speed"))
    config = _merge_voice(spoken, config)
    return replace(config, output_format=_format(spoken, "format", config.output_format))


def _merge_voice(fields: Fields, config: SessionConfig) -> SessionConfig:
    voice: str | None
    if isinstance(fields.raw("voice"), dict):
        voice = fields.need_child("voice").need_text("id", max_chars=256)
    else:
        voice = fields.text("voice", max_chars=256)
    speed = fields.number("speed", 0.25, 1.5)
    return replace(config, voice=voice or config.voice, speed=_kept(speed, config.speed))


def _merge_transcription(fields: Fields, name: str, config: SessionConfig) -> SessionConfig:
    """Null is taken and changes nothing: Blab always hears in words."""
    wanted = fields.child(name)
    if wanted is None:
        return config
    wanted.only(("model", "language", "languages", "prompt", "keywords", "delay"))
    return replace(
        config,
        transcription_model=wanted.text("model", max_chars=256) or config.transcription_model,
        language=_language(wanted) or config.language,
    )


def _merge_extensions(blab: Fields, config: SessionConfig) -> SessionConfig:
    blab.only(("events", "language", "speech_model"))
    config = replace(
        config,
        language=_language(blab) or config.language,
        speech_model=blab.text("speech_model", max_chars=256) or config.speech_model,
    )
    names = blab.sequence("events", max_items=32)
    if names is None:
        return config
    if any(name not in EXTENSIONS for name in names):
        accepted = ", ".join(EXTENSIONS)
        raise blab.fault(
            "invalid_value", f"'{blab.where('events')}' may name: {accepted}.", "events"
        )
    return replace(config, extensions=frozenset(names))


def _language(fields: Fields) -> str | None:
    """The primary subtag, in lower case: ``en`` of ``en-GB``."""
    tag = fields.text("language", max_chars=35)
    if not tag:
        return None
    if _LANGUAGE.fullmatch(tag) is None:
        raise fields.fault(
            "invalid_value",
            f"'{fields.where('language')}' must be a language code such as 'en' or 'pt'.",
            "language",
        )
    return tag.split("-", 1)[0].lower()


def _format(fields: Fields, name: str, present: AudioFormat) -> AudioFormat:
    value = fields.raw(name)
    if value is None:
        return present
    if isinstance(value, str):
        return _encoding_format(_FORMATS[fields.choice(name, _FORMATS) or "audio/pcm"], None)
    form = fields.need_child(name)
    form.only(("type", "rate"))
    encoding = form.choice("type", _FORMATS)
    rate = form.integer("rate", 1, 1_000_000)
    kind = _FORMATS[encoding] if encoding else present.encoding
    accepted = PCM_RATES if kind is Encoding.PCM else (8_000,)
    if rate is not None and rate not in accepted:
        raise form.fault(
            "invalid_value",
            f"'{form.where('rate')}' must be one of {', '.join(map(str, accepted))} "
            f"for '{kind.value}'.",
            "rate",
        )
    return _encoding_format(kind, rate)


def _encoding_format(encoding: Encoding, rate: int | None) -> AudioFormat:
    return AudioFormat(encoding, rate or (24_000 if encoding is Encoding.PCM else 8_000))


def _kept(new: _T | None, old: _T) -> _T:
    return old if new is None else new
