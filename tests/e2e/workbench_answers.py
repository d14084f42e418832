"""What a synthetic server answers to the workbench: many things, long names, right-to-left text,
failures. ``answering`` puts it in the place of a page's REST platform."""

import json
from typing import Any

from playwright.async_api import Page, Route

LANGUAGES = ("ar", "de", "en", "es", "fr", "it", "pt")
LONG = "An unusually long name for a voice, as somebody will choose one some day"
ARABIC = "صباح الخير! تم حجز طاولتكم لشخصين الساعة الثامنة."
CREATED = "2026-11-26T09:30:00Z"

MODELS = [
    {
        "id": model,
        "available": True,
        "languages": {language: {"quality": "good"} for language in LANGUAGES},
        "formats": formats,
        "streaming": streams,
        "voices": 9,
        "clonedVoices": streams,
        "emotion": not streams,
    }
    for model, formats, streams in (
        ("blab-stable", ["mp3", "wav", "opus", "aac", "flac"], True),
        ("blab-expressive", ["mp3", "wav"], False),
    )
]
CAPABILITIES: dict[str, Any] = {
    "tts": {
        "available": True,
        "models": MODELS,
        "formats": MODELS[0]["formats"],
        "speed": {"minimum": 0.25, "maximum": 4},
        "delivery": ["verbatim", "natural", "expressive"],
        "polish": True,
        "maxCharacters": 5000,
    },
    "stt": {
        "available": True,
        "reason": None,
        "models": ["whisper-base", "another"],
        "languages": list(LANGUAGES),
    },
    "voiceCloning": {
        "available": True,
        "reason": None,
        "method": "style_match",
        "languages": ["de", "en", "pt"],
    },
    "limits": {"maxUploadBytes": 2_000_000_000},
}
VOICES = [
    {
        "id": f"voi_{number}",
        "name": name,
        "language": "en",
        "model": "blab-stable",
        "similarity": 0.71,
        "createdAt": CREATED,
        "previewUrl": "/files/preview.mp3",
    }
    for number, name in enumerate(("Ada", LONG, "قارئ"))
]
CATALOGUE = [
    {
        "id": f"{language}-{number}",
        "name": f"Voice {number}",
        "language": language,
        "engine": "kokoro",
        "gender": "female",
        "quality": quality,
        "models": ["blab-stable"],
    }
    for language in LANGUAGES
    for number, quality in enumerate(("good", "weak", "robotic"))
]


def _job(number: int, type: str, **members: Any) -> dict[str, Any]:
    return {
        "id": f"job_{number}",
        "type": type,
        "status": "completed",
        "progress": 100,
        "output": None,
        "error": None,
        "warnings": [],
        "createdAt": CREATED,
        **members,
    }


def _take(number: int, script: str, voice: str) -> dict[str, Any]:
    output = {
        "script": script,
        "voice": voice,
        "language": "ar" if script == ARABIC else "en",
        "durationMs": 3450,
        "format": "mp3",
        "delivery": "natural",
        "polished": True,
        "audioUrl": "/files/take.mp3",
    }
    return _job(number, "tts", output=output)


FAILURE = {"code": "PROVIDER_ERROR", "message": "The engine made no sound for this text."}
TAKES = [
    _take(1, "Your table is booked for eight. " * 12, "voi_1"),
    _take(2, ARABIC, "ar-0"),
    _job(3, "tts", status="failed", error=FAILURE),
    _take(4, "Nospacesatall" * 20, "default"),
]
SEGMENTS = [
    {
        "start": 0.2,
        "end": 2.4,
        "text": "Good morning, it's me.",
        "words": [
            {"word": word, "start": 0.2 + place / 2, "end": 0.6 + place / 2, "confidence": sure}
            for place, (word, sure) in enumerate(
                (("Good", 0.9), ("morning,", 0.95), ("it's", 0.4), ("me.", 0.9))
            )
        ],
    },
    {"start": 3.0, "end": 6.0, "text": ARABIC, "words": []},
    {"start": 6.0, "end": 9.0, "text": "Nospacesatall" * 20, "words": []},
]


def transcript(**members: Any) -> dict[str, Any]:
    """A completed transcription, some of whose words have times."""
    output = {
        "text": " ".join(str(one["text"]) for one in SEGMENTS),
        "language": "en",
        "durationMs": 9000,
        "model": "whisper-base",
        "fileName": f"{LONG}.wav",
        "segmentCount": 3,
        "wordCount": 4,
        "segments": SEGMENTS,
        **members,
    }
    return _job(11, "stt", output=output)


TRANSCRIPTS = [transcript(), _job(12, "stt", status="failed", error=FAILURE)]


async def answering(page: Page, *, empty: bool = False) -> None:
    """Answer the page's requests; ``empty``: there is nothing yet."""

    async def answer(route: Route) -> None:
        path = route.request.url.split("/api/", 1)[1]
        data: Any = {}
        if path.startswith("capabilities"):
            data = CAPABILITIES
        elif path.startswith("voices/catalog"):
            data = {"model": None, "voices": CATALOGUE}
        elif path.startswith("stt/"):
            data = transcript()
        elif path.startswith("voices"):
            data = [] if empty else VOICES
        elif path.startswith("jobs"):
            data = [] if empty else TAKES if "type=tts" in path else TRANSCRIPTS
        body = {"ok": True, "data": data, "meta": {"requestId": "req", "hasMore": not empty}}
        if path.startswith("voices?"):
            body["meta"] = {"requestId": "req", "hasMore": False}
        await route.fulfill(body=json.dumps(body), content_type="application/json")

    await page.route("**/api/**", answer)
