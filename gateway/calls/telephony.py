"""Telephone calls: ``/api/agents/{id}/CARRIER`` over WebSockets, and AudioSocket over TCP.

Who may call is proven by one of
- the carrier's signature of the opening request, where the operator's secret for it is set; the
  agent then decides the workspace. A wrong signature proves nothing (it may be another account's),
  and is named as the reason where no key follows;
- a key in ``Authorization``, as the path's last segment, or as ``?key=`` (401, 403, 404 before
  the upgrade);
- a key in the parameters of ``start``; until then the stream has no slot, at most
  ``MOST_UNPROVEN`` may wait like that, and one that proves nothing is closed with 1008 and the
  reason;
- over AudioSocket, the digits of an ephemeral key as the UUID, which spend it: nothing is encrypted
  there, so what was sent once is worth nothing to who saw it. A listener that is ``open_to`` a
  workspace takes the ids of its agents as well.

Rules
- A stream goes on with the call that another stream of the same telephone call has lost, if the
  carrier ``resumes``; see ``carrier_lines``.
- An agent of another workspace does not exist for the caller. A carrier's formats hold, whatever
  a session says.
- Over TCP: one task per connection; beyond ``MOST_CONNECTIONS`` a connection is closed at once.
  One that has not proven itself counts as unproven.
- Closing the listener waits ``GRACE_SECONDS`` for its calls, which end because their host drains,
  and cancels what is left.
"""

import asyncio
import logging
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.channels.message_socket import make_websocket
from gateway.channels.telephony.asterisk import Asterisk
from gateway.channels.telephony.audiosocket import AudioSocket, TcpMessages, agent_id_of
from gateway.channels.telephony.carrier import Carrier, OpeningRequest, Proof, Started
from gateway.channels.telephony.channel import LIMITS, NeverStarted, Patience, TelephonyChannel
from gateway.channels.telephony.exotel import Exotel
from gateway.channels.telephony.facts import (
    LANGUAGE,
    TelephonyWireFormat,
    caller_of,
    facts_of,
    instructions_with,
    key_of,
)
from gateway.channels.telephony.genesys import Genesys
from gateway.channels.telephony.plivo import Plivo
from gateway.channels.telephony.telnyx import Telnyx
from gateway.channels.telephony.twilio import SignalWire, Twilio
from gateway.channels.telephony.vonage import Vonage
from gateway.channels.wire.fields import Fields
from gateway.channels.wire.session_object import merge_session
from gateway.http.requests import is_upgrade
from gateway.http.responses import as_api_error
from gateway.processes.connections import AUDIOSOCKET, PassedConnections
from rest.accounts.auth import Principal, bearer_token
from rest.accounts.keys import ephemeral_key_of
from rest.http.errors import ApiError, Forbidden, Unauthenticated, Unavailable
from sessions.admission import ServerFull
from sessions.channel import ClientFault
from sessions.resumption.stored_calls import LoadedCall
from store.errors import StoreError
from store.ids import is_id, new_id
from store.tenants.agents import Agents

from .authorization import Authorization, AuthorizedCall, no_such_agent
from .carrier_lines import CarrierLines, Line, find_call
from .realtime import RealtimeCalls, UpgradeRequired

log = logging.getLogger(__name__)


