"""Client events: accepted ones become the right core event, all others a named ClientFault."""

import base64
import math
from dataclasses import replace
from typing import Any, get_args

import pytest
from openai.types.realtime import RealtimeClientEvent

from gateway.calls.sidebands import HANG_UP
from gateway.channels.wire.checks import SessionChecks
from gateway.channels.wire.client_events import (
    CallHangUp,
    ClientEvent,
    InputAppend,
    Ping,
    parse_event,
)
from gateway.channels.wire.session_object import render_session
from media.formats import AudioFormat, Encoding
from sessions.channel import ClientFault, Parsed, Partly, SpokenItem
from sessions.client_messages import PING
from sessions.core.config import (
    Eagerness,
    Extension,
    SessionConfig,
    SessionKind,
    TurnMode,
    TurnTakingSettings,
)
from sessions.core.events import (
    AddItem,
    ClearInput,
    ClearOutput,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    Event,
    KeyPressed,
    RequestCancel,
    RequestReply,
    RetrieveItem,
    TruncateItem,
)

CONFIG = SessionConfig()


def configured(session: dict[str, Any], config: SessionConfig = CONFIG) -> SessionConfig:
    event = parse_event({"type": "session.update", "session": session}, config)
    assert isinstance(event, ConfigureSession)
    return event.config


def outcome_of(message: Any) -> Parsed | ClientFault:
    try:
        return parse_event(message, CONFIG)
    except ClientFault as fault:
        return fault


def fault_of(message: Any) -> ClientFault:
    with pytest.raises(ClientFault) as caught:
        parse_event(message, CONFIG)
    return caught.value


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"type": "input_audio_buffer.commit", "event_id": "e1"}, CommitInput("e1")),
        ({"type": "input_audio_buffer.clear"}, ClearInput()),
        ({"type": "output_audio_buffer.clear"}, ClearOutput()),
        ({"type": "conversation.item.delete", "item_id": "i"}, DeleteItem("i")),
        ({"type": "conversation.item.retrieve", "item_id": "i"}, RetrieveItem("i")),
        ({"type": "response.create"}, RequestReply()),
        ({"type": "response.cancel"}, RequestCancel()),
        (
            {"type": "response.cancel", "response_id": "r", "event_id": "e"},
            RequestCancel("r", "e"),
        ),
        (
            {
                "type": "response.create",
                "response": {
                    "instructions": "Be brief.",
                    "output_modalities": ["text"],
                    "max_output_tokens": "inf",
                    "metadata": {"a": "b"},
                    "tool_choice": "none",
                },
            },
            RequestReply("Be brief.", False, 4096, metadata=(("a", "b"),), tool_choice="none"),
        ),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "i",
                "content_index": 0,
                "audio_end_ms": 1500,
            },
            TruncateItem("i", 1500),
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "audio_end_ms": -3.7},
            TruncateItem("i", 0),
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "audio_end_ms": 1e12},
            TruncateItem("i", 86_400_000),
        ),
        (
            {
                "type": "conversation.item.create",
                "previous_item_id": "root",
                "item": {
                    "id": "mine",
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "One"},
                        {"type": "input_audio", "transcript": "two"},
                    ],
                },
            },
            AddItem("user", "One\ntwo", "mine", "root"),
        ),
        ({"type": "blab.dtmf", "digit": "#"}, KeyPressed("#", 0)),
    ],
)
def test_client_events(message: dict[str, Any], event: Event) -> None:
    assert parse_event(message, CONFIG) == event


