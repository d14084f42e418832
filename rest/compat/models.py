"""OpenAI's list of models, what a client's model id means here, and CORS for OpenAI's operations.

A name is in the list when something answers to it now: what is live, the contract's names, and the
stock names that are served. The list shows the usual stock names; another one (a dated variant,
say) can be looked up where its kind is served. An id that nothing can serve is left for the engines
to refuse, in their own words.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from aiohttp import hdrs, web

from pipelines.engines import call_names
from pipelines.engines.base import ChatModel, ModelUnavailable
from pipelines.engines.call_names import is_stock
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import Role
from pipelines.engines.jobs import SpeechChoice
from pipelines.speech.job import EXPRESSIVE, STABLE
from rest.http.errors import NoSuchModel
from rest.http.operation import AnyOperation, Operation, Request
from rest.resources.capabilities import CHAT, HEARING
from rest.resources.survey import Survey

OURS, UPSTREAM = "blab", "upstream"
"""Owners of models: this server, or the one behind it."""
TAG = "OpenAI"
_NAMED = frozenset(
    {
        Role.CHAT,
        Role.SPEECH,
        Role.FILE_TRANSCRIPTION,
        Role.STREAMING_TRANSCRIPTION,
        Role.TRANSCRIPTION,
    }
)
"""Roles whose engines a client may name."""
_MAX_TOLD = 100


class CompatModels:
    """``GET /v1/models`` and ``/v1/models/{id}``; any credential will do."""

    def __init__(
        self, engines: Catalogue, survey: Survey, clock: Callable[[], float] = time.time
    ) -> None:
        self._engines = engines
        self._survey = survey
        self._created = int(clock())

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="GET",
                path="/v1/models",
                tag=TAG,
                summary="List models",
                handler=self._list,
            ),
            Operation(
                method="GET",
                path="/v1/models/{id:.+}",
                tag=TAG,
                summary="Retrieve a model",
                handler=self._get,
            ),
        ]

    async def _list(self, _request: Request[None, None]) -> web.Response:
        owners, kinds = await self._live()
        for listed in kinds.values():
            for name in listed:
                owners.setdefault(name, OURS)
        models = [self._shown(model_id, owner) for model_id, owner in owners.items()]
        return json_answer({"object": "list", "data": models})

    async def _get(self, request: Request[None, None]) -> web.Response:
        model_id = request.path()
        owners, kinds = await self._live()
        if model_id in owners:
            return json_answer(self._shown(model_id, owners[model_id]))
        if any(pattern.fullmatch(model_id) for pattern in kinds):
            return json_answer(self._shown(model_id, OURS))
        raise NoSuchModel(f"The model {model_id[:_MAX_TOLD]!r} does not exist.", param="model")

    def _shown(self, model_id: str, owner: str) -> dict[str, Any]:
        created = self._created
        return {"id": model_id, "object": "model", "created": created, "owned_by": owner}

    async def _live(self) -> tuple[dict[str, str], dict[Any, tuple[str, ...]]]:
        """Owners by model id, and the kinds of stock names that are served."""
        surveyed = await self._survey.taken()
        owners = {name: OURS for name in (STABLE, EXPRESSIVE) if surveyed.live(name)}
        kinds: dict[Any, tuple[str, ...]] = {}
        if owners:
            kinds[call_names.SPEECH] = call_names.LISTED_SPEECH
        if self._hears():
            kinds[call_names.TRANSCRIPTION] = call_names.LISTED_TRANSCRIPTION
        if self._chats():
            owners[CHAT] = OURS
            kinds[call_names.CHAT] = call_names.LISTED_CHAT
            kinds[call_names.REALTIME] = call_names.LISTED_REALTIME
        for status in self._engines.statuses():
            if status.live and status.role in _NAMED:
                owners.setdefault(status.model_id, UPSTREAM if status.upstream else OURS)
        return owners, kinds

    def _hears(self) -> bool:
        try:
            self._engines.check_transcription(HEARING, None)
        except ModelUnavailable:
            return False
        return True

    def _chats(self) -> bool:
        try:
            self._engines.check_chat(CHAT)
        except ModelUnavailable:
            return False
        return True


def json_answer(body: Any) -> web.Response:
    """A JSON answer that no cache keeps."""
    return web.Response(
        body=msgspec.json.encode(body),
        headers={"Cache-Control": "no-store"},
        content_type="application/json",
    )


_REGEX = re.compile(r"\{(\w+):[^{}]*\}")
_EXPOSED = (
    "X-Request-Id, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Warning"
)
_PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, OPTIONS",
    # a wildcard does not stand for Authorization
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, *",
    hdrs.ACCESS_CONTROL_MAX_AGE: "600",
}


class CrossOrigin:
    """CORS for ``operations``. Web pages from anywhere may use them: keys are set explicitly and
    are never cookies, so a page cannot act in its reader's name."""

    def __init__(self, operations: Iterable[AnyOperation]) -> None:
        self._paths = sorted({operation.path for operation in operations})
        self._canonical = {_REGEX.sub(r"{\1}", path) for path in self._paths}

    def routes(self) -> list[web.RouteDef]:
        """The preflight routes."""
        return [web.options(path, self._preflight) for path in self._paths]

    async def show(self, http: web.Request, response: web.StreamResponse) -> None:
        """Let any page read the answer; for ``Application.on_response_prepare``."""
        resource = http.match_info.route.resource
        if resource is not None and resource.canonical in self._canonical:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    async def _preflight(self, _http: web.Request) -> web.Response:
        return web.Response(status=204, headers=_PREFLIGHT)


class ModelNames:
    """Asks the engines; only ``chat`` may load one."""

    def __init__(self, engines: Catalogue) -> None:
        self._engines = engines

    def speech(self, model_id: str) -> str:
        """The model that speaks."""
        if not is_stock(Role.SPEECH, model_id):
            return model_id
        try:
            self._engines.check_speech(SpeechChoice(model_id))
        except ModelUnavailable:
            return STABLE
        return model_id

    def transcription(self, model_id: str, language: str | None) -> str:
        """The model that hears recordings; raises ModelUnavailable."""
        try:
            self._engines.check_transcription(model_id, language)
        except ModelUnavailable:
            if "diarize" in model_id:
                raise ModelUnavailable(
                    f"{model_id!r} is not served: speakers are not told apart here"
                ) from None
            if not is_stock(Role.TRANSCRIPTION, model_id):
                raise
            self._engines.check_transcription(HEARING, language)
            return HEARING
        return model_id

    async def chat(self, model_id: str) -> tuple[str, ChatModel]:
        """The chat model and the name by which it is billed; raises ModelUnavailable."""
        if is_stock(Role.CHAT, model_id) and not self._engines.serves(Role.CHAT, model_id):
            model_id = CHAT
        return model_id, await self._engines.chat(model_id)
