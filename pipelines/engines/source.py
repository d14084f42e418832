"""EngineSource: where a catalogue has its embedded engines from.

They are loaded in this process (``startup.Startup``), or they are proxies of those in the machine's
engine process (``remote.engines.RemoteEngines``).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from .base import HearingLoad
from .chat.choice import ChatChoice
from .engine import Engine, EngineStatus, Key, Role
from .openai_compatible import UpstreamModels

Wait = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Nothing to wait for."""


class LoadedEngines(Protocol):
    """The engines that can be had, in order of preference within a role."""

    @property
    def engines(self) -> Mapping[Key, Engine]:
        """The declarations of all engines."""
        ...

    @property
    def loaded(self) -> Mapping[Key, Any]:
        """The engines that are loaded."""
        ...

    def of(self, role: Role) -> list[Engine]:
        """The declarations of a role, best first."""
        ...

    def status(self, key: Key) -> EngineStatus | None:
        """Where an engine stands; None for one that is not declared."""
        ...

    async def fetch(self, key: Key) -> Any:
        """The engine, loaded first if need be. Raises ModelUnavailable with the reason."""
        ...


class EngineSource(Protocol):
    """The embedded engines of a server, from its start to its end."""

    @property
    def loader(self) -> LoadedEngines:
        """The engines themselves."""
        ...

    @property
    def waiting(self) -> str | None:
        """Why calls must wait for the start (a sentence); None when it is over."""
        ...

    @property
    def choice(self) -> ChatChoice | None:
        """The embedded chat model that answers, as far as that was decided."""
        ...

    @property
    def calls_elsewhere(self) -> int:
        """Calls in progress in other processes that use the same engines."""
        ...

    def report_calls(self, active: int) -> None:
        """So many calls are in progress in this process."""
        ...

    def hearing_loads(self) -> dict[str, HearingLoad]:
        """How many utterances every loaded transcriber of calls has now."""
        ...

    async def run(
        self, upstream: UpstreamModels, ready: Callable[[], bool], quiet: Wait, warm_up: Wait
    ) -> None:
        """Have the engines of calls loaded and warm; returns when all is done or has failed.
        ``ready``: whether calls would be answered; ``quiet`` waits until nobody calls."""
        ...

    async def complete(self) -> None:
        """Wait until every engine that is loaded in the background was tried once."""
        ...

    async def close(self) -> None:
        """End what is under way, and close the engines."""
        ...