CARRIERS: tuple[type[Carrier], ...] = (
    Twilio,
    Telnyx,
    Exotel,
    SignalWire,
    Asterisk,
    Genesys,
    Vonage,
    Plivo,
)
MOST_UNPROVEN = 64

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TelephonyCalls:
    """Answers carriers' streams."""

    def __init__(
        self,
        authorization: Authorization,
        agents: Agents,
        calls: RealtimeCalls,
        secrets: Mapping[str, str | None] | None = None,
        public_url: str | None = None,
        lines: CarrierLines | None = None,
        *,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        most_unproven: int = MOST_UNPROVEN,
    ) -> None:
        """``secrets``: what each carrier, by its name, signs its requests with; a carrier without
        one is known by keys only. ``public_url``: what callers' addresses begin with, where a proxy
        stands in front. ``lines``: resumes calls; None: none can be."""
        self._lines = lines
        self._authorization = authorization
        self._agents = agents
        self._calls = calls
        self._secrets = {name: secret for name, secret in (secrets or {}).items() if secret}
        self._public_host = urlsplit(public_url).netloc if public_url else None
        self._patience = patience
        self._most_unproven = most_unproven
        self._unproven = 0

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get(f"/api/agents/{{id}}/{carrier.name}{key}", self._handler(carrier))
            for carrier in CARRIERS
            for key in ("", "/{key}")
        ]

    def _handler(self, carrier: type[Carrier]) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, carrier)

        return answer

    async def _answer(self, request: web.Request, carrier: type[Carrier]) -> web.StreamResponse:
        """One call over one stream."""
        if not is_upgrade(request):
            raise UpgradeRequired(
                f"This address is for a media stream of {carrier.name}: connect with wss://.",
                openai_code="upgrade_required",
            )
        authorized = await self._by_request(request, carrier)
        with ExitStack() as held:
            held.enter_context(
                self._unproven_place() if authorized is None else self._calls.slot(authorized)
            )
            ws = make_websocket(LIMITS, carrier.subprotocol)
            await ws.prepare(request)
            channel = TelephonyChannel(ws, request.transport, carrier(), patience=self._patience)

            async def proven(started: Started) -> AuthorizedCall:
                return authorized or await self._by_start(request, carrier, started)

            await self._converse(channel, proven, held)
        return ws

    async def answer_audiosocket(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        open_to: str | None = None,
    ) -> None:
        """One call over one TCP connection. ``open_to``: the workspace whose agents may be called
        without a key."""

        async def proven(started: Started) -> AuthorizedCall:
            return await self._by_uuid(uuid.UUID(started.stream_id), open_to)

        with ExitStack() as held:
            try:
                held.enter_context(self._unproven_place())
            except Unavailable:
                writer.close()
                return
            carrier = AudioSocket()
            messages = TcpMessages(reader, writer)
            channel = TelephonyChannel(messages, writer.transport, carrier, patience=self._patience)
            await self._converse(channel, proven, held)

    async def _converse(
        self,
        made: TelephonyChannel,
        proven: Callable[[Started], Awaitable[AuthorizedCall]],
        held: ExitStack,
    ) -> None:
        """Carry the call that begins on a channel, once it is ``proven``.

        ``held`` is the place of an unproven stream, or a slot already; it is a slot afterwards."""
        async with made as channel:
            try:
                started = await channel.started()
                authorized = self._in_language(await proven(started), started)
                authorized = self._by_caller(authorized, started)
                line = self._line_of(authorized, started, channel)
                principal = replace(authorized.principal, agent_id=None)  # the line has its own
                found = await find_call(line, started, principal)
                if found is not None and channel.lost:
                    raise NeverStarted("peer_gone")  # a later stream may have the call
                held.close()
                held.enter_context(self._calls.slot(authorized, goes_on=found is not None))
                resumed = await line.take(found) if line is not None and found is not None else None
            except NeverStarted as error:
                await channel.close(error.reason)
            except (ApiError, ClientFault, ServerFull, StoreError) as fault:
                refusal = as_api_error(fault)
                reason = refusal.openai_code
                log.info("a %s stream is refused: %s", channel.name, reason)
                words = refusal.message if reason == "invalid_signature" else None
                await channel.close(reason, words)
            else:
                if resumed is None:
                    authorized = _with_facts(authorized, started)
                else:
                    authorized = _going_on(authorized, resumed)
                authorized = _in_formats(authorized, channel)
                await self._carry(authorized, started, channel, line, resumed)

    def _in_language(self, authorized: AuthorizedCall, started: Started) -> AuthorizedCall:
        """The call in the language that the start's parameters name; raises ClientFault."""
        language = started.parameters.get(LANGUAGE)
        if not language:
            return authorized
        given = Fields({"blab": {"language": language}}, "session", None)
        config = merge_session(given, authorized.config)
        checks = self._authorization.checks(authorized.principal)
        checks.session(given, authorized.config, config)
        return replace(authorized, config=config)

    def _by_caller(self, authorized: AuthorizedCall, started: Started) -> AuthorizedCall:
        """The call with the digest of who calls, unless the key says it."""
        principal = authorized.principal
        named = self._authorization.callers.of(principal.workspace_id, caller_of(started))
        return replace(authorized, caller=principal.caller or named)

    def _line_of(
        self, authorized: AuthorizedCall, started: Started, channel: TelephonyChannel
    ) -> Line | None:
        """What the stream has in common with others of the same telephone call; None if its call
        cannot be resumed."""
        if self._lines is None or not channel.resumes or not started.call_id:
            return None
        workspace_id = authorized.principal.workspace_id
        return self._lines.of(workspace_id, authorized.agent_id, channel.name, started.call_id)

    async def _carry(
        self,
        authorized: AuthorizedCall,
        started: Started,
        channel: TelephonyChannel,
        line: Line | None,
        resumed: LoadedCall | None,
    ) -> None:
        call_id, handle = new_id("call"), None
        if resumed is not None:
            call_id = resumed.call.call_id
        if line is not None:
            handle = await line.note(call_id) if resumed is None else line.handle(call_id)
        log.info("call %s is %s of %s", call_id, started.call_id or "unnamed", channel.name)
        checks = self._authorization.checks(authorized.principal)
        wire_format = TelephonyWireFormat(call_id, channel.name, started, checks)
        await self._calls.carry(call_id, authorized, channel, wire_format, resumed, handle)

    # ------------------------------------------------------------------ who calls

    async def _by_request(
        self, request: web.Request, carrier: type[Carrier]
    ) -> AuthorizedCall | None:
        """The call as its opening request proves it; None where it brings no proof yet."""
        key = request.match_info.get("key") or request.query.get("key")
        if key or _bearer(request, carrier):
            return await self._by_key(request, carrier, key)
        if self._proof(request, carrier) is Proof.VALID:
            return await self._by_agent(request.match_info["id"])
        return None

    async def _by_start(
        self, request: web.Request, carrier: type[Carrier], started: Started
    ) -> AuthorizedCall:
        """The call as the key among the start's parameters proves it; raises ApiError."""
        key = key_of(started.parameters)
        if key is None:
            self._refuse_signature(request, carrier)
        return await self._by_key(request, carrier, key)

    async def _by_agent(self, agent_id: str) -> AuthorizedCall:
        """The call for an agent of whatever workspace; raises ApiError."""
        agent = await self._agents.of_any_workspace(agent_id) if is_id(agent_id) else None
        if agent is None:
            raise no_such_agent()
        principal = Principal(agent.workspace_id, "carrier")
        return AuthorizedCall(principal, agent.id, self._authorization.configure(principal, agent))

    async def _by_uuid(self, call: uuid.UUID, open_to: str | None) -> AuthorizedCall:
        """The call that a UUID proves as an ephemeral key, or names in ``open_to``; raises
        ApiError."""
        principal = await self._authorization.spend(ephemeral_key_of(call))
        agent_id = agent_id_of(call) if principal is None else principal.agent_id
        if principal is None and open_to is not None:
            principal = Principal(open_to, "carrier")
        if principal is None:
            raise Unauthenticated(
                "The UUID is not an ephemeral key, or its key has expired or was used."
            )
        agent = await self._authorization.agent(principal.workspace_id, agent_id)
        return AuthorizedCall(principal, agent.id, self._authorization.configure(principal, agent))

    def _proof(self, request: web.Request, carrier: type[Carrier]) -> Proof:
        secret = self._secrets.get(carrier.name)
        if secret is None:
            return Proof.ABSENT
        host = self._public_host or request.host
        try:
            return carrier.verify(OpeningRequest(host, request.raw_path, request.headers), secret)
        except UnicodeEncodeError:  # a path or a header is not UTF-8: no carrier has signed it
            return Proof.INVALID

    def _refuse_signature(self, request: web.Request, carrier: type[Carrier]) -> None:
        """Raise Forbidden for a stream without a key that was signed, but not as it should be."""
        if self._proof(request, carrier) is not Proof.INVALID:
            return
        log.warning(
            "a %s stream is refused: its signature does not match. Compare %s with the account's "
            "and, behind a proxy, BLAB_PUBLIC_URL (the stream came for host %r)",
            carrier.name,
            carrier.secret_setting,
            request.host[:128],
        )
        raise Forbidden(
            f"invalid_signature: check {carrier.secret_setting} and BLAB_PUBLIC_URL",
            openai_code="invalid_signature",
        )

    async def _by_key(
        self, request: web.Request, carrier: type[Carrier], key: str | None
    ) -> AuthorizedCall:
        """The call as a key proves it, the one in Authorization first; raises ApiError."""
        token = _bearer(request, carrier) or key
        principal = await self._authorization.principal_of(request, token)
        agent_id = request.match_info["id"]
        if not is_id(agent_id) or principal.agent_id not in (None, agent_id):
            raise no_such_agent()
        agent = await self._authorization.agent(principal.workspace_id, agent_id)
        return AuthorizedCall(principal, agent.id, self._authorization.configure(principal, agent))

    @contextmanager
    def _unproven_place(self) -> Iterator[None]:
        if self._unproven >= self._most_unproven:
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


