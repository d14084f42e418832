"""Every resource of the platform without a backend: only its declarations can be used."""

import importlib
import inspect
import json
import pkgutil
import re
from typing import Any
from unittest.mock import MagicMock

import rest
from rest.http.operation import AnyOperation, Resource
from rest.openapi.document import document
from tests.support.paths import CONTRACT

Schema = dict[str, Any]

ADDITIONS = (
    "/api/agents/{id}/embeds",
    "/api/agents/{id}/tools/list",
    "/api/agents/{id}/tools/try",
    "/api/agents/{id}/versions",
    "/api/agents/{id}/versions/{number}",
    "/api/agents/{id}/versions/{number}/restore",
    "/api/calls",
    "/api/calls/{id}",
    "/api/calls/{id}/events",
    "/api/calls/{id}/export",
    "/api/calls/{id}/timeline",
    "/api/embeds/{id}",
    "/api/embeds/{id}/client_secrets",
    "/api/embeds/{id}/widget",
    "/api/erasures",
    "/api/erasures/{id}",
    "/api/sessions",
    "/api/sessions/{id}",
    "/api/sessions/{id}/commands",
    "/api/sessions/{id}/events",
    "/api/simulations",
    "/api/simulations/check",
    "/api/simulations/recordings",
    "/api/simulations/{id}",
    "/api/simulations/{id}/cancel",
    "/api/simulations/{id}/events",
    "/api/webhooks/{id}/deliveries/{deliveryId}",
    "/api/webhooks/{id}/deliveries/{deliveryId}/redeliver",
    "/api/webhooks/{id}/test",
    "/api/workspace/retention",
    "/session",
    "/session/account",
)
"""Paths that Blab serves beside the contract's."""


def all_resources(name_pattern: str = r"\w+Resource") -> list[Resource]:
    """One of each class that declares operations and has such a name, by its name."""
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(rest.__path__, "rest."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            declares = inspect.isclass(kind) and hasattr(kind, "operations")
            if declares and re.fullmatch(name_pattern, name) and kind is not Resource:
                found[name] = kind
    return [_hollow(found[name]) for name in sorted(found)]


def all_operations(name_pattern: str = r"\w+Resource") -> list[AnyOperation]:
    """What those classes declare; OpenAI's operations are declared by ``Compat…``."""
    resources = all_resources(name_pattern)
    return [operation for resource in resources for operation in resource.operations()]


def contract_with_additions() -> Schema:
    """The contract, and the served document's part about ``ADDITIONS``."""
    whole: Schema = json.loads(CONTRACT.read_text())
    served: Schema = json.loads(json.dumps(document(all_operations())))
    whole["paths"] |= {path: served["paths"][path] for path in ADDITIONS}
    for kind, known in served["components"].items():
        whole["components"][kind] = known | whole["components"].get(kind, {})
    return whole


def _hollow(kind: Any) -> Resource:
    needed = [
        parameter
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is parameter.empty
    ]
    positional = [p for p in needed if p.kind is not p.KEYWORD_ONLY]
    named = {p.name: MagicMock() for p in needed if p.kind is p.KEYWORD_ONLY}
    made: Resource = kind(*(MagicMock() for _ in positional), **named)
    return made
