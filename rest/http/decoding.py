"""Request bodies and query strings: read at a pace, counted, decoded into structs.

Rules
- A body is read up to ``MAX_BODY_BYTES``; longer ones are refused before they are read whole, and
  those with more than ``MAX_VALUES`` values before they are decoded. A client that keeps the server
  waiting for a body is refused (``BodyPace``); uploads have limits of their own.
- NaN, infinities, broken UTF-8 and lone surrogates are not JSON; NUL is refused in every string,
  because Postgres cannot store it.
- Unknown fields and parameters are ignored, never stored, and reported with the answer (``warn``).
- Query parameters are text: whole numbers are read from it and nothing else is guessed. A parameter
  that is given twice is refused rather than half used.

Values are counted before decoding because decoding takes time by their number, not by the length
(measured: 15 MB of base64 12 ms, 14 MB of empty objects 225 to 800 ms), and holds the interpreter's
lock, so a thread does not help. The count is a plain search for ``,``, ``[`` and ``{`` outside
strings, slice by slice.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec
import msgspec.inspect
from aiohttp import hdrs, web
from msgspec import Struct

from pipelines.jobs.job import MAX_WARNING_CHARACTERS, MAX_WARNINGS, ApiWarning

from .body_checks import fault_of, faults_in, named, shown, unknown_field, unknown_in
from .errors import (
    OPENAI_PREFIX,
    Fault,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
    ValidationFailed,
)

STALL_SECONDS = 10.0
MIN_RATE = 1000.0
WHOLE_SECONDS = 25.0
"""For bodies that are read whole; below the deadline of requests (gateway.http.middleware), which
would answer that the server was too slow."""

T = TypeVar("T")


class BodyPace:
    """Watches the pace of one body.

    ``stall_seconds``: how long nothing may arrive. ``min_rate``: bytes per second that must arrive
    on average over that much waiting; the time that the server itself takes does not count.
    ``received``: bytes that have arrived so far."""

    def __init__(self, stall_seconds: float, min_rate: float, received: Callable[[], int]) -> None:
        self._stall_seconds = stall_seconds
        self._min_rate = min_rate
        self._received = received
        self._seen = 0
        self._waited = 0.0

    async def keep(self, read: Coroutine[Any, Any, T]) -> T:
        """The result of ``read``; raises RequestTimeout where it takes too long."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._stall_seconds):
                received = await read
        except TimeoutError as error:
            raise RequestTimeout(
                f"Nothing arrived for {self._stall_seconds:g} seconds: send it again.", param="body"
            ) from error
        self._waited += time.monotonic() - began
        if self._waited >= self._stall_seconds:
            total = self._received()
            if total - self._seen < self._min_rate * self._waited:
                raise RequestTimeout(
                    f"The body arrived more slowly than {self._min_rate:g} bytes per second.",
                    param="body",
                )
            self._seen, self._waited = total, 0.0
        return received


async def read_whole(http: web.Request, limit: int) -> bytes:
    """A body of at most ``limit`` bytes.

    Raises PayloadTooLarge, and RequestTimeout where nothing arrives for ``STALL_SECONDS``, fewer
    than ``MIN_RATE`` bytes per second do, or the whole takes longer than ``WHOLE_SECONDS``."""
    too_large = PayloadTooLarge(f"The body is longer than {limit} bytes.", param="body")
    if (http.content_length or 0) > limit:
        raise too_large
    pace = BodyPace(STALL_SECONDS, MIN_RATE, lambda: http.content.total_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(WHOLE_SECONDS):
            while piece := await pace.keep(http.content.readany()):
                body += piece
                if len(body) > limit:
                    raise too_large
    except TimeoutError as error:
        raise RequestTimeout(
            f"The body did not arrive within {WHOLE_SECONDS:g} seconds.", param="body"
        ) from error
    return bytes(body)


SLICE_BYTES = 64 * 1024
"""Counted at once: below 1 ms."""
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def one_long_text() -> AsyncIterator[None]:
    """The turn for a text longer than ``SLICE_BYTES`` to be counted and decoded: first come, first
    served, and the loop does something else in between."""
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with turn:
        yield
        await asyncio.sleep(0)


class ValueCount:
    """Counts the values of a JSON text that is given in slices; the text may be malformed."""

    def __init__(self) -> None:
        self.values = 1
        self._in_string = False
        self._escape = b""

    def add(self, piece: bytes) -> None:
        """Count the values in the next slice."""
        piece = (self._escape + piece).replace(b"\\\\", b"")
        self._escape = b"\\" if piece.endswith(b"\\") else b""
        parts = piece.replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[1 if self._in_string else 0 :: 2])
        self._in_string ^= len(parts) % 2 == 0
        self.values += outside.count(b",") + outside.count(b"[") + outside.count(b"{")


