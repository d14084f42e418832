"""What an API key may be allowed, as the REST contract names it."""

from typing import Literal, get_args

Scope = Literal[
    "tts:write",
    "tts:read",
    "stt:write",
    "stt:read",
    "voices:read",
    "voices:write",
    "batch:read",
    "batch:write",
    "dubbing:read",
    "dubbing:write",
    "webhooks:read",
    "webhooks:write",
    "projects:write",
    "projects:read",
    "jobs:read",
    "usage:read",
    "api-keys:read",
    "api-keys:write",
    "agents:read",
    "agents:write",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
