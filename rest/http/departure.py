"""A client that leaves ends the work that was done for it alone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web

from .errors import Unavailable

T = TypeVar("T")

LOOK_SECONDS = 0.1
"""How often it is looked whether the client is still there."""


async def unless_gone(http: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns or raises. When the client's connection is gone before that, ``work``
    is cancelled, and Unavailable is raised, which nobody will read."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_SECONDS)
            if not task.done() and is_gone(http):
                raise Unavailable("The client left before the answer.", reason="client_gone")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def is_gone(http: web.Request) -> bool:
    """Whether the client's connection is gone."""
    return http.transport is None or http.transport.is_closing()
