"""The session object: OpenAI's ``session`` JSON merged into a SessionConfig, and written from it.

Rules
- A merge is partial: what is absent keeps its value; ``turn_detection: null`` means that only a
  commit ends a turn.
- The beta's flat names are read as aliases (``voice``, ``modalities``, ``input_audio_format``,
  ``input_audio_transcription``, ``turn_detection``, ``max_response_output_tokens``, …).
- What OpenAI knows and Blab does not do is accepted and dropped where nothing depends on it
  (tracing, reasoning), and the session that is sent back shows it as unset; what would be missed
  (``include``, a stored ``prompt``) is refused.
- A session of the type ``transcription`` has an input and no agent: fields of a reply are unknown
  to it. ``transcription: null`` keeps the caller's words from being sent.
- ``session.blab`` holds our own: ``events`` (names of ``blab.*`` events wanted), ``language``,
  ``speech_model``, ``echo_suppression``, ``turn_taking`` (its parts, each on or off).
- A language is a tag or ``auto``, which is what the caller speaks. Of ``auto`` OpenAI's part shows
  null, ours also the language that is spoken now (``language_in_use``), those that the caller may
  speak (``languages``), and those whose engines are still loading. A client cannot set these.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Literal, TypeVar, cast

from media.formats import PCM_RATES, AudioFormat, Encoding
from sessions.core.config import (
    AUTO,
    Eagerness,
    Extension,
    SessionConfig,
    SessionKind,
    TurnDetection,
    TurnMode,
    TurnTakingSettings,
)

from .fields import Fields
from .tools import merge_tools, render_choice, render_tools

MAX_OUTPUT_TOKENS = 4096
"""The largest limit that a client may set, and what ``"inf"`` means."""

_UNKEPT = {
    "include",
    "parallel_tool_calls",
    "tracing",
    "prompt",
    "reasoning",
    "object",
    "id",
    "expires_at",
    "client_secret",
}
_INPUT_ONLY = {
    "type",
    "audio",
    "include",
    "input_audio_format",
    "input_audio_transcription",
    "input_audio_noise_reduction",
    "turn_detection",
    "blab",
    "object",
    "id",
    "expires_at",
    "client_secret",
}
"""Fields of a transcription session, which has no agent."""
SESSION_FIELDS = {
    "tools",
    "tool_choice",
    "model",
    "instructions",
    "output_modalities",
    "modalities",
    "max_output_tokens",
    "max_response_output_tokens",
    "temperature",
    "voice",
    "speed",
    "output_audio_format",
    "truncation",
    *_INPUT_ONLY,
    *_UNKEPT,
}
"""Fields of a realtime session, the beta's names included."""

_FORMATS = {
    "audio/pcm": Encoding.PCM,
    "pcm16": Encoding.PCM,
    "audio/pcmu": Encoding.PCMU,
    "g711_ulaw": Encoding.PCMU,
    "audio/pcma": Encoding.PCMA,
    "g711_alaw": Encoding.PCMA,
}
Truncation = Literal["auto", "disabled"] | float
_EXTENSIONS = [extension.value for extension in Extension]
NoiseReduction = Literal["near_field", "far_field"] | None
_T = TypeVar("_T")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def merge_session(session: Fields, config: SessionConfig) -> SessionConfig:
    """``config`` with the changes of ``session``; raises ClientFault."""
    kind = SessionKind(session.choice("type", [each.value for each in SessionKind]) or config.kind)
    captions = kind is SessionKind.TRANSCRIPTION
    session.only(_INPUT_ONLY if captions else SESSION_FIELDS)
    _refuse_include(session)
    refuse_prompt(session)
    config = replace(
        config,
        kind=kind,
        truncation=_kept(merge_truncation(session), config.truncation),
        model=session.text("model", max_chars=256) or config.model,
        instructions=_kept(session.text("instructions"), config.instructions),
        output_audio=_kept(merge_modalities(session), config.output_audio),
        max_output_tokens=_kept(merge_max_tokens(session), config.max_output_tokens),
        temperature=_kept(session.number("temperature", 0, 2), config.temperature),
    )
    config = merge_tools(session, _merge_flat(session, config))
    if (audio := session.child("audio")) is not None:
        audio.only(("input",) if captions else ("input", "output"))
        if (heard := audio.child("input")) is not None:
            config = _merge_input(heard, config)
        if (spoken := audio.child("output")) is not None:
            config = _merge_output(spoken, config)
    if (blab := session.child("blab")) is not None:
        config = _merge_extensions(blab, config)
    return config