def test_session_update_in_ga_shape() -> None:
    config = configured(
        {
            "type": "realtime",
            "model": "blab-stable",
            "instructions": "Speak slowly.",
            "output_modalities": ["audio"],
            "max_output_tokens": 100,
            "tools": [],
            "tracing": "auto",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "noise_reduction": {"type": "near_field"},
                    "transcription": {"model": "whisper-1", "language": "en-GB"},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.7,
                        "silence_duration_ms": 300.0,
                        "idle_timeout_ms": 6000,
                        "create_response": False,
                    },
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": 48000},
                    "voice": {"id": "cedar"},
                    "speed": 1.5,
                },
            },
        }
    )
    assert config.model == "blab-stable"
    assert config.instructions == "Speak slowly."
    assert config.max_output_tokens == 100
    assert config.input_format == AudioFormat(Encoding.PCMU, 8000)
    assert config.output_format == AudioFormat(Encoding.PCM, 48000)
    assert (config.voice, config.speed) == ("cedar", 1.5)
    assert (config.transcription_model, config.language) == ("whisper-1", "en")
    assert config.turn_detection.mode is TurnMode.SERVER_VAD
    assert config.turn_detection.threshold == 0.7
    assert config.turn_detection.silence_duration_ms == 300
    assert config.turn_detection.idle_timeout_ms == 6000
    assert config.turn_detection.create_response is False
    assert config.turn_detection.interrupt_response is True


def test_session_update_in_beta_shape() -> None:
    config = configured(
        {
            "modalities": ["text", "audio"],
            "voice": "alloy",
            "input_audio_format": "g711_alaw",
            "output_audio_format": "pcm16",
            "input_audio_transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
            "max_response_output_tokens": "inf",
            "temperature": 0.8,
        }
    )
    assert config.output_audio
    assert config.voice == "alloy"
    assert config.input_format == AudioFormat(Encoding.PCMA, 8000)
    assert config.output_format == AudioFormat()
    assert config.turn_detection.eagerness is Eagerness.HIGH
    assert config.max_output_tokens == 4096
    assert config.temperature == 0.8


def test_absent_fields_keep_their_value() -> None:
    present = configured({"voice": "alloy", "instructions": "Hm.", "blab": {"events": ["latency"]}})
    assert configured({}, present) == present
    pushed = configured({"audio": {"input": {"turn_detection": None}}}, present)
    assert pushed == replace(
        present, turn_detection=replace(present.turn_detection, mode=TurnMode.NONE)
    )


def test_extensions_are_requested_by_name() -> None:
    config = configured({"blab": {"events": ["latency", "playout", "transcript.partial"]}})
    assert config.extensions == {
        Extension.LATENCY,
        Extension.PLAYOUT,
        Extension.TRANSCRIPT_PARTIAL,
    }
    assert configured({"blab": {"events": []}}, config).extensions == frozenset()


def test_the_language_is_the_callers_until_one_is_set() -> None:
    shows = {"blab": {"events": ["language"]}}
    config = configured(shows)
    assert config.detects_language
    session = render_session(config, "sess_1")
    assert session["audio"]["input"]["transcription"]["language"] is None
    assert session["blab"]["language"] == "auto"
    assert session["blab"]["language_in_use"] == "en"
    config = configured({"blab": {"language": "de-AT"}}, config)
    assert (config.language, config.detects_language) == ("de", False)
    session = render_session(config, "sess_1")
    assert session["audio"]["input"]["transcription"]["language"] == "de"
    assert session["blab"]["language"] == session["blab"]["language_in_use"] == "de"
    config = configured({"audio": {"input": {"transcription": {"language": "auto"}}}}, config)
    assert (config.language, config.detects_language) == ("de", True)
    fault = fault_of({"type": "session.update", "session": {"blab": {"language": "automatic"}}})
    assert (fault.code, fault.param) == ("invalid_value", "session.blab.language")


def test_echo_suppression_is_on_until_it_is_switched_off() -> None:
    assert configured({}).suppresses_echo
    config = configured({"blab": {"echo_suppression": False}})
    assert not config.suppresses_echo
    assert render_session(config, "sess_1")["blab"]["echo_suppression"] is False
    assert not configured({"voice": "alloy"}, config).suppresses_echo
    session = {"blab": {"echo_suppression": "off"}}
    fault = fault_of({"type": "session.update", "session": session})
    assert (fault.code, fault.param) == ("invalid_type", "session.blab.echo_suppression")