def _with_facts(authorized: AuthorizedCall, started: Started) -> AuthorizedCall:
    """The call with the customer's facts."""
    config, facts = authorized.config, facts_of(started.parameters)
    instructions = instructions_with(config.instructions, facts)
    return replace(authorized, config=replace(config, instructions=instructions))


def _going_on(authorized: AuthorizedCall, resumed: LoadedCall) -> AuthorizedCall:
    """The call as it was over the stream before."""
    principal, call = authorized.principal, resumed.call
    principal = replace(principal, locked=principal.locked or call.locked)
    config = call.checkpoint.config
    return replace(authorized, principal=principal, agent_id=call.agent_id, config=config)


def _in_formats(authorized: AuthorizedCall, channel: TelephonyChannel) -> AuthorizedCall:
    """The call with the carrier's formats."""
    form = channel.format
    config = replace(authorized.config, output_audio=True, input_format=form, output_format=form)
    return replace(authorized, config=config)


def _bearer(request: web.Request, carrier: type[Carrier]) -> str | None:
    """The key in Authorization; None where there is none, or where the token is the carrier's."""
    token = bearer_token(request.headers.get(hdrs.AUTHORIZATION))
    signed = carrier.signs_in_authorization and token is not None and token.count(".") == 2
    return None if signed else token


