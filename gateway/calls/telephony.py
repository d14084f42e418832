"""The door of telephone calls: ``/api/agents/{id}/twilio`` and its like for the other carriers.

Who may call is proven by one of
- Twilio's signature of the opening request, where the operator's auth token is set; the agent
  then decides the workspace. One that does not match proves nothing (it may be another
  account's), and is named as the reason where no key follows;
- a key in ``Authorization``, as the path's last segment, or as ``?key=`` (401, 403, 404 before
  the upgrade);
- a key in the parameters of ``start``; until then the stream has no slot, ``MOST_UNPROVEN`` may
  stand like that, and one that proves nothing is closed with 1008 and the reason.

Rules: an agent of another workspace is as absent as one that never was. A carrier's formats hold,
whatever a session says.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Protocol

from aiohttp import hdrs, web

from gateway.channels.telephony.channel import NeverStarted, TelephonyChannel, make_stream_socket
from gateway.channels.telephony.dialect import Dialect
from gateway.channels.telephony.events import Started
from gateway.channels.telephony.exotel import EXOTEL
from gateway.channels.telephony.parameters import facts_of, instructions_with, key_of
from gateway.channels.telephony.signature import HEADER, TwilioSignature
from gateway.channels.telephony.telnyx import TELNYX
from gateway.channels.telephony.twilio import SIGNALWIRE, TWILIO
from gateway.channels.telephony.vocabulary import TelephonyVocabulary
from gateway.http.errors import as_api_error
from gateway.http.middleware import is_upgrade
from rest.accounts.auth import Principal, bearer_token
from rest.http.errors import ApiError, Forbidden, Unavailable
from sessions.admission import ServerFull, Ticket
from sessions.channel import Channel, ClientFault, Vocabulary
from store.errors import StoreError
from store.ids import is_id, new_id
from store.tenants.agents import Agent

from .authorization import Admittance, Admitted, no_such_agent
from .realtime import UpgradeRequired

log = logging.getLogger(__name__)

DIALECTS = (TWILIO, TELNYX, EXOTEL, SIGNALWIRE)
MOST_UNPROVEN = 64

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AllAgents(Protocol):
    """What is needed of store.tenants.agents."""

    async def of_any_workspace(self, agent_id: str) -> Agent | None: ...


class Calls(Protocol):
    """What is needed of gateway.calls.realtime.RealtimeCalls."""

    def slot(self) -> Ticket: ...

    async def carry(
        self, call_id: str, admitted: Admitted, channel: Channel, vocabulary: Vocabulary
    ) -> None: ...


class TelephonyCalls:
    """Answers carriers' streams. ``signature`` None: no carrier is known by its signature."""

    def __init__(
        self,
        admittance: Admittance,
        agents: AllAgents,
        calls: Calls,
        signature: TwilioSignature | None = None,
    ) -> None:
        self._admittance = admittance
        self._agents = agents
        self._calls = calls
        self._signature = signature
        self._unproven = 0

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get(f"/api/agents/{{id}}/{dialect.name}{key}", self._handler(dialect))
            for dialect in DIALECTS
            for key in ("", "/{key}")
        ]

    def _handler(self, dialect: Dialect) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, dialect)

        return answer

    async def _answer(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        """One call over one stream."""
        if not is_upgrade(request):
            raise UpgradeRequired(
                f"This address is for a media stream of {dialect.name}: connect with wss://.",
                openai_code="upgrade_required",
            )
        admitted = await self._by_request(request, dialect)
        with ExitStack() as held:
            held.enter_context(self._unproven_place() if admitted is None else self._calls.slot())
            ws = make_stream_socket()
            await ws.prepare(request)
            async with TelephonyChannel(ws, request.transport, dialect) as channel:
                try:
                    started = await channel.started()
                    if admitted is None:
                        key = key_of(started.parameters)
                        if key is None:
                            self._refuse_signature(request, dialect)
                        admitted = await self._by_key(request, key)
                        held.close()
                        held.enter_context(self._calls.slot())
                except NeverStarted as error:
                    await channel.close(error.reason)
                except (ApiError, ClientFault, ServerFull, StoreError) as fault:
                    refusal = as_api_error(fault)
                    reason = refusal.openai_code
                    log.info("a %s stream is refused: %s", dialect.name, reason)
                    words = refusal.message if reason == "invalid_signature" else None
                    await channel.close(reason, words)
                else:
                    await self._carry(_told(admitted, started, channel), started, channel)
        return ws

    async def _carry(self, admitted: Admitted, started: Started, channel: TelephonyChannel) -> None:
        call_id = new_id("call")
        log.info("call %s is %s of %s", call_id, started.call_id or "unnamed", channel.name)
        checks = self._admittance.checks(admitted.principal)
        vocabulary = TelephonyVocabulary(call_id, channel.name, started, checks)
        await self._calls.carry(call_id, admitted, channel, vocabulary)

    # ------------------------------------------------------------------ who calls

    async def _by_request(self, request: web.Request, dialect: Dialect) -> Admitted | None:
        """The call as its opening request proves it; None where it brings no proof yet."""
        key = request.match_info.get("key") or request.query.get("key")
        if key or bearer_token(request.headers.get(hdrs.AUTHORIZATION)):
            return await self._by_key(request, key)
        if dialect is TWILIO and self._is_signed(request):
            agent_id = request.match_info["id"]
            agent = await self._agents.of_any_workspace(agent_id) if is_id(agent_id) else None
            if agent is None:
                raise no_such_agent()
            principal = Principal(agent.workspace_id, "carrier")
            return Admitted(principal, agent.id, self._admittance.configure(principal, agent))
        return None

    def _is_signed(self, request: web.Request) -> bool:
        signature = request.headers.get(HEADER)
        return self._signature is not None and self._signature.is_valid(
            signature, request.host, request.raw_path
        )

    def _refuse_signature(self, request: web.Request, dialect: Dialect) -> None:
        """Raise Forbidden for a stream without a key that was signed, but not as it should be."""
        if dialect is not TWILIO or self._signature is None or HEADER not in request.headers:
            return
        log.warning(
            "a twilio stream is refused: its signature does not match. Twilio signs the address in "
            "the <Stream> with the account's auth token: compare BLAB_TWILIO_AUTH_TOKEN and, "
            "behind a proxy, BLAB_PUBLIC_URL (the stream came for host %r)",
            request.host[:128],
        )
        raise Forbidden(
            "invalid_signature: check BLAB_TWILIO_AUTH_TOKEN and BLAB_PUBLIC_URL",
            openai_code="invalid_signature",
        )

    async def _by_key(self, request: web.Request, key: str | None) -> Admitted:
        """The call as a key proves it; raises ApiError."""
        principal = await self._admittance.principal(request, key)
        agent_id = request.match_info["id"]
        if not is_id(agent_id) or principal.agent_id not in (None, agent_id):
            raise no_such_agent()
        agent = await self._admittance.agent(principal.workspace_id, agent_id)
        return Admitted(principal, agent.id, self._admittance.configure(principal, agent))

    @contextmanager
    def _unproven_place(self) -> Iterator[None]:
        if self._unproven >= MOST_UNPROVEN:
            raise Unavailable(
                "Too many streams have not shown a key yet. Please call again in a moment.",
                openai_code="server_full",
                retry_after=5,
            )
        self._unproven += 1
        try:
            yield
        finally:
            self._unproven -= 1


def _told(admitted: Admitted, started: Started, channel: TelephonyChannel) -> Admitted:
    """The call with what the carrier tells of it."""
    config = admitted.config
    facts = facts_of(started.parameters)
    return replace(
        admitted,
        config=replace(
            config,
            instructions=instructions_with(config.instructions, facts),
            output_audio=True,
            input_format=channel.format,
            output_format=channel.format,
        ),
    )
