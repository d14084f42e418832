"""Embeds as a resource: an agent's public ids for other web pages, with origins, limits and texts.

An embed that is switched off or deleted begins no more calls at once, and its calls in progress are
ended. Other changes hold for the calls that begin after them.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from rest.accounts.origins import MAX_CHARS, canonical_pattern
from rest.http.errors import NotFound, Unavailable, ValidationFailed
from rest.http.fields import LanguageTag, Name, timestamp
from rest.http.operation import Answer, AnyOperation, Operation, Request
from rest.http.pagination import Cursors, PageQuery
from sessions.registry import CallRegistry
from sessions.remote import EndCall, RemoteRequest, RemoteRequests
from store.database import Database
from store.tenants.embeds import Embed, Embeds, EmbedUse, NewEmbed, Visits

OF_AGENT, ONE, TAG = "/api/agents/{id}/embeds", "/api/embeds/{id}", "Embeds"
READ, WRITE = "agents:read", "agents:write"
NOUN = "embed"
MOST_ORIGINS = 50
_DEFAULT = NewEmbed("", ())

Origins = Annotated[
    list[Annotated[str, Meta(max_length=MAX_CHARS)]],
    Meta(
        min_length=1,
        max_length=MOST_ORIGINS,
        description=(
            "Origins of web pages, such as `https://shop.example` or `http://localhost:8000`;"
            " `https://*.shop.example` is every host below `shop.example`, but not that itself."
        ),
    ),
]
PerMinute = Annotated[int, Meta(ge=1, le=600, description="Calls of one address.")]
MaxCalls = Annotated[int, Meta(ge=1, le=100, description="Calls at a time.")]
CallMinutes = Annotated[int, Meta(ge=1, le=60, description="The longest call.")]
DayMinutes = Annotated[int, Meta(ge=1, le=14_400, description="Of all calls of a day (UTC).")]
Choice = Literal["voice", "language"]
Choices = Annotated[list[Choice], Meta(max_length=2, description="What a visitor may choose.")]
Colour = Annotated[
    str, Meta(pattern=r"^(#[0-9A-Fa-f]{6})?$", description="Of buttons, as #rrggbb.")
]


class EmbedTexts(Struct, frozen=True, omit_defaults=True):
    """What the element on the page says in the owner's words. ``greeting``: shown before the call;
    ``consent``: the visitor accepts it before the microphone opens; ``language``: of the element's
    own words; ``accent``: a colour. What is empty is the element's own."""

    title: Annotated[str, Meta(max_length=80)] = ""
    greeting: Annotated[str, Meta(max_length=500)] = ""
    consent: Annotated[str, Meta(max_length=2000)] = ""
    language: LanguageTag = ""
    accent: Colour = ""


class EmbedCreate(Struct, rename="camel", kw_only=True):
    """A new embed."""

    name: Name
    origins: Origins
    calls_per_minute: PerMinute = _DEFAULT.calls_per_minute
    max_calls: MaxCalls = _DEFAULT.max_calls
    max_call_minutes: CallMinutes = _DEFAULT.max_call_minutes
    minutes_per_day: DayMinutes = _DEFAULT.minutes_per_day
    enabled: bool = True
    choices: Choices = []
    texts: EmbedTexts = EmbedTexts()


class EmbedUpdate(Struct, rename="camel", kw_only=True):
    """Changes of an embed: what is not sent stays. ``texts`` are replaced as a whole."""

    name: Name | UnsetType = UNSET
    origins: Origins | UnsetType = UNSET
    calls_per_minute: PerMinute | UnsetType = UNSET
    max_calls: MaxCalls | UnsetType = UNSET
    max_call_minutes: CallMinutes | UnsetType = UNSET
    minutes_per_day: DayMinutes | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    choices: Choices | UnsetType = UNSET
    texts: EmbedTexts | UnsetType = UNSET


class EmbedView(Struct, rename="camel", kw_only=True):
    """An embed as its workspace sees it. ``id`` may be public. ``calls_now``: in progress;
    ``waiting_now``: visitors in the queue; ``seconds_today``: of calls that began today (UTC),
    those in progress up to now."""

    id: str
    agent_id: str
    name: str
    origins: list[str]
    calls_per_minute: int
    max_calls: int
    max_call_minutes: int
    minutes_per_day: int
    enabled: bool
    choices: list[Choice]
    texts: EmbedTexts
    calls_now: int
    waiting_now: int
    seconds_today: int
    created_at: str
    updated_at: str


