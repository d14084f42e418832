"""The handlers of live calls: WebSocket, WebRTC's door, hang-up, and ephemeral keys.

Order of a call: key and agent (401, 403, 404), then a slot (503), and only then the upgrade or
the answer; nothing is spent on a caller who will be refused. A web page cannot read why an
upgrade was refused: where there is no slot for it (it sends Origin), it is upgraded, told by an
``error`` event, and closed with 1013.

Rules: a WebSocket call is carried by its request's task; a WebRTC call by a task of this object,
which ends them all in ``close``. A slot is given back when the call's task ends.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import hdrs, web

from rest.ephemeral import DEFAULT_SECONDS, MAX_SECONDS, MIN_SECONDS, EphemeralKeys, Grant
from rest.errors import ApiError, Forbidden, Unavailable, ValidationFailed
from sessions.admission import ServerFull, Ticket
from sessions.channel import Channel, ClientFault, Vocabulary
from sessions.core.config import SessionConfig
from sessions.core.notices import Fault
from sessions.host import CallRequest
from store.ids import new_id

from .admittance import Admittance, Admitted
from .channels.subprotocols import Offer
from .channels.webrtc.calls import ALLOWED_HEADERS
from .channels.websocket import WebSocketChannel, make_socket
from .channels.wire.fields import Fields
from .channels.wire.ids import EventIds
from .channels.wire.parse import read_message
from .channels.wire.render import fault_body
from .channels.wire.session_object import merge_session, render_session
from .channels.wire.vocabulary import RealtimeVocabulary
from .http_errors import as_api_error, json_response
from .metrics import Metrics
from .middleware import is_upgrade

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024
BODY_SECONDS = 10.0
_GOODBYE_SECONDS = 5.0


class Call(Protocol):
    """What is needed of a running call."""

    def hang_up(self, reason: str) -> None: ...


class Host(Protocol):
    """What is needed of sessions.host.SessionHost."""

    def admit(self) -> Ticket: ...

    def find(self, call_id: str) -> Call | None: ...

    async def run(self, request: CallRequest, channel: Channel, vocabulary: Vocabulary) -> str: ...


class Elsewhere(Protocol):
    """What is needed of gateway.sidebands.Sidebands."""

    async def join(self, request: web.Request) -> web.StreamResponse: ...

    async def hang_up(self, workspace_id: str, call_id: str) -> bool: ...


class RealtimeCalls:
    """Answers /v1/realtime and what belongs to it."""

    def __init__(
        self,
        admittance: Admittance,
        ephemeral: EphemeralKeys,
        host: Host,
        metrics: Metrics,
        elsewhere: Elsewhere,
        *,
        waiting_for: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``elsewhere``: joins and ends calls of any node; ``waiting_for``: why no call can be
        answered yet, None when one can."""
        self._admittance = admittance
        self._ephemeral = ephemeral
        self._host = host
        self._metrics = metrics
        self._elsewhere = elsewhere
        self._waiting_for = waiting_for
        self._workspaces: dict[str, str] = {}
        """call id -> workspace id, of the calls here."""
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get("/v1/realtime", self.websocket),
            web.post("/v1/realtime/client_secrets", self.client_secrets),
            web.options("/v1/realtime/client_secrets", self.preflight),
            web.post("/v1/realtime/calls/{call_id}/{verb:accept|reject|refer}", self.sip_only),
        ]

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/realtime: one call over one WebSocket."""
        if not is_upgrade(request):
            raise UpgradeRequired(
                "This address speaks WebSocket: connect with ws:// or wss://.",
                openai_code="upgrade_required",
            )
        if "call_id" in request.query:
            return await self._elsewhere.join(request)
        admitted = await self._admittance.caller(request)
        try:
            ticket = self.slot()
        except (ServerFull, Unavailable) as refusal:
            if hdrs.ORIGIN not in request.headers:
                raise
            return await _turn_away(request, admitted.offer, refusal)
        with ticket:
            ws = make_socket(admitted.offer.chosen)
            await ws.prepare(request)
            event_ids, call_id = EventIds(), new_id("call")
            beta = admitted.offer.beta
            channel = WebSocketChannel(
                ws, request.transport, event_ids, binary=admitted.offer.binary, beta=beta
            )
            async with channel:
                vocabulary = RealtimeVocabulary(
                    call_id, event_ids=event_ids, rate_limits=channel.rate_limits, beta=beta
                )
                await self.carry(call_id, admitted, channel, vocabulary)
        return ws

    async def start_call(
        self, request: web.Request, channel: Channel, session: dict[str, Any] | None
    ) -> str:
        """WebRTC: let the caller in and start the call on its channel; returns the call's id."""
        admitted = await self._admittance.caller(request, session)
        ticket = self.slot()
        call_id = new_id("call")
        vocabulary = RealtimeVocabulary(call_id, playout_events=True)
        task = asyncio.create_task(
            self._run_in_slot(ticket, call_id, admitted, channel, vocabulary), name=call_id
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return call_id

    async def hang_up(self, request: web.Request, call_id: str) -> bool:
        """End a call of the caller's workspace, on whatever node; False where there is none of
        that id."""
        principal = await self._admittance.principal(request)
        call = self._host.find(call_id)
        if call is None:
            return await self._elsewhere.hang_up(principal.workspace_id, call_id)
        if self._workspaces.get(call_id) != principal.workspace_id:
            return False
        call.hang_up("client_hangup")
        return True

    async def carries(self, request: web.Request, call_id: str) -> bool:
        """Whether a call of the caller's workspace is on this node."""
        principal = await self._admittance.principal(request)
        return self._workspaces.get(call_id) == principal.workspace_id

    async def sip_only(self, request: web.Request) -> web.Response:
        """POST /v1/realtime/calls/{id}/accept, reject, refer: there are no SIP calls here."""
        await self._admittance.principal(request)
        verb = request.match_info["verb"]
        raise ValidationFailed(
            f"Only calls that came over SIP can be answered by '{verb}', and none do here. To end "
            "a call, POST to its 'hangup'.",
            openai_code="sip_only",
        )

    async def client_secrets(self, request: web.Request) -> web.Response:
        """POST /v1/realtime/client_secrets → ``{value, expires_at, session}``.

        Our extension: ``agent_id`` in the body binds the key to an agent."""
        principal = await self._admittance.principal(request)
        if principal.kind != "api_key":
            raise Forbidden(
                "An ephemeral key cannot mint others: use an API key.",
                openai_code="insufficient_permissions",
            )
        body = Fields(await _read_json(request), "", None)
        body.only(("expires_after", "session", "agent_id"))
        seconds = _lifetime(body)
        agent_id = body.text("agent_id", max_chars=64) or None
        _, config = await self._admittance.configuration(principal.workspace_id, agent_id)
        session: dict[str, Any] | None = None
        if (wanted := body.child("session")) is not None:
            config = merge_session(wanted, config)
            session = body.raw("session")
        key = await self._ephemeral.mint(Grant(principal.workspace_id, agent_id, session), seconds)
        told = _told_session(config, key.expires_at)
        return json_response({"value": key.value, "expires_at": key.expires_at, "session": told})

    async def preflight(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Tell a browser what it may send from another origin."""
        headers = {
            "Access-Control-Allow-Methods": "POST, OPTIONS",
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)

    async def close(self) -> None:
        """End the WebRTC calls that are left."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE_SECONDS)

    def slot(self) -> Ticket:
        """Room for one call; raises ServerFull or Unavailable."""
        if (waiting := self._waiting_for()) is not None:
            self._metrics.call_refused("warming_up")
            raise Unavailable(waiting, openai_code="warming_up", retry_after=2)
        try:
            return self._host.admit()
        except ServerFull:
            self._metrics.call_refused("full")
            raise

    async def carry(
        self, call_id: str, admitted: Admitted, channel: Channel, vocabulary: Vocabulary
    ) -> None:
        """Run an admitted call, in its slot, to its end."""
        workspace_id = admitted.principal.workspace_id
        self._workspaces[call_id] = workspace_id
        log.info("call %s begins over %s", call_id, channel.name)
        request = CallRequest(call_id, workspace_id, admitted.agent_id, admitted.config)
        try:
            reason = await self._host.run(request, channel, vocabulary)
        finally:
            del self._workspaces[call_id]
        log.info("call %s ended: %s", call_id, reason)

    # ------------------------------------------------------------------ within

    async def _run_in_slot(
        self,
        ticket: Ticket,
        call_id: str,
        admitted: Admitted,
        channel: Channel,
        vocabulary: Vocabulary,
    ) -> None:
        with ticket:
            await self.carry(call_id, admitted, channel, vocabulary)


async def _turn_away(
    request: web.Request, offer: Offer, refusal: ServerFull | Unavailable
) -> web.StreamResponse:
    """Tell a web page over its WebSocket why it has no call."""
    error, event_ids = as_api_error(refusal), EventIds()
    ws = make_socket(offer.chosen)
    await ws.prepare(request)
    async with WebSocketChannel(ws, request.transport, event_ids) as channel:
        fault = Fault(error.openai_code, error.message, server=True)
        channel.send({"event_id": event_ids.next(), **fault_body(fault)})
        await channel.close(error.openai_code, error.message)
    return ws


def _lifetime(body: Fields) -> int:
    expires = body.child("expires_after")
    if expires is None:
        return DEFAULT_SECONDS
    expires.only(("anchor", "seconds"))
    expires.choice("anchor", ("created_at",))
    return expires.integer("seconds", MIN_SECONDS, MAX_SECONDS) or DEFAULT_SECONDS


def _told_session(config: SessionConfig, expires_at: int) -> dict[str, Any]:
    return render_session(config, new_id("sess")) | {"expires_at": expires_at}


async def _read_json(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > MAX_BODY_BYTES:
                    raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, len(data))
    except TimeoutError as error:
        raise Unavailable(
            f"The body did not arrive within {BODY_SECONDS:g} s.", openai_code="timeout"
        ) from error
    try:
        return read_message(bytes(data) or b"{}")
    except ClientFault as fault:
        raise ValidationFailed(
            "The body must be a JSON object in valid UTF-8, without unpaired surrogates.",
            openai_code="invalid_json",
        ) from fault


class UpgradeRequired(ApiError):
    """An address that speaks WebSocket was asked by plain HTTP."""

    status = 426
    code = "VALIDATION_ERROR"
