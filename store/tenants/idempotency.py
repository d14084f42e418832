"""IdempotencyKeys: which request has claimed a key, and the first answer.

A claim is a lease; a row with an answer is not claimed again while it is fresh. A request that has
lost its claim to another changes nothing: every change names ``claimed_by``.
"""

from dataclasses import dataclass

from store.database import Queryable

KEEP_HOURS = 24


@dataclass(frozen=True, slots=True)
class Claim:
    """``key``: SHA-256 of the client's key; ``fingerprint``: SHA-256 of the request's content;
    ``claimed_by``: id of the request that carries it out."""

    route: str
    key: bytes
    fingerprint: bytes
    claimed_by: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is stored under a key. ``answer`` None: the request is still running."""

    fingerprint: bytes
    answer: bytes | None


class IdempotencyKeys:
    """Queries about idempotency keys."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def claim(self, workspace_id: str, claim: Claim, seconds: float) -> bool:
        """Claim a key for ``seconds``; False where it is claimed or answered already. After a claim
        has expired the same request may claim it, after 24 hours any request."""
        made = await self._db.fetchval(
            "INSERT INTO idempotency_keys AS k (workspace_id, route, key, fingerprint, claimed_by,"
            " claimed_until) VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))"
            " ON CONFLICT (workspace_id, route, key) DO UPDATE SET"
            " fingerprint = excluded.fingerprint, claimed_by = excluded.claimed_by,"
            " claimed_until = excluded.claimed_until, answer = NULL, call_id = NULL,"
            " created_at = now()"
            " WHERE k.created_at < now() - make_interval(hours => $7) OR (k.answer IS NULL"
            " AND k.claimed_until < now() AND k.fingerprint = excluded.fingerprint)"
            " RETURNING true",
            workspace_id,
            claim.route,
            claim.key,
            claim.fingerprint,
            claim.claimed_by,
            seconds,
            KEEP_HOURS,
        )
        return bool(made)

    async def find(self, workspace_id: str, claim: Claim) -> Claimed | None:
        """What is stored under the claim's key, whichever request claimed it."""
        row = await self._db.fetchrow(
            "SELECT fingerprint, answer FROM idempotency_keys"
            " WHERE workspace_id = $1 AND route = $2 AND key = $3",
            workspace_id,
            claim.route,
            claim.key,
        )
        return Claimed(**row) if row else None

    async def renew(self, workspace_id: str, claim: Claim, seconds: float) -> bool:
        """Extend a claim to ``seconds`` from now; False where it is lost."""
        tag = await self._db.execute(
            "UPDATE idempotency_keys SET claimed_until = now() + make_interval(secs => $5)"
            " WHERE workspace_id = $1 AND route = $2 AND key = $3 AND claimed_by = $4"
            " AND answer IS NULL",
            workspace_id,
            claim.route,
            claim.key,
            claim.claimed_by,
            seconds,
        )
        return tag == "UPDATE 1"

    async def keep(
        self, workspace_id: str, claim: Claim, answer: bytes, *, call_id: str | None = None
    ) -> bool:
        """Store the answer, and the call that it is about; False where the claim is lost."""
        tag = await self._db.execute(
            "UPDATE idempotency_keys SET answer = $5, call_id = $6"
            " WHERE workspace_id = $1 AND route = $2 AND key = $3 AND claimed_by = $4"
            " AND answer IS NULL",
            workspace_id,
            claim.route,
            claim.key,
            claim.claimed_by,
            answer,
            call_id,
        )
        return tag == "UPDATE 1"

    async def release(self, workspace_id: str, claim: Claim) -> None:
        """Release a claim, if it is still held and unanswered."""
        await self._db.execute(
            "DELETE FROM idempotency_keys WHERE workspace_id = $1 AND route = $2 AND key = $3"
            " AND claimed_by = $4 AND answer IS NULL",
            workspace_id,
            claim.route,
            claim.key,
            claim.claimed_by,
        )
