"""JSON bodies and query strings into structs: strict types, errors that name the field.

Rules
- A body is read up to ``MAX_BODY_BYTES``; longer ones are refused before they are read whole, and
  those of more than ``MAX_VALUES`` values before they are decoded.
- NaN, infinities, broken UTF-8 and lone surrogates are no JSON; NUL is refused in every string,
  because Postgres could not store it.
- Unknown fields and parameters are ignored, never kept, and reported beside the answer (``warn``).
- Query parameters are text: whole numbers are read from it, nothing else is guessed. One
  given twice is refused rather than half used.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
import msgspec.inspect
from aiohttp import hdrs, web
from msgspec import Struct

from pipelines.jobs.job import MAX_WARNING_CHARACTERS, MAX_WARNINGS, ApiWarning

from .body_checks import faults_in, named, shown, told, unknown_field, unknown_in
from .body_pace import read_whole
from .envelope import OPENAI_PREFIX
from .errors import Fault, UnsupportedMediaType, ValidationFailed
from .json_size import SLICE_BYTES, holds_more_values, one_long_text

S = TypeVar("S", bound=Struct)

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A batch of 200 texts with some room; a single text of 100,000 characters is far below."""
MAX_VALUES = 20_000
"""A batch of 200 items has a few thousand."""
JSON = "application/json"
CHECKED_LATER = "CHECKED_LATER"
"""Class variable of a body: names of fields that its handler checks itself (``part``)."""
_MAX_HEADERS = 8
"""Clients take about 8 kB of headers."""
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
WARNINGS = web.RequestKey("api_warnings", list[ApiWarning])
"""What a request was accepted with and did not have its full effect."""


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
    """Report the names among ``given`` that are not ``known``; ``what`` they are of."""
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
    """``tree`` as ``kind``; ``where`` is named when the whole is wrong.

    Raises ValidationFailed with everything that is wrong."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise refusal(faults_in(tree, kind) or [told(error)], where) from error
    except RecursionError as error:
        raise ValidationFailed("The body is nested too deeply.", param=where) from error


def part(tree: Any, kind: type[S], path: str) -> S:
    """A part of a body that was left unchecked, as ``kind``; ``path``: where it stands.

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
    """The first of ``faults``, and where there are more all of them in ``details.errors``."""
    first = faults[0]
    message = f"{first.path or where}: {first.message}."
    if len(faults) > 1:
        message += f" (1 of {len(faults)} faults: see details.errors)"
    return ValidationFailed(message, param=first.path or where, reason=first.reason, faults=faults)


def warn(http: web.Request, warnings: Iterable[ApiWarning]) -> None:
    """Keep warnings for the request's answer, at most ``MAX_WARNINGS`` and one that there were
    more."""
    kept = http.setdefault(WARNINGS, [])
    for warning in warnings:
        if len(kept) == MAX_WARNINGS:
            warning = ApiWarning("more_warnings", "There are more warnings than are listed here.")
        if len(kept) <= MAX_WARNINGS:
            kept.append(warning)


def refuse_unstorable(tree: Any, path: str = "") -> None:
    """Raise ValidationFailed for NUL, lone surrogates and numbers that are none, with the path;
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
    """The whole number that is written; the text itself where it is none."""
    return int(text) if _WHOLE.fullmatch(text) else text


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Without recursion: how deep a body is nested is its sender's choice."""
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