class EmbedResource:
    """The embeds of a workspace's agents. ``registry``, ``requests``: end calls of any node."""

    def __init__(
        self,
        database: Database,
        registry: CallRegistry,
        requests: RemoteRequests,
        cursors: Cursors,
    ) -> None:
        self._embeds = Embeds(database)
        self._visits = Visits(database)
        self._registry = registry
        self._requests = requests
        self._cursors = cursors

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        ends = "Its calls in progress are ended."
        return [
            Operation(
                method="GET",
                path=OF_AGENT,
                tag=TAG,
                summary="List an agent's embeds",
                handler=self._list,
                data=list[EmbedView],
                scope=READ,
                query=PageQuery,
            ),
            Operation(
                method="POST",
                path=OF_AGENT,
                tag=TAG,
                summary="Let other web pages call an agent",
                handler=self._create,
                data=EmbedView,
                scope=WRITE,
                body=EmbedCreate,
                outcome="Created",
                idempotent=True,
            ),
            Operation(
                method="GET",
                path=ONE,
                tag=TAG,
                summary="Get an embed",
                handler=self._get,
                data=EmbedView,
                scope=READ,
            ),
            Operation(
                method="PATCH",
                path=ONE,
                tag=TAG,
                summary="Update an embed",
                handler=self._update,
                data=EmbedView,
                scope=WRITE,
                body=EmbedUpdate,
                description=f"Switched off (`enabled`): {ends[0].lower()}{ends[1:]}",
            ),
            Operation(
                method="DELETE",
                path=ONE,
                tag=TAG,
                summary="Delete an embed",
                handler=self._delete,
                scope=WRITE,
                outcome="Deleted",
                description=ends,
            ),
        ]

    async def _list(self, request: Request[None, PageQuery]) -> Answer:
        agent_id = request.path()
        uses: dict[str, EmbedUse] = {}

        async def fetch(after: str | None, limit: int) -> list[Embed]:
            workspace_id = request.workspace_id
            found = await self._embeds.list(workspace_id, agent_id, limit=limit, after=after)
            uses.update(await self._visits.use(workspace_id, [embed.id for embed in found]))
            return found

        if not await self._embeds.has_agent(request.workspace_id, agent_id):
            raise _no_agent()
        return await self._cursors.page(
            request.query, fetch, lambda embed: _view(embed, uses[embed.id])
        )

    async def _create(self, request: Request[EmbedCreate, None]) -> Answer:
        agent_id = request.path()
        if not await self._embeds.has_agent(request.workspace_id, agent_id):
            raise _no_agent()
        new = NewEmbed(**_stored(request.body))
        made = await self._embeds.create(request.workspace_id, agent_id, new)
        if made is None:
            raise _no_agent()
        return Answer(_view(made, EmbedUse()))

    async def _get(self, request: Request[None, None]) -> Answer:
        return await self._shown(await request.stored(NOUN, self._embeds.get))

    async def _update(self, request: Request[EmbedUpdate, None]) -> Answer:
        changes = _stored(request.body)
        embed = await request.stored(
            NOUN,
            lambda workspace_id, embed_id: self._embeds.update(workspace_id, embed_id, changes),
        )
        if changes.get("enabled") is False:
            await self._end_calls(embed)
        return await self._shown(embed)

    async def _delete(self, request: Request[None, None]) -> Answer:
        embed = await request.stored(
            NOUN,
            lambda workspace_id, embed_id: self._embeds.update(
                workspace_id, embed_id, {"enabled": False}
            ),
        )
        await self._end_calls(embed)
        await request.stored(NOUN, self._embeds.delete)
        return Answer({"id": embed.id, "deleted": True})

    async def _end_calls(self, embed: Embed) -> None:
        """End the calls of an embed that begins no more. Raises BusUnavailable, and Unavailable
        where one cannot be reached for now: the same request ends the rest."""
        workspace_id, missed = embed.workspace_id, 0
        for call_id in await self._visits.running(workspace_id, embed.id):
            node_id = await self._registry.find(workspace_id, call_id)
            if node_id is not None:
                order = RemoteRequest("", EndCall())
                missed += not await self._requests.send(node_id, call_id, order)
        if missed:
            raise Unavailable(
                "The embed begins no more calls, but a call in progress has too many commands"
                " waiting and could not be ended: try again.",
                reason="calls_in_progress",
                retry_after=1,
            )

    async def _shown(self, embed: Embed) -> Answer:
        uses = await self._visits.use(embed.workspace_id, [embed.id])
        return Answer(_view(embed, uses[embed.id]))


def _stored(body: EmbedCreate | EmbedUpdate) -> dict[str, Any]:
    """The fields that were sent, by the names of NewEmbed; raises ValidationFailed."""
    sent = {name: getattr(body, name) for name in body.__struct_fields__}
    given = {name: value for name, value in sent.items() if value is not UNSET}
    if (origins := given.get("origins")) is not None:
        given["origins"] = list(dict.fromkeys(map(_origin, range(len(origins)), origins)))
    if (choices := given.get("choices")) is not None:
        given["choices"] = sorted(set(choices))
    if (texts := given.get("texts")) is not None:
        given["texts"] = msgspec.to_builtins(texts)
    return given


def _origin(index: int, text: str) -> str:
    origin = canonical_pattern(text)
    if origin is None:
        raise ValidationFailed(
            f"origins[{index}] is not an origin: write it as https://shop.example, with"
            " the port where it has one, or as https://*.shop.example for all hosts below.",
            param=f"origins[{index}]",
            reason="invalid_origin",
        )
    return origin


def _view(embed: Embed, use: EmbedUse) -> EmbedView:
    return EmbedView(
        id=embed.id,
        agent_id=embed.agent_id,
        name=embed.name,
        origins=list(embed.origins),
        calls_per_minute=embed.calls_per_minute,
        max_calls=embed.max_calls,
        max_call_minutes=embed.max_call_minutes,
        minutes_per_day=embed.minutes_per_day,
        enabled=embed.enabled,
        choices=msgspec.convert(embed.choices, list[Choice]),
        texts=shown_texts(embed),
        calls_now=use.calls,
        waiting_now=use.waiting,
        seconds_today=use.seconds,
        created_at=timestamp(embed.created_at),
        updated_at=timestamp(embed.updated_at),
    )


def shown_texts(embed: Embed) -> EmbedTexts:
    """What the element on the page says in the owner's words."""
    return msgspec.convert(embed.texts, EmbedTexts)


def _no_agent() -> NotFound:
    return NotFound("There is no such agent.")