def render_session(config: SessionConfig, session_id: str) -> dict[str, Any]:
    """The ``session`` object of session.created and session.updated."""
    if config.kind is SessionKind.TRANSCRIPTION:
        session = _captions_session(config, session_id)
    else:
        session = _realtime_session(config, session_id)
    all_on = config.suppresses_echo and config.turn_taking == TurnTakingSettings()
    if config.extensions or not all_on:
        session["blab"] = {
            "events": sorted(extension.value for extension in config.extensions),
            "language": AUTO if config.detects_language else config.language,
            "language_in_use": config.language,
            "languages": list(config.languages),
            "languages_loading": list(config.coming),
            "speech_model": config.speech_model,
            "echo_suppression": config.suppresses_echo,
            "turn_taking": asdict(config.turn_taking),
        }
    return session


def _captions_session(config: SessionConfig, session_id: str) -> dict[str, Any]:
    return {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session_id,
        "include": None,
        "audio": {"input": _render_input(config)},
    }


def _realtime_session(config: SessionConfig, session_id: str) -> dict[str, Any]:
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": config.model,
        "output_modalities": ["audio" if config.output_audio else "text"],
        "instructions": config.instructions,
        "tools": render_tools(config),
        "tool_choice": render_choice(config),
        "max_output_tokens": config.max_output_tokens,
        "tracing": None,
        "truncation": _render_truncation(config),
        "prompt": None,
        "include": None,
        "audio": {
            "input": _render_input(config),
            "output": {
                "format": render_format(config.output_format),
                "voice": config.voice,
                "speed": config.speed,
            },
        },
    }


def _render_input(config: SessionConfig) -> dict[str, Any]:
    language = None if config.detects_language else config.language
    transcription = {"model": config.transcription_model, "language": language}
    noise = config.noise_reduction
    return {
        "format": render_format(config.input_format),
        "transcription": transcription if config.publishes_transcripts else None,
        "noise_reduction": {"type": noise} if noise else None,
        "turn_detection": render_turn_detection(config.turn_detection),
    }


def _render_truncation(config: SessionConfig) -> Any:
    if isinstance(config.truncation, str):
        return config.truncation
    return {"type": "retention_ratio", "retention_ratio": config.truncation}


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


def _refuse_include(session: Fields) -> None:
    """Refuse ``include``: what OpenAI would add to transcripts is not available here."""
    if session.sequence("include", max_items=16):
        raise session.fault(
            "unsupported_value",
            f"'{session.where('include')}' must be empty: the recognisers here give no log "
            "probabilities.",
            "include",
        )


def refuse_prompt(fields: Fields) -> None:
    """Refuse a prompt stored with OpenAI: without it the reply would be a different one."""
    if fields.raw("prompt") is not None:
        raise fields.fault(
            "unsupported_value",
            f"'{fields.where('prompt')}' names a stored prompt, and none are stored here: send its "
            "words as 'instructions'.",
            "prompt",
        )


def read_voice(fields: Fields) -> str | None:
    """A voice, by its name or as ``{"id": …}``."""
    if isinstance(fields.raw("voice"), Mapping):
        return fields.need_child("voice").need_text("id", max_chars=256)
    return fields.text("voice", max_chars=256)


def merge_truncation(fields: Fields) -> Truncation | None:
    """``auto``, ``disabled`` or a retention ratio; None where it is absent."""
    if not isinstance(fields.raw("truncation"), Mapping):
        return cast(Truncation | None, fields.choice("truncation", ("auto", "disabled")))
    wanted = fields.need_child("truncation")
    wanted.only(("type", "retention_ratio", "token_limits"))
    wanted.need("type")
    wanted.choice("type", ("retention_ratio",))
    wanted.need("retention_ratio")
    if (limits := wanted.child("token_limits")) is not None:
        limits.only(("post_instructions",))
        limits.integer("post_instructions", 0, 10**9)
    return wanted.number("retention_ratio", 0, 1)


def _merge_noise(fields: Fields, name: str, config: SessionConfig) -> SessionConfig:
    if fields.is_null(name):
        return replace(config, noise_reduction=None)
    wanted = fields.child(name)
    if wanted is None:
        return config
    wanted.only(("type", "strength"))
    wanted.number("strength", 0, 1)
    kind = wanted.choice("type", ("near_field", "far_field"))
    return replace(config, noise_reduction=cast(NoiseReduction, kind or config.noise_reduction))


def _merge_flat(session: Fields, config: SessionConfig) -> SessionConfig:
    """The beta's flat names."""
    config = _merge_voice(session, config)
    config = _merge_transcription(session, "input_audio_transcription", config)
    config = _merge_noise(session, "input_audio_noise_reduction", config)
    return replace(
        config,
        input_format=read_format(session, "input_audio_format", config.input_format),
        output_format=read_format(session, "output_audio_format", config.output_format),
        turn_detection=merge_turn_detection(session, config.turn_detection),
    )


def _merge_input(heard: Fields, config: SessionConfig) -> SessionConfig:
    heard.only(("format", "noise_reduction", "transcription", "turn_detection"))
    config = _merge_noise(heard, "noise_reduction", config)
    config = _merge_transcription(heard, "transcription", config)
    return replace(
        config,
        input_format=read_format(heard, "format", config.input_format),
        turn_detection=merge_turn_detection(heard, config.turn_detection),
    )


