"""The door of sidebands: ``/v1/realtime?call_id=…``, and the hang-up of a call on another node.

Rules: an API key or a signed-in user, never an ephemeral key (it was made for a browser, which has
its own call); a key whose scope is ``agents:read`` observes only; a call of another workspace is as
absent as one that never was. At most ``MOST`` at once on a node, ``MOST_OF_ONE`` of them of one
workspace.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator

from aiohttp import web

from gateway.channels.message_socket import make_websocket
from gateway.channels.sideband import LIMITS, JoinedCall, Sideband, Timing
from rest.accounts.auth import Principal
from rest.http.errors import Forbidden, NotFound, Unavailable, ValidationFailed
from sessions.fanout import Fanout
from sessions.registry import CallRegistry
from sessions.remote_requests import RemoteRequest, RemoteRequests

from .authorization import CALL_SCOPES, OBSERVER_SCOPES, Authorization

log = logging.getLogger(__name__)

MOST = 96
"""Each holds a connection to Redis."""
MOST_OF_ONE = 32
_MAX_ID_CHARS = 64
_GOODBYE_SECONDS = 5.0


class Sidebands:
    """The sidebands that came to this node, wherever their calls are."""

    def __init__(
        self,
        authorization: Authorization,
        registry: CallRegistry,
        fanout: Fanout,
        requests: RemoteRequests,
        timing: Timing = Timing(),  # noqa: B008 - frozen
    ) -> None:
        self._timing = timing
        self._authorization = authorization
        self._registry = registry
        self._fanout = fanout
        self._requests = requests
        self._present: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[str]] = set()

    async def join(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/realtime?call_id=…[&after=…], a WebSocket request."""
        principal, offer = await self._authorization.websocket_principal(request, OBSERVER_SCOPES)
        if principal.kind == "ephemeral":
            raise Forbidden(
                "An ephemeral key cannot join a running call: use an API key.",
                openai_code="insufficient_permissions",
            )
        call_id, after = request.query["call_id"], _after(request)
        workspace_id = principal.workspace_id

        async def look() -> str | None:
            return await self._registry.find(workspace_id, call_id)

        node_id = await look() if len(call_id) <= _MAX_ID_CHARS else None
        if node_id is None:
            raise NotFound("There is no such call.", openai_code="call_not_found", param="call_id")
        with self._place(workspace_id):
            ws = make_websocket(LIMITS, offer.chosen)
            await ws.prepare(request)
            call = JoinedCall(call_id, node_id, look)
            controls = principal.kind != "api_key" or CALL_SCOPES.intersection(principal.scopes)
            sideband = Sideband(
                ws,
                request.transport,
                call,
                self._fanout,
                self._requests,
                controls=bool(controls),
                timing=self._timing,
            )
            log.info("a sideband joins call %s", call_id)
            task = asyncio.create_task(sideband.attend(after), name=f"sideband {call_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            try:
                reason = await task
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if (here := asyncio.current_task()) is not None and here.cancelling():
                    raise
                reason = "server_shutdown"
            log.info("a sideband left call %s: %s", call_id, reason)
        return ws

    async def hang_up(self, principal: Principal, call_id: str) -> bool:
        """End a call of another node; False where the caller has none of that id."""
        node_id = await self._registry.find(principal.workspace_id, call_id, principal.ephemeral_id)
        if node_id is None:
            return False
        if not await self._requests.send(node_id, call_id, RemoteRequest("")):
            raise Unavailable(
                "The call has too many commands waiting.", openai_code="busy", retry_after=1
            )
        return True

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE_SECONDS)

    @contextlib.contextmanager
    def _place(self, workspace_id: str) -> Iterator[None]:
        if self._present.total() >= MOST or self._present[workspace_id] >= MOST_OF_ONE:
            raise Unavailable(
                "Too many sidebands are open: close one that is not needed.",
                openai_code="too_many_sidebands",
                retry_after=5,
            )
        self._present[workspace_id] += 1
        try:
            yield
        finally:
            self._present[workspace_id] -= 1
            if not self._present[workspace_id]:
                del self._present[workspace_id]


SIDEBANDS: web.AppKey[Sidebands] = web.AppKey("sidebands", Sidebands)


def _after(request: web.Request) -> int | None:
    raw = request.query.get("after")
    if raw is None:
        return None
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 12):
        raise ValidationFailed(
            "'after' must be the sequence_number of an event: a whole number.",
            openai_code="invalid_value",
            param="after",
        )
    return int(raw)