def test_parts_of_turn_taking_are_switched_one_by_one() -> None:
    config = configured({"blab": {"turn_taking": {"adaptive_pause": False}}})
    assert config.turn_taking == TurnTakingSettings(adaptive_pause=False)
    config = configured({"blab": {"turn_taking": {"level_gate": False}}}, config)
    assert config.turn_taking == TurnTakingSettings(adaptive_pause=False, level_gate=False)
    shown = render_session(config, "sess_1")["blab"]["turn_taking"]
    assert (shown["adaptive_pause"], shown["early_hint"]) == (False, True)
    session = {"blab": {"turn_taking": {"patience": True}}}
    fault = fault_of({"type": "session.update", "session": session})
    assert fault.param == "session.blab.turn_taking.patience"


def test_every_extension_can_be_asked_for_and_a_misspelt_one_is_refused_with_their_names() -> None:
    assert configured({"blab": {"events": [*Extension]}}).extensions == set(Extension)
    session = {"blab": {"events": ["latency", "blab.playout"]}}
    fault = fault_of({"type": "session.update", "session": session})
    assert (fault.code, fault.param) == ("invalid_value", "session.blab.events")
    assert fault.message == (
        "'session.blab.events' may name: latency, transcript.partial, playout, call, language, "
        "hearing, resumption."
    )


@pytest.mark.parametrize(
    ("session", "param", "code"),
    [
        ({"speling": 1}, "session.speling", "unknown_parameter"),
        ({"type": "translation"}, "session.type", "invalid_value"),
        (
            {"type": "transcription", "instructions": "x"},
            "session.instructions",
            "unknown_parameter",
        ),
        (
            {"type": "transcription", "audio": {"output": {}}},
            "session.audio.output",
            "unknown_parameter",
        ),
        ({"truncation": "never"}, "session.truncation", "invalid_value"),
        (
            {"truncation": {"type": "retention_ratio"}},
            "session.truncation.retention_ratio",
            "missing_required_parameter",
        ),
        (
            {"audio": {"input": {"noise_reduction": {"type": "both"}}}},
            "session.audio.input.noise_reduction.type",
            "invalid_value",
        ),
        ({"instructions": 5}, "session.instructions", "invalid_type"),
        ({"instructions": "\ud800"}, "session.instructions", "invalid_value"),
        ({"instructions": "a\0b"}, "session.instructions", "invalid_value"),
        ({"instructions": "x" * 70_000}, "session.instructions", "invalid_value"),
        ({"output_modalities": ["video"]}, "session.output_modalities", "invalid_value"),
        ({"output_modalities": []}, "session.output_modalities", "invalid_value"),
        ({"max_output_tokens": 0}, "session.max_output_tokens", "invalid_value"),
        ({"max_output_tokens": True}, "session.max_output_tokens", "invalid_type"),
        ({"max_output_tokens": 1.5}, "session.max_output_tokens", "invalid_type"),
        ({"temperature": math.nan}, "session.temperature", "invalid_value"),
        ({"audio": {"output": {"speed": 9}}}, "session.audio.output.speed", "invalid_value"),
        ({"audio": {"output": {"speed": math.inf}}}, "session.audio.output.speed", "invalid_value"),
        ({"audio": []}, "session.audio", "invalid_type"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 44100}}}},
            "session.audio.input.format.rate",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"format": {"type": "audio/mp3"}}}},
            "session.audio.input.format.type",
            "invalid_value",
        ),
        ({"input_audio_format": "mp3"}, "session.input_audio_format", "invalid_value"),
        ({"turn_detection": {"type": "magic"}}, "session.turn_detection.type", "invalid_value"),
        (
            {"turn_detection": {"type": "semantic_vad", "threshold": 0.5}},
            "session.turn_detection.threshold",
            "unknown_parameter",
        ),
        ({"blab": {"events": ["secrets"]}}, "session.blab.events", "invalid_value"),
        ({"blab": {"language": "1!"}}, "session.blab.language", "invalid_value"),
    ],
)
def test_session_update_refuses_by_field_path(
    session: dict[str, Any], param: str, code: str
) -> None:
    fault = fault_of({"type": "session.update", "event_id": "mine", "session": session})
    assert (fault.param, fault.code, fault.event_id) == (param, code, "mine")
    assert param in fault.message or "type" in param


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        (None, "invalid_event", None),
        ([], "invalid_event", None),
        ({}, "missing_required_parameter", "type"),
        ({"type": 3}, "invalid_type", "type"),
        ({"type": "input_audio_buffer.dance"}, "unknown_event", "type"),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "input_audio_buffer.commit", "event_id": 7}, "invalid_type", "event_id"),
        ({"type": "input_audio_buffer.commit", "more": 7}, "unknown_parameter", "more"),
        ({"type": "conversation.item.delete"}, "missing_required_parameter", "item_id"),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "audio_end_ms": math.nan},
            "invalid_value",
            "audio_end_ms",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "audio_end_ms": 10**400},
            "invalid_value",
            "audio_end_ms",
        ),
        (
            {"type": "conversation.item.create", "item": {"type": "mcp_list_tools"}},
            "unsupported_item",
            "item.type",
        ),
        (
            {"type": "conversation.item.create", "item": {"type": "message", "role": "user"}},
            "missing_required_parameter",
            "item.content",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": ["text"]},
            },
            "invalid_type",
            "item.content[0]",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": [{"type": "input_image"}]},
            },
            "unsupported_content",
            "item.content[0].type",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_audio", "audio": "%%%%"}],
                },
            },
            "invalid_base64",
            "item.content[0].audio",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_audio", "audio": "AAAA"}],
                },
            },
            "unsupported_content",
            "item.content[0].transcript",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_audio", "audio": "AAAA"},
                        {"type": "input_text", "text": "and this"},
                    ],
                },
            },
            "unsupported_content",
            "item.content",
        ),
        ({"type": "blab.dtmf"}, "missing_required_parameter", "digit"),
        ({"type": "blab.dtmf", "digit": "12"}, "invalid_value", "digit"),
        ({"type": "blab.dtmf", "digit": "a"}, "invalid_value", "digit"),
        ({"type": "blab.dtmf", "digit": 5}, "invalid_type", "digit"),
        ({"type": "blab.dtmf", "digit": "5", "at": 1}, "unknown_parameter", "at"),
    ],
)
def test_refusals(message: Any, code: str, param: str | None) -> None:
    fault = fault_of(message)
    assert (fault.code, fault.param) == (code, param)