async def holds_more_values(data: bytes, limit: int) -> bool:
    """Whether a JSON text has more than ``limit`` values; other tasks run between the slices."""
    count = ValueCount()
    for start in range(0, len(data), SLICE_BYTES):
        count.add(data[start : start + SLICE_BYTES])
        if count.values > limit:
            return True
        await asyncio.sleep(0)
    return False


S = TypeVar("S", bound=Struct)

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Room for a batch of 200 texts; a single text of 100,000 characters is far below."""
MAX_VALUES = 20_000
"""A batch of 200 items has a few thousand."""
JSON = "application/json"
CHECKED_LATER = "CHECKED_LATER"
"""Class variable of a body: names of the fields that its handler checks itself (``part``)."""
_MAX_HEADERS = 8
"""Clients take about 8 kB of headers."""
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
WARNINGS = web.RequestKey("api_warnings", list[ApiWarning])
"""What was accepted in a request without its full effect."""


async def read_json(request: web.Request, kind: type[S], limit: int = MAX_BODY_BYTES) -> S:
    """The body as ``kind``, of at most ``limit`` bytes.

    Raises ValidationFailed, PayloadTooLarge, RequestTimeout or UnsupportedMediaType."""
    if request.content_type != JSON:
        message = f"The body must be JSON: send it with 'Content-Type: {JSON}'."
        if hdrs.CONTENT_TYPE not in request.headers or not request.can_read_body:
            raise ValidationFailed(message, param="body")
        raise UnsupportedMediaType(message, param="body")
    raw = await read_whole(request, limit)
    if len(raw) <= SLICE_BYTES:
        tree = _decoded(raw)
    else:
        async with one_long_text():
            if await holds_more_values(raw, MAX_VALUES):
                message = f"The body holds more than {MAX_VALUES} values: send several requests."
                raise ValidationFailed(message, param="body")
            tree = _decoded(raw)
    warn(request, unknown_in(tree, kind))
    body = convert(tree, kind, "body")
    whole = msgspec.to_builtins(body)
    for name in getattr(kind, CHECKED_LATER, ()):
        whole.pop(name, None)
    refuse_unstorable(whole)
    return body


def read_query(request: web.Request, kind: type[S]) -> S:
    """The query string as ``kind``; raises ValidationFailed."""
    warn_of_names(request, request.query, kind.__struct_encode_fields__, "query parameter")
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given and name in kind.__struct_encode_fields__:
            raise ValidationFailed(f"{name} is given more than once.", param=name)
        given[name] = value
    known = {name: given[name] for name in kind.__struct_encode_fields__ if name in given}
    refuse_unstorable(known)
    numbers = _whole_numbers(kind)
    return convert(
        {name: _read(text) if name in numbers else text for name, text in known.items()},
        kind,
        "query",
    )


def warn_of_names(
    request: web.Request, given: Iterable[str], known: Sequence[str], what: str
) -> None:
    """Warn of the names in ``given`` that are not ``known``; ``what``: what they are names of."""
    names = dict.fromkeys(name for name in given if name not in known)
    warn(request, (unknown_field(named(name), known, what) for name in names))


async def show_warnings(http: web.Request, response: web.StreamResponse) -> None:
    """Write the warnings on an answer that has no ``meta``, a stream or an OpenAI route's, as
    ``Warning: 299 - "…"`` (RFC 7234, and as Kubernetes reports unknown fields); for
    ``Application.on_response_prepare``."""
    if response.content_type == JSON and not http.path.startswith(OPENAI_PREFIX):
        return
    for warning in http.get(WARNINGS, ())[:_MAX_HEADERS]:
        text = warning.message.encode("ascii", "replace").decode()
        plain = re.sub(r"[\x00-\x1f\x7f\\\"]", "?", text[:MAX_WARNING_CHARACTERS])
        response.headers.add("Warning", f'299 - "{plain}"')


def convert(tree: Any, kind: type[S], where: str) -> S:
    """``tree`` as ``kind``; ``where`` is named where the value as a whole is wrong.

    Raises ValidationFailed with everything that is wrong."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise refusal(faults_in(tree, kind) or [fault_of(error)], where) from error
    except RecursionError as error:
        raise ValidationFailed("The body is nested too deeply.", param=where) from error