# ---------------------------------------------------------------------- over TCP


MOST_CONNECTIONS = 512
GRACE_SECONDS = 5.0


class AudioSocketListener:
    """Listens on one address while the application runs."""

    def __init__(
        self,
        address: tuple[str, int],
        calls: TelephonyCalls,
        open_to: str | None = None,
        passed: PassedConnections | None = None,
    ) -> None:
        """``address``: host and port; port 0 is any free one. ``open_to``: the workspace whose
        agents may be called without a key. ``passed``: connections that another process accepts,
        served instead of listening."""
        self._address = address
        self._calls = calls
        self._open_to = open_to
        self._passed = passed
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        """Listened on, here or by the process that passes connections on; 0 before."""

    async def context(self, app: web.Application) -> AsyncIterator[None]:
        """For ``cleanup_ctx``. Raises OSError where the address cannot be listened on."""
        host, port = self._address
        server: asyncio.Server | None = None
        if self._passed is not None:
            self._passed.serve(AUDIOSOCKET, self._accept)
            self.port = port
        else:
            server = await asyncio.start_server(self._connected, host, port)
            self.port = server.sockets[0].getsockname()[1]
        app[AUDIOSOCKET_PORT] = self.port
        needs = "every call needs a key" if self._open_to is None else "agents' ids need no key"
        log.info("AudioSocket is taken on %s:%d; %s", host, self.port, needs)
        try:
            yield
        finally:
            if server is not None:
                server.close()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(loop=loop)
            return asyncio.StreamReaderProtocol(reader, self._connected, loop=loop)

        await loop.connect_accepted_socket(protocol, connection)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MOST_CONNECTIONS:
            writer.close()
            return
        task = asyncio.ensure_future(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._calls.answer_audiosocket(reader, writer, self._open_to)
        except Exception:  # the task has no other reader
            log.exception("an AudioSocket call failed")
        finally:
            writer.close()


AUDIOSOCKET_PORT: web.AppKey[int] = web.AppKey("audiosocket_port", int)
