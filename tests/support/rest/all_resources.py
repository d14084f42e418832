"""Every resource of the platform, with nothing behind it: only its declarations can be used."""

import importlib
import inspect
import pkgutil
from typing import Any
from unittest.mock import MagicMock

import rest
from rest.http.operation import Operation, Resource


def all_resources() -> list[Resource]:
    """One of each class that ends in ``Resource`` and declares operations, by its name."""
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(rest.__path__, "rest."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            declares = inspect.isclass(kind) and hasattr(kind, "operations")
            if declares and name.endswith("Resource") and kind is not Resource:
                found[name] = kind
    return [_hollow(found[name]) for name in sorted(found)]


def all_operations() -> list[Operation]:
    return [operation for resource in all_resources() for operation in resource.operations()]


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
