"""What another web page gets with an embed's public id: the embed's texts, and keys for calls.

There is no API key. Who asks is the page, by its ``Origin``, which a browser sets and no page can
forge. A program can, and so the embed's limits hold for everybody: calls a minute of one address,
calls at a time, minutes a day.

Rules
- An id that is unknown, deleted or switched off is absent, whoever asks.
- ``POST`` and its preflight are for the embed's pages only. Other pages, ``null`` and requests
  without ``Origin`` are refused; every page may read a refusal, which says nothing of the embed.
- A key is locked to the embed's agent, begins one call within ``KEY_SECONDS``, and afterwards only
  resumes or ends that call.
- Who finds all lines busy waits in a queue, by asking again with ``visitId`` as often as
  ``Retry-After`` says. Only a new visit counts as a call of its address.
- With a consent text there is no key without ``consent``.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from aiohttp import hdrs, web
from msgspec import Meta, Struct
from msgspec.structs import replace

from rest.accounts.keys import EmbedGrant, EphemeralKeys, Grant
from rest.accounts.origins import covers, origin_of
from rest.http.errors import (
    ConsentMissing,
    Forbidden,
    NotFound,
    RateLimited,
    Unavailable,
    ValidationFailed,
)
from rest.http.fields import LanguageTag, VoiceId, timestamp
from rest.http.operation import Answer, AnyOperation, Operation, Request
from rest.http.ratelimit import ClientAddress, Rate, RateLimiter
from sessions.channel import ClientFault
from sessions.host import SessionHost
from store.database import Database
from store.ids import is_id
from store.tenants.embeds import KEY_SECONDS, DaySpent, Embed, Embeds, Queued, Visits

from .embeds import NOUN, TAG, Choice, EmbedTexts, shown_texts

WIDGET, KEYS = "/api/embeds/{id}/widget", "/api/embeds/{id}/client_secrets"
RETRY_SECONDS = 3
"""When who waits in the queue asks again."""
_FULL_SECONDS = 20
"""When who found no place in it does."""
_AFTER_SECONDS = 60
"""A key lives so much longer than its call may."""
_MINUTE = 60.0
_FREE: dict[Choice, tuple[str, ...]] = {
    "voice": ("voice",),
    "language": ("language", "detects_language", "language_hints"),
}
"""Members of SessionConfig that a visitor may change."""
_PAGE = web.RequestKey("embed_page", str)
"""The origin that may read the answer."""

CheckGrant = Callable[[Grant], Awaitable[None]]
"""Raises ApiError or ClientFault where a call by the grant would be refused as it is configured."""


class EmbedKeyRequest(Struct, rename="camel", kw_only=True):
    """A visitor's wish to call. ``visit_id``: of who waits in the queue already; ``voice`` and
    ``language``: where the embed lets visitors choose; ``consent``: the visitor has accepted the
    embed's consent text."""

    visit_id: Annotated[str, Meta(max_length=64)] | None = None
    voice: VoiceId | None = None
    language: LanguageTag | None = None
    consent: bool = False


class EmbedKey(Struct, rename="camel", kw_only=True):
    """A key (`ek_…`) for one call, as of `POST /v1/realtime/client_secrets`. ``expires_at``: until
    then it can begin the call; ``max_seconds``: what the call may last."""

    value: str
    expires_at: str
    max_seconds: int
    agent_id: str


class WidgetView(Struct, rename="camel", kw_only=True):
    """What the element on the page needs before a call."""

    id: str
    texts: EmbedTexts
    choices: list[Choice]


