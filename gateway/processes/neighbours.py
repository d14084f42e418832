"""Neighbours: requests that another gateway process of this machine has to answer.

What belongs to one process, such as a WHIP session, may be meant by a request on any connection.
Each process therefore answers such requests on a Unix socket of its own, too, and passes those that
it cannot answer (404) on to the others, one after the other. There are few processes, and such
requests are rare.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
from aiohttp import hdrs, web

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0
_ITS_OWN = frozenset(
    name.lower()
    for name in (
        hdrs.ACCEPT_ENCODING,
        hdrs.CONNECTION,
        hdrs.CONTENT_ENCODING,
        hdrs.CONTENT_LENGTH,
        hdrs.DATE,
        hdrs.HOST,
        hdrs.KEEP_ALIVE,
        hdrs.SERVER,
        hdrs.TRANSFER_ENCODING,
    )
)
"""Headers that belong to one connection."""


class Neighbours:
    """The other gateway processes, as one of them sees them."""

    def __init__(self, folder: Path, number: int) -> None:
        """``folder``: where the processes of this supervisor have their sockets; ``number``: of
        this process."""
        self._folder = folder
        self._own = folder / f"gateway-{number}.sock"
        self._app = web.Application()

    def serve(
        self, method: str, path: str, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> None:
        """Answer such requests of the others with ``handler``."""
        self._app.router.add_route(method, path, handler)

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """For ``cleanup_ctx``: take the others' requests while the application runs."""
        self._own.unlink(missing_ok=True)  # of a process that died
        runner = web.AppRunner(self._app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.UnixSite(runner, str(self._own)).start()
        yield
        await runner.cleanup()
        self._own.unlink(missing_ok=True)

    async def ask(self, request: web.Request, body: bytes) -> web.Response | None:
        """The answer of whoever can answer a request; None where nobody can."""
        for path in sorted(self._folder.glob("gateway-*.sock")):
            if path == self._own:
                continue
            try:
                answer = await _asked(path, request, body)
            except (aiohttp.ClientError, TimeoutError) as error:
                log.debug("%s gives no answer: %s", path.stem, error)
                continue
            if answer.status != 404:
                return answer
        return None


async def _asked(path: Path, request: web.Request, body: bytes) -> web.Response:
    limit = aiohttp.ClientTimeout(total=ASK_SECONDS)
    connector = aiohttp.UnixConnector(path=str(path))
    headers = {k: v for k, v in request.headers.items() if k.lower() not in _ITS_OWN}
    async with (
        aiohttp.ClientSession(connector=connector, timeout=limit) as session,
        session.request(
            request.method, f"http://{path.stem}{request.path_qs}", data=body, headers=headers
        ) as answer,
    ):
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in _ITS_OWN}
        return web.Response(status=answer.status, body=await answer.read(), headers=kept)
