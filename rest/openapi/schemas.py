"""Schemas of the served document: msgspec's JSON Schema (2020-12) as OpenAPI 3.0.3 knows it.

3.0.3 because the contract is: there null is ``nullable``, not a type. Structs become components
under the contract's names. Docstrings become descriptions, with fields named as JSON names them.
There is an example for each request body, and for the things that people make; a test decodes them.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

Schema = dict[str, Any]

PREFIX = "#/components/schemas/"
REQUIRED = "x-required"
"""Marks a field that must be sent, though its struct can do without it (to refuse it itself)."""
_NAMES = {
    "SummaryView": "UsageSummary",
    "BucketView": "UsageBucket",
    "BreakdownView": "UsageBreakdown",
    "EventView": "UsageEvent",
}
"""Components that the contract names otherwise than by leaving ``View`` off."""
_ABOUT_THE_CONTRACT = re.compile(r"^The contract's [^.]*\.\s*")
_CODE = re.compile(r"``([^`]+)``")
_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
_NO_TYPES = ("title", "contentEncoding", "propertyNames", "$schema")
"""Keywords that 3.0.3 does not have, or that say nothing."""


def schemas_of(types: Iterable[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """A schema for each of ``types``, and the components that they refer to, by name."""
    schemas, components = msgspec.json.schema_components(types, ref_template=PREFIX + "{name}")
    return (
        [_converted(schema) for schema in schemas],
        {_named(name): _component(schema) for name, schema in components.items()},
    )


def fields_of(struct: type[msgspec.Struct]) -> list[tuple[str, Schema, bool]]:
    """Name, schema and whether it is required of each field of a struct of plain values; a field
    that may be left out is not nullable for that."""
    _, components = msgspec.json.schema_components([struct], ref_template=PREFIX + "{name}")
    whole = components[struct.__name__]
    fields = []
    for name, given in whole["properties"].items():
        schema = _converted(given)
        schema.pop("nullable", None)
        if schema.get("default", ...) is None:
            del schema["default"]
        fields.append((name, schema, name in whole["required"]))
    return fields


STORABLE = "^[^\\u0000]*$"
"""Any text without NUL, which no body and no query may hold."""


def bounded(schema: Any, components: dict[str, Schema], seen: set[str] | None = None) -> None:
    """Say of every text in a request's schema what is true of all: no NUL. In place."""
    seen = set() if seen is None else seen
    if isinstance(schema, list):
        for one in schema:
            bounded(one, components, seen)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "string" and not {"enum", "pattern", "format"} & set(schema):
        schema["pattern"] = STORABLE
    name = schema.get("$ref", "").removeprefix(PREFIX)
    if name and name not in seen:
        seen.add(name)
        bounded(components[name], components, seen)
    for member in ("items", "additionalProperties", "allOf", "anyOf", "oneOf"):
        bounded(schema.get(member), components, seen)
    for one in schema.get("properties", {}).values():
        bounded(one, components, seen)


def discriminated(job: Schema, kinds: dict[str, str], outputs: Iterable[str]) -> None:
    """Say that ``job`` is one of ``kinds`` (component by value of ``type``), and its output one of
    ``outputs``. In place."""
    job["discriminator"] = {
        "propertyName": "type",
        "mapping": {value: PREFIX + name for value, name in kinds.items()},
    }
    output = job["properties"]["output"]
    output["oneOf"] = [{"$ref": PREFIX + name} for name in outputs]


def _named(name: str) -> str:
    return _NAMES.get(name, name.removesuffix("View"))


def _component(schema: Schema) -> Schema:
    made = _converted(schema)
    names = made.get("properties", {})
    about = _ABOUT_THE_CONTRACT.sub("", made.pop("description", ""))
    about = _CODE.sub(lambda found: f"`{_as_json_names(found[1], names)}`", about)
    about = "\n\n".join(" ".join(part.split()) for part in about.split("\n\n"))
    return {"description": about, **made} if about else made


def _as_json_names(name: str, names: Iterable[str]) -> str:
    first, *others = name.split("_")
    camel = first + "".join(map(str.capitalize, others))
    return camel if camel in names else name


