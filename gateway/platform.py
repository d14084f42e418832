"""The REST platform of one server: its resources, wired to stores and engines.

Each resource is built here and nowhere else. What needs to be started and stopped is an entry of
``contexts``, in the order in which the application starts it.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import web

from rest.endpoint import Authenticate, routes
from rest.operation import Resource
from store.bus import Bus
from store.database import Database

from .settings import Settings

Context = Callable[[web.Application], AsyncIterator[None]]


@dataclass(frozen=True, slots=True)
class PlatformParts:
    """What the platform is built of."""

    settings: Settings
    database: Database
    bus: Bus
    authenticate: Authenticate


class Platform:
    """Every REST resource of this server."""

    def __init__(self, parts: PlatformParts) -> None:
        self._parts = parts
        self.contexts: list[Context] = []
        self.resources: list[Resource] = []

    def routes(self) -> list[web.RouteDef]:
        """The routes of the contract's operations and of what belongs to them."""
        return routes(self.resources, self._parts.authenticate)