class EmbedKeyResource:
    """The operations that need no key. ``host``: has slots, or not; ``waiting_for``: why no call
    can be answered yet."""

    def __init__(
        self,
        database: Database,
        ephemeral: EphemeralKeys,
        limiter: RateLimiter,
        addresses: ClientAddress,
        host: SessionHost,
        check_grant: CheckGrant,
        waiting_for: Callable[[], str | None],
    ) -> None:
        self._embeds = Embeds(database)
        self._visits = Visits(database)
        self._ephemeral = ephemeral
        self._limiter = limiter
        self._addresses = addresses
        self._host = host
        self._check_grant = check_grant
        self._waiting_for = waiting_for

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="GET",
                path=WIDGET,
                tag=TAG,
                summary="Get what a page shows of an embed",
                handler=self._widget,
                data=WidgetView,
                public=True,
                description="For the embed's pages, by `Origin`.",
            ),
            Operation(
                method="POST",
                path=KEYS,
                tag=TAG,
                summary="Get a key for one call from an embed's page",
                handler=self._mint,
                data=EmbedKey,
                public=True,
                body=EmbedKeyRequest,
                description=(
                    "For the embed's pages, by `Origin`. 503 with the reason `lines_busy` has"
                    " `visitId` and `place`: ask again with that id after `Retry-After`. 429 has"
                    " the reason `minutes_used_up` where the day's minutes are."
                ),
            ),
        ]

    def routes(self) -> list[web.RouteDef]:
        """The preflight's route."""
        return [web.options(KEYS, self._preflight)]

    async def show(self, http: web.Request, response: web.StreamResponse) -> None:
        """Let the embed's pages read the answer, and every page a refusal; for
        ``Application.on_response_prepare``."""
        resource = http.match_info.route.resource
        if resource is None or resource.canonical not in (WIDGET, KEYS):
            return
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        page = http.get(_PAGE)
        if page is None and response.status >= 400 and http.method != hdrs.METH_OPTIONS:
            page = "*"
        if page is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = page
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = "Retry-After, X-Request-Id"

    # ------------------------------------------------------------------ answers

    async def _preflight(self, http: web.Request) -> web.Response:
        await self._published(http)
        headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "POST, OPTIONS",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: hdrs.CONTENT_TYPE,
            hdrs.ACCESS_CONTROL_MAX_AGE: "600",
        }
        return web.Response(status=204, headers=headers)

    async def _widget(self, request: Request[None, None]) -> Answer:
        embed = await self._published(request.http, of_any_program=True)
        choices: list[Choice] = [one for one in _FREE if one in embed.choices]
        return Answer(WidgetView(id=embed.id, texts=shown_texts(embed), choices=choices))

    async def _mint(self, request: Request[EmbedKeyRequest, None]) -> Answer:
        embed, asked = await self._published(request.http), request.body
        if shown_texts(embed).consent.strip() and not asked.consent:
            raise ConsentMissing("The visitor has not accepted the consent text.", param="consent")
        if (waiting := self._waiting_for()) is not None:
            raise Unavailable(waiting, reason="warming_up", retry_after=2)
        bound = EmbedGrant(embed.id, "", embed.max_call_minutes * 60, _free(embed))
        grant = Grant(
            embed.workspace_id, embed.agent_id, _session(embed, asked), locked=True, embed=bound
        )
        await self._check(grant)
        visit_id = asked.visit_id
        if visit_id is None or not await self._visits.waits(embed, visit_id):
            await self._count(request.http, embed)
        room = self._host.full_for(embed.workspace_id) is None
        visit = await self._visits.ask(embed, visit_id, room=room)
        if visit is None:
            raise _absent()
        if isinstance(visit, DaySpent):
            raise _day_spent(visit)
        if isinstance(visit, Queued):
            raise _busy(visit)
        bound = replace(bound, visit_id=visit.visit_id, seconds=visit.seconds)
        lifetime = KEY_SECONDS + visit.seconds + _AFTER_SECONDS
        try:
            key = await self._ephemeral.mint(replace(grant, embed=bound), lifetime)
        except BaseException:
            await self._visits.withdraw(embed.workspace_id, visit.visit_id)
            raise
        expires = datetime.now(UTC) + timedelta(seconds=KEY_SECONDS)
        return Answer(
            EmbedKey(
                value=key.value,
                expires_at=timestamp(expires),
                max_seconds=visit.seconds,
                agent_id=embed.agent_id,
            )
        )

    # ------------------------------------------------------------------ checks

    async def _published(self, http: web.Request, *, of_any_program: bool = False) -> Embed:
        """The embed that the path names, for the page that asks; raises NotFound or Forbidden.
        ``of_any_program``: no ``Origin`` will do, which browsers leave out of a page's GET to its
        own server."""
        embed_id = http.match_info["id"]
        embed = await self._embeds.published(embed_id) if is_id(embed_id) else None
        if embed is None:
            raise _absent()
        origin = origin_of(http)
        if origin is not None and covers(embed.origins, origin):
            http[_PAGE] = http.headers[hdrs.ORIGIN]
        elif hdrs.ORIGIN in http.headers or not of_any_program:
            raise Forbidden(
                "This page may not use the embed: its owner has to add the page's origin to the"
                " embed's origins.",
                param="Origin",
                reason="foreign_origin",
            )
        return embed

    async def _check(self, grant: Grant) -> None:
        """Raise ApiError where a call by the grant would be refused as it is configured."""
        try:
            await self._check_grant(grant)
        except ClientFault as fault:
            param = "voice" if "voice" in (fault.param or "") else "language"
            raise ValidationFailed(fault.message, param=param) from fault

    async def _count(self, http: web.Request, embed: Embed) -> None:
        """Count a new visit of an address; raises RateLimited."""
        name = f"embed:{embed.id}:{self._addresses.of(http)}"
        rate = Rate(embed.calls_per_minute, _MINUTE)
        message = "Too many calls came from this address: wait as long as Retry-After says."
        await self._limiter.take(http, name, rate, message)


def _free(embed: Embed) -> tuple[str, ...]:
    return tuple(name for one, names in _FREE.items() if one in embed.choices for name in names)


def _session(embed: Embed, asked: EmbedKeyRequest) -> dict[str, Any]:
    """The session of the visitor's call; raises Forbidden."""
    for choice, given in (("voice", asked.voice), ("language", asked.language)):
        if given and choice not in embed.choices:
            raise Forbidden(
                f"Visitors of this embed may not choose the {choice}.",
                param=choice,
                reason="not_a_choice",
            )
    session: dict[str, Any] = {"type": "realtime"}
    if asked.voice:
        session["audio"] = {"output": {"voice": asked.voice}}
    if asked.language:
        session["blab"] = {"language": asked.language}
    return session


# ---------------------------------------------------------------------- refusals


def _absent() -> NotFound:
    return NotFound(f"There is no such {NOUN}.")


def _day_spent(spent: DaySpent) -> RateLimited:
    return RateLimited(
        "The embed's minutes for today are used up.",
        reason="minutes_used_up",
        retry_after=spent.seconds,
    )


def _busy(visit: Queued) -> Unavailable:
    if visit.visit_id is None or visit.place is None:
        message = "All lines are busy, and the queue is full."
        return Unavailable(message, reason="lines_busy", retry_after=_FULL_SECONDS)
    return Unavailable(
        "All lines are busy: ask again as Retry-After says, with the same visitId.",
        reason="lines_busy",
        retry_after=RETRY_SECONDS,
        more={"visitId": visit.visit_id, "place": visit.place},
    )