def part(tree: Any, kind: type[S], path: str) -> S:
    """A part of a body that was not checked with it, as ``kind``; ``path``: where it stands.

    Raises ValidationFailed with everything that is wrong."""
    if not isinstance(tree, dict):
        raise ValidationFailed(f"{path}: Expected object, got {shown(tree)}.", param=path)
    faults = faults_in(tree, kind, path)
    if faults:
        raise refusal(faults, path)
    made = msgspec.convert(tree, kind)
    refuse_unstorable(msgspec.to_builtins(made), path)
    return made


def refusal(faults: Sequence[Fault], where: str) -> ValidationFailed:
    """The refusal for ``faults``: the first one, with all of them in ``details.errors`` where there
    are several."""
    first = faults[0]
    message = f"{first.path or where}: {first.message}."
    if len(faults) > 1:
        message += f" (1 of {len(faults)} faults: see details.errors)"
    return ValidationFailed(message, param=first.path or where, reason=first.reason, faults=faults)


def warn(http: web.Request, warnings: Iterable[ApiWarning]) -> None:
    """Keep warnings for the request's answer, at most ``MAX_WARNINGS`` and one that says there were
    more."""
    kept = http.setdefault(WARNINGS, [])
    for warning in warnings:
        if len(kept) == MAX_WARNINGS:
            warning = ApiWarning("more_warnings", "There are more warnings than are listed here.")
        if len(kept) <= MAX_WARNINGS:
            kept.append(warning)


def refuse_unstorable(tree: Any, path: str = "") -> None:
    """Raise ValidationFailed, naming the path, for NUL, lone surrogates, NaN and infinities;
    ``path``: where ``tree`` stands."""
    for place, leaf in _leaves(tree, path):
        if isinstance(leaf, str):
            if "\0" in leaf:
                raise ValidationFailed("NUL characters are not accepted.", param=place or "body")
            try:
                leaf.encode()
            except UnicodeEncodeError as error:
                raise ValidationFailed(
                    "The text is not valid Unicode.", param=place or "body"
                ) from error
        elif isinstance(leaf, float) and not math.isfinite(leaf):
            raise ValidationFailed("The number is not finite.", param=place or "body")


def _decoded(raw: bytes) -> Any:
    """The tree that a body holds; raises ValidationFailed."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValidationFailed(f"The body is not valid JSON: {error}.", param="body") from error


@cache
def _whole_numbers(kind: type[Struct]) -> frozenset[str]:
    """Names of the fields that hold whole numbers."""
    declared = msgspec.inspect.type_info(kind)
    assert isinstance(declared, msgspec.inspect.StructType)  # noqa: S101 - by the argument's type
    return frozenset(
        field.encode_name
        for field in declared.fields
        if isinstance(field.type, msgspec.inspect.IntType)
    )


def _read(text: str) -> int | str:
    """The text as a whole number; the text itself where it is not one."""
    return int(text) if _WHOLE.fullmatch(text) else text


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All leaves, without recursion: the client decides how deeply a body is nested."""
    waiting = [(path, tree)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, dict):
            for name, value in node.items():
                yield path, name
                waiting.append((f"{path}.{name}" if path else str(name), value))
        elif isinstance(node, list):
            waiting.extend((f"{path}[{place}]", value) for place, value in enumerate(node))
        else:
            yield path, node
