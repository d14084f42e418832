"""The handlers of live calls: WebSocket, what WebRTC needs of a call, hang-up.

Order of a call: key and agent (401, 403, 404), then a slot (503), and only then the upgrade or
the answer; nothing is spent on a caller who will be refused. A web page (it sends Origin) cannot
read why an upgrade was refused: it is upgraded, sent an ``error`` event, and closed with 1008 or,
if it may try again, 1013.

Rules
- A WebSocket call runs in its request's task; a WebRTC call in a task of this object, which ends
  them all in ``close``. The slot is released when the call's task ends.
- An ephemeral key owns the calls that it began; it cannot see others of its workspace. A key for a
  visitor of an embed's page begins one.
- A call that is resumed (``?resume=``, or the subprotocol) keeps its id, configuration and lock;
  see ``takeovers``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import hdrs, web

from gateway import logs
from gateway.calls.authorization import Offer, UnknownSubprotocol, read_offer
from gateway.channels.message_socket import Limits, make_websocket
from gateway.channels.webrtc.calls import BETA_CALLS
from gateway.channels.websocket import LIMITS, WebSocketChannel
from gateway.channels.wire.render import fault_body
from gateway.channels.wire.wire_format import EventIds, RealtimeWireFormat
from gateway.http.requests import is_upgrade
from gateway.http.responses import as_api_error
from gateway.telemetry.metrics import Metrics
from rest.accounts.auth import Principal
from rest.accounts.keys import EphemeralKeys
from rest.http.errors import ApiError, Unauthenticated, Unavailable, ValidationFailed
from sessions.admission import ServerFull, Ticket
from sessions.channel import Channel, ClientFault, WireFormat
from sessions.core.notices import Fault
from sessions.host import CallRequest, SessionHost
from sessions.resumption.keeping import SUSPENDED
from sessions.resumption.stored_calls import LoadedCall
from store.errors import StoreUnavailable
from store.ids import new_id
from store.tenants.embeds import Visits

from .authorization import Authorization, AuthorizedCall
from .client_credentials import RealtimeKeys
from .sidebands import Sidebands
from .takeovers import Takeovers

log = logging.getLogger(__name__)

_GOODBYE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _AdmittedCall:
    """A call that has a slot. ``resumed``: it goes on from there."""

    call_id: str
    authorized: AuthorizedCall
    ticket: Ticket
    resumed: LoadedCall | None = None


class RealtimeCalls:
    """Answers /v1/realtime and the paths below it."""

    def __init__(
        self,
        authorization: Authorization,
        ephemeral: EphemeralKeys,
        host: SessionHost,
        metrics: Metrics,
        sidebands: Sidebands,
        takeovers: Takeovers,
        visits: Visits,
        waiting_for: Callable[[], str | None] = lambda: None,
        *,
        limits: Limits = LIMITS,
    ) -> None:
        """``sidebands``: joins and ends calls of any node; ``takeovers``: resumes them;
        ``visits``: the calls of embeds; ``waiting_for``: why no call can be
        answered yet, None when one can; ``limits``: of a call's WebSocket."""
        self._limits = limits
        self._authorization = authorization
        self._keys = RealtimeKeys(authorization, ephemeral)
        self._host = host
        self._metrics = metrics
        self._sidebands = sidebands
        self._takeovers = takeovers
        self._visits = visits
        self._waiting_for = waiting_for
        self._callers: dict[str, Principal] = {}
        """By call id: who began each call on this node."""
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get("/v1/realtime", self.websocket),
            *self._keys.routes(),
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
            return await self._sidebands.join(request)
        try:
            admitted = await self._admit(request)
        except (ApiError, ClientFault, ServerFull, StoreUnavailable) as refusal:
            if hdrs.ORIGIN not in request.headers:
                raise
            return await _refuse(request, refusal)
        with admitted.ticket:
            authorized, event_ids = admitted.authorized, EventIds()
            ws = make_websocket(self._limits, authorized.offer.chosen)
            try:
                await ws.prepare(request)
            except BaseException:
                if (taken := admitted.resumed) is not None:
                    await self._takeovers.give_back(admitted.call_id, taken.known.epoch)
                elif authorized.principal.embed is not None:
                    workspace_id = authorized.principal.workspace_id
                    await self._visits.end(workspace_id, admitted.call_id)
                raise
            channel = WebSocketChannel(
                ws,
                request.transport,
                event_ids,
                binary=authorized.offer.binary,
                beta=authorized.offer.beta,
                limits=self._limits,
            )
            async with channel:
                wire_format = RealtimeWireFormat(
                    admitted.call_id,
                    event_ids=event_ids,
                    rate_limits=channel.rate_limits,
                    beta=authorized.offer.beta,
                    checks=self._authorization.checks(authorized.principal),
                )
                await self.carry(
                    admitted.call_id, authorized, channel, wire_format, admitted.resumed
                )
        return ws

    async def start_call(
        self, request: web.Request, channel: Channel, session: dict[str, Any] | None
    ) -> str:
        """WebRTC: authorize the caller and start the call on its channel; returns the call's id."""
        admitted = await self._admit(request, session)
        authorized = admitted.authorized
        wire_format = RealtimeWireFormat(
            admitted.call_id,
            playout_events=True,
            beta=authorized.offer.beta or request.path == BETA_CALLS,
            checks=self._authorization.checks(authorized.principal),
        )
        task = asyncio.create_task(
            self._run_in_slot(admitted, channel, wire_format), name=admitted.call_id
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return admitted.call_id

    async def hang_up(self, request: web.Request, call_id: str) -> bool:
        """End a call of the caller's workspace, on any node; False if there is none."""
        principal = await self._authorization.principal(request)
        call = self._host.find(call_id)
        if call is None:
            return await self._sidebands.hang_up(principal, call_id)
        if not self._owns(principal, call_id):
            return False
        call.hang_up("client_hangup")
        return True

    async def carries(self, request: web.Request, call_id: str) -> bool:
        """Whether the caller's workspace has that call on this node."""
        principal = await self._authorization.principal(request)
        return self._owns(principal, call_id)

    async def sip_only(self, request: web.Request) -> web.Response:
        """POST /v1/realtime/calls/{id}/accept, reject, refer: there are no SIP calls here."""
        await self._authorization.principal(request)
        verb = request.match_info["verb"]
        raise ValidationFailed(
            f"Only calls that came over SIP can be answered by '{verb}', and none do here. To end "
            "a call, POST to its 'hangup'.",
            openai_code="sip_only",
        )

    async def close(self) -> None:
        """End the remaining WebRTC calls."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE_SECONDS)

    def slot(self, authorized: AuthorizedCall, *, goes_on: bool = False) -> Ticket:
        """The slot of one call, which may go on from before; raises ServerFull or Unavailable."""
        if (waiting := self._waiting_for()) is not None:
            self._metrics.call_refused("warming_up")
            raise Unavailable(waiting, openai_code="warming_up", retry_after=2)
        caller = authorized.principal
        return self._host.admit(caller.workspace_id, goes_on=goes_on, yields=caller.yields)

    async def carry(
        self,
        call_id: str,
        authorized: AuthorizedCall,
        channel: Channel,
        wire_format: WireFormat,
        resumed: LoadedCall | None = None,
        carrier_handle: str | None = None,
    ) -> None:
        """Run an authorized call, in its slot, to its end or its suspension. ``resumed``: it goes
        on from there; ``carrier_handle``: see ``SessionHost.run``."""
        principal = authorized.principal
        self._callers[call_id] = principal
        logs.call_id.set(call_id)
        goes = "begins" if resumed is None else "goes on"
        log.info("call %s %s over %s", call_id, goes, channel.name)
        request = CallRequest(
            call_id,
            principal.workspace_id,
            authorized.agent_id,
            authorized.config,
            principal.ephemeral_id if resumed is None else resumed.call.owner,
            authorized.caller,
            principal.locked,
        )
        try:
            reason = await self._host.run(
                request, channel, wire_format, resumed=resumed, carrier_handle=carrier_handle
            )
        finally:
            if self._callers.get(call_id) is principal:
                del self._callers[call_id]
        log.info("call %s %s: %s", call_id, "waits" if reason in SUSPENDED else "ended", reason)

    # ------------------------------------------------------------------ within

    def _owns(self, principal: Principal, call_id: str) -> bool:
        """Whether a call is on this node, and the caller may see and end it."""
        begun_by = self._callers.get(call_id)
        if begun_by is None or begun_by.workspace_id != principal.workspace_id:
            return False
        return principal.ephemeral_id in (None, begun_by.ephemeral_id)

    async def _admit(
        self, request: web.Request, session: dict[str, Any] | None = None
    ) -> _AdmittedCall:
        """Authorize a call and take its slot, and the call itself if it is resumed."""
        principal, offer = await self._authorization.websocket_principal(request)
        handle = request.query.get("resume", offer.resume)
        if handle is None:
            authorized = await self._authorization.authorize(request, session)
            return await self._begin(authorized, self.slot(authorized))
        found = await self._takeovers.find(handle, principal)
        call = found.call
        principal = replace(principal, locked=principal.locked or call.locked)
        authorized = AuthorizedCall(principal, call.agent_id, call.checkpoint.config, offer)
        ticket = self.slot(authorized, goes_on=True)
        try:
            taken = await self._takeovers.take(found, handle)
        except BaseException:
            ticket.release()
            raise
        authorized = replace(authorized, config=taken.call.checkpoint.config)
        return _AdmittedCall(call.call_id, authorized, ticket, taken)

    async def _begin(self, authorized: AuthorizedCall, ticket: Ticket) -> _AdmittedCall:
        """A new call in its slot; raises Unauthenticated for the second one of an embed's key."""
        call_id, principal = new_id("call"), authorized.principal
        if (embed := principal.embed) is not None:
            try:
                begun = await self._visits.begin(
                    principal.workspace_id, embed.embed_id, embed.visit_id, call_id
                )
            except BaseException:
                ticket.release()
                raise
            if not begun:
                ticket.release()
                raise Unauthenticated(
                    "The ephemeral key has begun its call, or came too late: get another one.",
                    openai_code="invalid_api_key",
                )
        return _AdmittedCall(call_id, authorized, ticket)

    async def _run_in_slot(
        self, admitted: _AdmittedCall, channel: Channel, wire_format: WireFormat
    ) -> None:
        with admitted.ticket:
            await self.carry(
                admitted.call_id, admitted.authorized, channel, wire_format, admitted.resumed
            )


async def _refuse(
    request: web.Request, refusal: ServerFull | ApiError | ClientFault | StoreUnavailable
) -> web.StreamResponse:
    """Send a web page the reason over a WebSocket, and close it."""
    error, event_ids, offer = as_api_error(refusal), EventIds(), Offer()
    with contextlib.suppress(UnknownSubprotocol):
        offer = read_offer(request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL))
    ws = make_websocket(LIMITS, offer.chosen)
    await ws.prepare(request)
    async with WebSocketChannel(ws, request.transport, event_ids) as channel:
        fault = Fault(error.openai_code, error.message, error.param, server=error.status >= 500)
        channel.send({"event_id": event_ids.next(), **fault_body(fault)})
        await channel.close(error.openai_code, error.message)
    return ws


class UpgradeRequired(ApiError):
    """A WebSocket address was requested by plain HTTP."""

    status = 426
    code = "VALIDATION_ERROR"