def test_speech_in_an_item_comes_with_its_samples() -> None:
    content = [{"type": "input_audio", "audio": base64.b64encode(bytes(48_000)).decode()}]
    item = {"id": "mine", "type": "message", "role": "user", "content": content}
    spoken = parse_event({"type": "conversation.item.create", "item": item}, CONFIG)
    assert spoken == SpokenItem(AddItem("user", "", "mine", seconds=1.0), bytes(48_000), 24_000)


def test_a_transcription_session() -> None:
    session = {
        "type": "transcription",
        "include": [],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": {"type": "far_field", "strength": 0.5},
                "transcription": {"model": "gpt-4o-transcribe", "delay": "low", "keywords": ["a"]},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
            }
        },
    }
    config = configured(session)
    assert config.kind is SessionKind.TRANSCRIPTION
    assert not config.answers
    assert config.noise_reduction == "far_field"
    assert configured({"type": "realtime"}, config).answers
    beta = parse_event({"type": "transcription_session.update", "session": {}}, CONFIG)
    assert beta == ConfigureSession(replace(CONFIG, kind=SessionKind.TRANSCRIPTION))


@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_log_probabilities_are_refused(kind: str) -> None:
    session = {"type": kind, "include": ["item.input_audio_transcription.logprobs"]}
    fault = fault_of({"type": "session.update", "session": session})
    assert (fault.code, fault.param) == ("unsupported_value", "session.include")


@pytest.mark.parametrize(
    ("kind", "member"), [("session.update", "session"), ("response.create", "response")]
)
def test_a_stored_prompt_is_refused(kind: str, member: str) -> None:
    fault = fault_of({"type": kind, member: {"prompt": {"id": "pmpt_1"}}})
    assert (fault.code, fault.param) == ("unsupported_value", f"{member}.prompt")


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
TEXT = {"type": "input_text", "text": "What is this?"}


