"""Examples in the served document: a request of each operation that reads a body, and what is
answered of the things that people make. A test decodes every one of them."""

from typing import Any

_TIME = "2026-11-01T09:30:00.000Z"
_JOB = "job_01kag3v5x8q2m7n4r6t9w1y3z5"
_URL = "https://voice.example.com/api/files/wsp_1/"

REQUESTS: dict[str, Any] = {
    "POST /api/auth/register": {
        "email": "ada@example.com",
        "password": "a long password",
        "name": "Ada",
    },
    "POST /api/auth/login": {"email": "ada@example.com", "password": "a long password"},
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
    "PATCH /api/agents/{id}": {"name": "Porter"},
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

COMPONENTS: dict[str, Any] = {
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

ERROR: dict[str, Any] = {
    "ok": False,
    "error": {
        "code": "VALIDATION_ERROR",
        "message": "response_format: 'ogg' is not accepted: send one of mp3, wav, opus, aac, flac.",
        "details": {"path": "response_format"},
    },
    "meta": {"requestId": "req_c50f3b6ebc19758b97e534f2"},
}
