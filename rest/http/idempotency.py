"""Idempotency: the same request with the same ``Idempotency-Key`` is carried out once.

Rules
- A key is valid for one workspace and one route, for 24 hours. The same content gets the first
  answer again, its data byte for byte, with ``Idempotent-Replayed: true``; other content is
  refused. The content is the path, the query and the body as they were understood: ignored members
  make no difference.
- Only successes are kept. A request that fails releases its claim, so that it can be tried again.
- A repetition that arrives while the first request is running waits for its answer, up to
  ``WAIT_SECONDS``.
- A claim is a lease, renewed while the request is running: when its holder dies, a repetition takes
  over within ``LEASE_SECONDS``.
- Only a digest of the client's key is stored, and the answer is sealed with the key itself: an
  answer may contain a secret that is shown once, which a reader of the table must not see.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from pipelines.jobs.job import ApiWarning
from rest.accounts.signing import Seal
from store.errors import StoreError
from store.tenants.idempotency import Claim, IdempotencyKeys

from .errors import IdempotencyClash, ValidationFailed
from .operation import Answer, AnyRequest

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 255
WAIT_SECONDS = 8.0
LEASE_SECONDS = 30.0
_RENEWALS = 3
"""Renewals per lease: all but the last may fail."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
_SEAL = Seal("blab idempotent answer")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is to be carried out once. ``route``: method and pattern of the path."""

    workspace_id: str
    route: str
    key: str = field(repr=False)
    fingerprint: bytes
    request_id: str

    @property
    def claim(self) -> Claim:
        """What is stored about it."""
        digest = hashlib.sha256(self.key.encode()).digest()
        return Claim(
            route=self.route,
            key=digest,
            fingerprint=self.fingerprint,
            claimed_by=self.request_id,
        )


class _Kept(msgspec.Struct):
    data: msgspec.Raw
    headers: dict[str, str]
    warnings: list[ApiWarning] = []


class Idempotency:
    """Carries out the request with a key once, and answers its repetitions."""

    def __init__(
        self,
        claims: IdempotencyKeys,
        *,
        wait_seconds: float = WAIT_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._claims = claims
        self._wait = wait_seconds
        self._lease = lease_seconds

    async def once(
        self, asked: Asked, work: Callable[[], Awaitable[Answer | web.StreamResponse]]
    ) -> Answer:
        """The answer of ``work``, or the first request's; raises IdempotencyClash and what ``work``
        raises."""
        claim, workspace_id = asked.claim, asked.workspace_id
        give_up = asyncio.get_running_loop().time() + self._wait
        pause = _FIRST_PAUSE
        while not await self._claims.claim(workspace_id, claim, self._lease):
            first = await self._claims.find(workspace_id, claim)
            if first is not None and first.fingerprint != claim.fingerprint:
                raise IdempotencyClash(
                    f"This {HEADER} was used for another request: send a new one.",
                    param=HEADER,
                    reason="key_reused",
                )
            if first is not None and first.answer is not None:
                return _replay(asked, first.answer)
            if asyncio.get_running_loop().time() > give_up:
                raise IdempotencyClash(
                    f"A request with this {HEADER} is still running: try again in a moment.",
                    param=HEADER,
                    reason="in_progress",
                    retry_after=1,
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return await self._first(asked, claim, work)

    async def _first(
        self,
        asked: Asked,
        claim: Claim,
        work: Callable[[], Awaitable[Answer | web.StreamResponse]],
    ) -> Answer:
        try:
            async with self._renewed(asked.workspace_id, claim):
                answer = await work()
                if not isinstance(answer, Answer):
                    raise TypeError(f"{asked.route} is idempotent: it cannot answer by a stream")
            data = msgspec.Raw(msgspec.json.encode(answer.data))
        except BaseException:
            await asyncio.shield(self._release(asked.workspace_id, claim))
            raise
        kept = msgspec.json.encode(_Kept(data, answer.headers, list(answer.warnings)))
        try:
            await self._claims.keep(
                asked.workspace_id, claim, _seal(asked, kept), call_id=answer.call_id
            )
        except StoreError as error:  # the work is done, and that is what the client must learn
            log.warning("the answer to %s was not kept: %s", asked.request_id, error)
        return Answer(data, headers=answer.headers, warnings=answer.warnings)

    @contextlib.asynccontextmanager
    async def _renewed(self, workspace_id: str, claim: Claim) -> AsyncIterator[None]:
        renewal = asyncio.create_task(self._renew(workspace_id, claim), name="idempotency-lease")
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    async def _renew(self, workspace_id: str, claim: Claim) -> None:
        while True:
            await asyncio.sleep(self._lease / _RENEWALS)
            try:
                await self._claims.renew(workspace_id, claim, self._lease)
            except StoreError as error:
                log.warning("the claim of %s was not renewed: %s", claim.claimed_by, error)

    async def _release(self, workspace_id: str, claim: Claim) -> None:
        try:
            await self._claims.release(workspace_id, claim)
        except StoreError as error:  # it expires by itself
            log.warning("the claim of %s was not released: %s", claim.claimed_by, error)


def key_of(http: web.Request) -> str | None:
    """The request's key, None where it has none; raises ValidationFailed."""
    given = http.headers.getall(HEADER, [])
    if not given:
        return None
    key = given[0]
    if len(given) > 1 or not (1 <= len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise ValidationFailed(
            f"{HEADER} is one value of 1 to {MAX_KEY} printable ASCII characters.", param=HEADER
        )
    return key


def fingerprint(request: AnyRequest) -> bytes:
    """SHA-256 of what is asked, as it was understood."""
    content = request.body if request.upload is None else request.upload.digest
    parts = (request.http.method, request.http.path, request.query, content)
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).digest()


def _secret(asked: Asked) -> bytes:
    return msgspec.json.encode((asked.workspace_id, asked.route, asked.key))


def _seal(asked: Asked, answer: bytes) -> bytes:
    return _SEAL.close(_secret(asked), answer)


def _replay(asked: Asked, sealed: bytes) -> Answer:
    kept = msgspec.json.decode(_SEAL.open(_secret(asked), sealed), type=_Kept)
    return Answer(kept.data, headers={**kept.headers, REPLAYED: "true"}, warnings=kept.warnings)
