"""Plan: an engine that can be loaded: what it is, what it takes, and how."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .status import Role


@dataclass(frozen=True, slots=True)
class Plan:
    """``load`` is given the engines of ``needs``, which are loaded before, and leaves the engine
    warm; it raises EngineError and never blocks the loop."""

    model_id: str
    role: Role
    load: Callable[..., Awaitable[Any]]
    models: tuple[str, ...] = ()
    """The weights it reads, by their names in the manifest; none where they lie in a package."""
    languages: tuple[str, ...] = ("en",)
    lazy: bool = False
    """Whether it is loaded when first asked for, not at start: no call waits for it."""
    needs: tuple[tuple[Role, str], ...] = ()
    """Engines that it is made of."""
