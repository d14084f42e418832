"""Pages of lists: a cursor, an opaque text that nobody can forge, selects a page.

A cursor names the last thing shown, by its id, and is not a count: what is created or deleted
meanwhile neither repeats nor hides anything. It is valid as long as the server's secret is, even
when that last thing has been deleted.
"""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from pipelines.jobs.job import ApiWarning
from store.ids import is_id

from .errors import ValidationFailed
from .fields import DEFAULT_LIMIT, Cursor, Limit
from .operation import Answer

_SIGNATURE_BYTES = 12


class Listed(Protocol):
    """A stored thing of a list; lists are ordered by ids."""

    @property
    def id(self) -> str:
        """Its id, by which the list is ordered."""
        ...


class PageQuery(Struct, kw_only=True):
    """The query of a list with pages; a list with filters extends it."""

    cursor: Cursor | None = None
    limit: Limit = DEFAULT_LIMIT


Item = TypeVar("Item", bound=Listed)


class Cursors:
    """Hides ids in cursors. ``secret``: 32 random bytes, the same on every node."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def encode(self, id: str, /) -> str:
        """The cursor after ``id``."""
        return _text(self._signature(id.encode()) + id.encode())

    def decode(self, text: str, /) -> str:
        """The id in a cursor; raises ValidationFailed where it is not one of ours."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            signature, id = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:].decode("ascii")
        except (binascii.Error, ValueError) as error:
            raise _unknown() from error
        genuine = hmac.compare_digest(signature, self._signature(id.encode()))
        # the same bytes can be written in several ways; only ours is accepted
        if not (genuine and is_id(id) and _text(raw) == text):
            raise _unknown()
        return id

    async def page(
        self,
        query: PageQuery,
        fetch: Callable[[str | None, int], Awaitable[Sequence[Item]]],
        show: Callable[[Item], Any],
        *,
        warnings: Sequence[ApiWarning] = (),
    ) -> Answer:
        """The page that ``query`` asks for. ``fetch``: at most so many items behind that id (None:
        from the beginning); ``show``: an item as it is shown. Raises ValidationFailed."""
        after = self.decode(query.cursor) if query.cursor is not None else None
        found = await fetch(after, query.limit + 1)
        shown, more = found[: query.limit], len(found) > query.limit
        return Answer(
            [show(item) for item in shown],
            next_cursor=self.encode(shown[-1].id) if more else None,
            has_more=more,
            warnings=warnings,
        )

    def _signature(self, id: bytes) -> bytes:
        return hmac.digest(self._secret, b"cursor " + id, "sha256")[:_SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unknown() -> ValidationFailed:
    return ValidationFailed(
        "The cursor is not valid: send meta.nextCursor of the page before, or none.",
        param="cursor",
        reason="unknown_cursor",
    )