def test_an_image_is_left_out_and_reported_and_the_text_is_kept() -> None:
    item = {"type": "message", "role": "user", "content": [TEXT, IMAGE, TEXT]}
    parsed = parse_event({"type": "conversation.item.create", "item": item}, CONFIG)
    assert isinstance(parsed, Partly)
    assert parsed.event == AddItem("user", "What is this?\nWhat is this?")
    assert (parsed.fault.code, parsed.fault.param) == (
        "unsupported_content",
        "item.content[1].type",
    )
    asked = parse_event({"type": "response.create", "response": {"input": [item]}}, CONFIG)
    assert isinstance(asked, Partly)
    assert asked.fault.param == "response.input[0].content[1].type"
    lonely = {"type": "message", "role": "user", "content": [IMAGE]}
    fault = fault_of({"type": "conversation.item.create", "item": lonely})
    assert fault.code == "unsupported_content"


def test_null_has_its_own_meaning() -> None:
    config = configured({"input_audio_noise_reduction": {"type": "near_field"}})
    assert configured({"audio": {"input": {"noise_reduction": None}}}, config) == CONFIG
    quiet = configured({"audio": {"input": {"transcription": None}}})
    assert not quiet.publishes_transcripts
    assert configured({"audio": {"input": {"transcription": {}}}}, quiet) == CONFIG


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("disabled", "disabled"),
        (
            {"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {}},
            0.8,
        ),
    ],
)
def test_truncation_is_kept(truncation: Any, kept: Any) -> None:
    assert configured({"truncation": truncation}).truncation == kept


def test_no_type_is_needed_in_an_update_of_turn_detection_unless_it_was_off() -> None:
    config = configured({"turn_detection": {"eagerness": "low"}})
    assert config.turn_detection.eagerness is Eagerness.LOW
    off = configured({"turn_detection": None})
    with pytest.raises(ClientFault, match=r"turn_detection\.type"):
        configured({"turn_detection": {"eagerness": "low"}}, off)


# ---------------------------------------------------------------------------- the declarations


def test_every_event_of_openais_package_is_declared() -> None:
    tags = [str(event.__struct_config__.tag) for event in (*get_args(ClientEvent), InputAppend)]
    beta = {"transcription_session.update"}
    models = get_args(get_args(RealtimeClientEvent)[0])
    assert {tag for tag in tags if not tag.startswith("blab.")} - beta == {
        get_args(m.model_fields["type"].annotation)[0] for m in models
    }


def test_the_session_and_the_sideband_know_their_events_by_the_declared_names() -> None:
    assert (Ping.__struct_config__.tag, CallHangUp.__struct_config__.tag) == (PING, HANG_UP)


def hinted(*languages: Any) -> dict[str, Any]:
    return {"audio": {"input": {"transcription": {"languages": list(languages)}}}}


def test_hints_of_languages_narrow_what_is_detected() -> None:
    config = configured(hinted("es-MX", "EN", "es"))
    assert config.language_hints == ("en", "es")
    assert config.detects_language
    assert configured({"voice": "alloy"}, config).language_hints == ("en", "es")
    assert configured(hinted(), config).language_hints == ()
    fault = fault_of({"type": "session.update", "session": hinted("en", "Klingon!")})
    assert fault.param == "session.audio.input.transcription.languages"


def test_a_hint_of_a_language_that_is_not_served_is_refused_with_those_that_are() -> None:
    checks = SessionChecks(languages_for=lambda _: ("en", "de", "es"))
    message = {"type": "session.update", "session": hinted("en", "ja")}
    with pytest.raises(ClientFault) as refused:
        parse_event(message, CONFIG, checks)
    assert refused.value.param == "session.audio.input.transcription.languages"
    assert refused.value.message == (
        "The language 'ja' is not heard and spoken in calls here, with this voice. "
        "Accepted: 'en', 'de', 'es'."
    )
    assert parse_event({"type": "session.update", "session": hinted("es")}, CONFIG, checks)