def _merge_output(spoken: Fields, config: SessionConfig) -> SessionConfig:
    spoken.only(("format", "voice", "speed"))
    config = _merge_voice(spoken, config)
    return replace(config, output_format=read_format(spoken, "format", config.output_format))


def _merge_voice(fields: Fields, config: SessionConfig) -> SessionConfig:
    speed = fields.number("speed", 0.25, 1.5)
    voice = read_voice(fields) or config.voice
    return replace(config, voice=voice, speed=_kept(speed, config.speed))


def _merge_transcription(fields: Fields, name: str, config: SessionConfig) -> SessionConfig:
    """Null: the caller's words are recognised all the same, and not sent."""
    if fields.is_null(name):
        return replace(config, publishes_transcripts=config.kind is SessionKind.TRANSCRIPTION)
    wanted = fields.child(name)
    if wanted is None:
        return config
    wanted.only(("model", "language", "languages", "prompt", "keywords", "delay"))
    wanted.text("prompt")
    wanted.sequence("keywords", max_items=1_000)
    wanted.choice("delay", ("minimal", "low", "medium", "high", "xhigh"))
    return replace(
        _merge_language(wanted, config),
        language_hints=_language_hints(wanted, config),
        publishes_transcripts=True,
        transcription_model=wanted.text("model", max_chars=256) or config.transcription_model,
    )


def _language_hints(wanted: Fields, config: SessionConfig) -> tuple[str, ...]:
    """The first subtags, in lower case."""
    tags = wanted.sequence("languages", max_items=100)
    if tags is None:
        return () if wanted.is_null("languages") else config.language_hints
    if not all(isinstance(tag, str) and _LANGUAGE.fullmatch(tag) for tag in tags):
        raise wanted.fault(
            "invalid_value",
            f"'{wanted.where('languages')}' must contain language codes such as 'en' or 'pt'.",
            "languages",
        )
    return tuple(sorted({str(tag).split("-", 1)[0].lower() for tag in tags}))


def _merge_switches(switches: Fields, settings: TurnTakingSettings) -> TurnTakingSettings:
    names = [field.name for field in fields(TurnTakingSettings)]
    switches.only(names)
    wanted = {name: switches.flag(name) for name in names}
    return replace(settings, **{name: flag for name, flag in wanted.items() if flag is not None})


_OF_BLAB = (
    "events",
    "language",
    "language_in_use",
    "languages",
    "languages_loading",
    "speech_model",
    "echo_suppression",
    "turn_taking",
)


def _merge_extensions(blab: Fields, config: SessionConfig) -> SessionConfig:
    blab.only(_OF_BLAB)
    if (switches := blab.child("turn_taking")) is not None:
        config = replace(config, turn_taking=_merge_switches(switches, config.turn_taking))
    config = replace(
        _merge_language(blab, config),
        speech_model=blab.text("speech_model", max_chars=256) or config.speech_model,
        suppresses_echo=_kept(blab.flag("echo_suppression"), config.suppresses_echo),
    )
    names = blab.sequence("events", max_items=32)
    if names is None:
        return config
    if any(name not in _EXTENSIONS for name in names):
        accepted = ", ".join(_EXTENSIONS)
        raise blab.fault(
            "invalid_value", f"'{blab.where('events')}' may name: {accepted}.", "events"
        )
    return replace(config, extensions=frozenset(map(Extension, names)))


def _merge_language(fields: Fields, config: SessionConfig) -> SessionConfig:
    """``auto``, or a tag's primary subtag in lower case: ``en`` of ``en-GB``."""
    tag = fields.text("language", max_chars=35)
    if not tag:
        return config
    if tag.lower() == AUTO:
        return replace(config, detects_language=True)
    if _LANGUAGE.fullmatch(tag) is None:
        raise fields.fault(
            "invalid_value",
            f"'{fields.where('language')}' must be 'auto' or a language code such as 'en' or 'pt'.",
            "language",
        )
    return replace(config, language=tag.split("-", 1)[0].lower(), detects_language=False)


def read_format(fields: Fields, name: str, present: AudioFormat) -> AudioFormat:
    """An audio format, in GA's shape or the beta's; ``present`` where it is absent."""
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


_COMMON = ("type", "create_response", "interrupt_response")
_SERVER = (*_COMMON, "idle_timeout_ms", "prefix_padding_ms", "silence_duration_ms", "threshold")
_SEMANTIC = (*_COMMON, "eagerness", "idle_timeout_ms")
_MODES = (TurnMode.SERVER_VAD.value, TurnMode.SEMANTIC_VAD.value)


def merge_turn_detection(fields: Fields, present: TurnDetection) -> TurnDetection:
    """``present`` with the changes of ``fields.turn_detection``; raises ClientFault."""
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
