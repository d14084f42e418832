"""What an upstream's refusal means, in words that are safe to show to a user."""

import re

import msgspec

from pipelines.engines.base import EngineBusy, EngineError, EngineFailed, ModelUnavailable

MESSAGE_LIMIT = 300
SECRETS = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|ek|pk|key|token)[-_][\w*.\-]{4,})")
"""Anything that looks like a key, whosesoever it is."""

MODEL_CODES = ("model_not_found", "model_not_available", "invalid_model")


def safe(text: str, key: str) -> str:
    """``text`` in one line of at most MESSAGE_LIMIT characters, without ``key`` or its like."""
    if key:
        text = text.replace(key, "[key]")
    text = SECRETS.sub("[key]", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MESSAGE_LIMIT]


def refusal(status: int, body: bytes, *, model: str, key: str) -> EngineError:
    """The error for a response whose status is not 200."""
    message, code = _described(body)
    text = safe(message, key)
    if status in (401, 403):
        return EngineFailed("the upstream refused the key: check BLAB_UPSTREAM_KEY")
    if model and (code in MODEL_CODES or (status == 404 and "model" in message.lower())):
        return ModelUnavailable(f"the upstream does not serve {model!r}: {text or 'not found'}")
    if status == 404:
        return EngineFailed("the upstream has no such route: check BLAB_UPSTREAM_URL")
    if status == 429 and code != "insufficient_quota":
        return EngineBusy(f"the upstream is busy: {text or 'too many requests'}")
    return EngineFailed(f"the upstream answered {status}: {text or 'no reason given'}")


def _described(body: bytes) -> tuple[str, str]:
    """Message and code of an error body, in OpenAI's shape or one of its common variants."""
    try:
        parsed = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "", ""  # a proxy's HTML page says nothing to a user
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or ""
        return str(message), str(error.get("code") or "")
    return str(error), ""