def _converted(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_converted(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for name, value in schema.items():
        if name in ("properties", "default", "enum"):
            continue
        if name == "examples":
            made["example"] = value[0]
            continue
        if name == "$ref":
            made["$ref"] = PREFIX + _named(value.removeprefix(PREFIX))
        elif name == "const":
            schema = {**schema, "enum": [value]}
        elif name in ("exclusiveMinimum", "exclusiveMaximum"):
            made |= {name: True, name[9:].lower(): value}
        elif name not in _NO_TYPES:
            made[name] = _converted(value)
    if "properties" in schema:
        made["properties"] = {key: _converted(one) for key, one in schema["properties"].items()}
        more = [key for key, one in made["properties"].items() if one.pop(REQUIRED, False)]
        made["required"] = [*made.get("required", ()), *more]
        if not made.get("required"):
            made.pop("required", None)
    if "enum" in schema:
        made = {"type": _JSON_TYPES[type(schema["enum"][0])], "enum": schema["enum"], **made}
    if "anyOf" in made:
        made = _nullable(made)
    if "default" in schema:
        made = _beside(made, "default", schema["default"])
    return made


def _nullable(schema: Schema) -> Schema:
    """``anyOf`` without the type null."""
    others = [one for one in schema["anyOf"] if one != {"type": "null"}]
    if len(others) == len(schema["anyOf"]):
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    whole = others[0] if len(others) == 1 else {"anyOf": others}
    return {**_beside(whole, "nullable", True), **rest}


def _beside(schema: Schema, name: str, value: Any) -> Schema:
    """Nothing may stand beside a reference: it is wrapped."""
    return {"allOf": [schema], name: value} if "$ref" in schema else {**schema, name: value}


# ---------------------------------------------------------------------- examples


_TIME = "2026-11-01T09:30:00.000Z"
_JOB = "job_01kag3v5x8q2m7n4r6t9w1y3z5"
_URL = "https://voice.example.com/api/files/wsp_1/"

REQUEST_EXAMPLES: dict[str, Any] = {
    "POST /api/auth/register": {
        "email": "ada@example.com",
        "password": "a long password",
        "name": "Ada",
    },
    "POST /api/auth/login": {"email": "ada@example.com", "password": "a long password"},
    "POST /session": {"email": "ada@example.com", "password": "a long password"},
    "PATCH /session": {"workspaceId": "ws_01jd3v8q2m4n6p8r0s2t4v6w8x"},
    "POST /session/account": {
        "email": "ada@example.com",
        "password": "a long password",
        "name": "Ada",
    },
    "POST /api/tts": {
        "model": "blab-stable",
        "input": "Your table is booked for eight.",
        "response_format": "mp3",
        "delivery": "natural",
    },
    "POST /api/tts/stream": {
        "model": "blab-stable",
        "input": "Play me as I come.",
        "response_format": "wav",
    },
    "POST /api/voices/clone": {
        "name": "Reader",
        "sampleStorageKey": "wsp_1/upload/sample.wav",
        "language": "en",
        "consent": True,
    },
    "POST /api/batch": {
        "model": "blab-stable",
        "language": "en",
        "items": [{"input": "One."}, {"input": "Two.", "voice": "default"}],
        "partial": True,
    },
    "POST /api/dubbing": {
        "sourceStorageKey": "wsp_1/upload/talk.mp4",
        "sourceLanguage": "en",
        "targetLanguage": "es",
        "voice": "default",
        "format": "mp3",
    },
    "POST /api/projects": {"name": "Autumn", "description": "All that is spoken in autumn."},
    "PATCH /api/projects/{id}": {"name": "Winter"},
    "POST /api/webhooks": {
        "url": "https://example.com/hook",
        "events": ["tts.completed", "job.failed"],
    },
    "PATCH /api/webhooks/{id}": {
        "url": "https://example.com/hook",
        "events": ["*"],
        "enabled": False,
    },
    "POST /api/api-keys": {"name": "reader", "scopes": ["jobs:read", "tts:read"]},
    "POST /api/agents": {
        "name": "Concierge",
        "systemPrompt": "You answer the telephone of a small hotel.",
        "voice": "default",
        "language": "en",
    },
    "PATCH /api/agents/{id}": {"name": "Porter", "note": "A better name"},
    "POST /api/agents/{id}/tools/try": {"name": "order_status", "arguments": {"order": "1042"}},
    "POST /api/agents/{id}/tools/list": {"server": "stock"},
    "POST /api/agents/{id}/embeds": {
        "name": "Shop",
        "origins": ["https://shop.example", "https://*.shop.example"],
        "minutesPerDay": 60,
        "texts": {"title": "Ask us", "consent": "Your call is processed on our own server."},
    },
    "PATCH /api/embeds/{id}": {"enabled": False},
    "POST /api/embeds/{id}/client_secrets": {"consent": True, "language": "de"},
    "POST /api/erasures": {"caller": "+49 30 901820"},
    "PUT /api/workspace/retention": {"callsDays": 30, "recordingsDays": 7},
    "POST /api/sessions/{id}/commands": {
        "type": "say",
        "text": "A colleague joins us in a minute.",
    },
    "POST /api/simulations": {
        "agentId": "agt_01kb2x3ypz8s4n7d5qv1t6wcme",
        "agentVersion": 3,
        "source": (
            '[[scenario]]\nname = "asks for the hours"\n[[scenario.line]]\n'
            'say = "When do you open?"\nexpect.reply_contains = "nine"\n'
        ),
        "repeat": 2,
    },
    "POST /api/simulations/check": {
        "scenarios": {
            "scenario": [{"name": "asks for the hours", "line": [{"audio": "hours.wav"}]}]
        },
        "recordings": {"hours.wav": "ws_01kb2x/line/obj_01kb2x"},
    },
}
"""Bodies by method and path."""

_TTS_OUTPUT = {
    "script": "Your table is booked for eight.",
    "characters": 31,
    "audioKey": f"wsp_1/{_JOB}/take.mp3",
    "audioUrl": f"{_URL}{_JOB}/take.mp3?expires=1793525400&signature=0",
    "durationMs": 2140,
    "format": "mp3",
    "sampleRate": 24000,
    "model": "blab-stable",
    "voice": "default",
    "language": "en",
    "delivery": "verbatim",
    "polished": False,
}
_COMPLETED = {
    "id": _JOB,
    "type": "tts",
    "status": "completed",
    "progress": 100,
    "output": _TTS_OUTPUT,
    "error": None,
    "createdAt": _TIME,
    "warnings": [],
    "startedAt": _TIME,
    "finishedAt": _TIME,
}

COMPONENT_EXAMPLES: dict[str, Any] = {
    "JobRef": {"jobId": _JOB, "status": "queued"},
    "Job": _COMPLETED,
    "TtsJob": _COMPLETED,
    "BatchRef": {
        "jobId": _JOB,
        "status": "queued",
        "accepted": 1,
        "refused": [
            {"index": 1, "errors": [{"path": "items[1].input", "message": "input is required"}]}
        ],
    },
    "ApiWarning": {
        "code": "unknown_field",
        "message": "stability is not a field of this request and was ignored.",
        "path": "stability",
    },
    "Voice": {
        "id": "voi_01kag3v5x8q2m7n4r6t9w1y3z5",
        "name": "Reader",
        "providerVoiceId": "voi_01kag3v5x8q2m7n4r6t9w1y3z5",
        "sourceType": "cloned",
        "previewUrl": f"{_URL}{_JOB}/preview.mp3?expires=1793525400&signature=0",
        "language": "en",
        "model": "blab-stable",
        "similarity": 0.69,
        "createdAt": _TIME,
    },
    "UsageSummary": {"tokens": 5230, "audioSeconds": 412, "cost": 0.37, "count": 41},
    "ApiKeyCreated": {
        "id": "key_01kag3v5x8q2m7n4r6t9w1y3z5",
        "key": "blab_sk_…",
        "prefix": "blab_sk_4f2a",
    },
}
"""What is answered, by component."""

ERROR_EXAMPLE: dict[str, Any] = {
    "ok": False,
    "error": {
        "code": "VALIDATION_ERROR",
        "message": "response_format: 'ogg' is not accepted: send one of mp3, wav, opus, aac, flac.",
        "details": {"path": "response_format"},
    },
    "meta": {"requestId": "req_c50f3b6ebc19758b97e534f2"},
}
