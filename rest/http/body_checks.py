"""Everything that is wrong with a decoded body, and the fields in it that nobody reads.

Usually one ``msgspec.convert`` is enough, which stops at the first fault. Only a body that it
refused is checked here member by member, so that its sender can correct everything at once. Only
values with a declared shape are checked: free objects (``dict[str, Any]``) are their owner's
business.
"""

import difflib
import functools
import operator
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import Meta, Struct

from pipelines.jobs.job import MAX_WARNINGS, ApiWarning

from .errors import Fault

MAX_FAULTS = 500
"""In one answer: each text of a batch (200) may have two."""
_MAX_LIST = 2048
"""A longer list is checked as a whole, up to its first fault."""
MAX_MEMBERS = 5000
"""Members that are checked one by one: about 5 ms on the event loop. The rest of a larger body is
checked as a whole and not searched for unknown fields."""
_MAX_NAME = 100
"""Characters of a client's name or value that a message quotes."""
_AT, _KEY_IN = " - at `", "key in "
"""What msgspec writes between a fault and its path, which begins with ``$`` and ends with a
backtick."""
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")
_QUOTED = re.compile(r"`([^`]*)`")
_JSON_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_JSON_NAMES |= {name: name for name in ("null", "array", "object")}
"""Type names that msgspec gives as Python does; other names are quoted."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a value may be. ``struct``/``item``: the shape of an object or of a list's items, where
    it is declared; ``choices``: the accepted values, if they are listed."""

    type: Any
    struct: type[Struct] | None = None
    item: "_Shape | None" = None
    choices: tuple[Any, ...] = ()
    meta: Meta | None = None

    @property
    def nested(self) -> bool:
        """Whether it can contain fields."""
        return self.struct is not None or (self.item is not None and self.item.nested)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    required: bool
    shape: _Shape


@dataclass(slots=True)
class _Budget:
    """How many more members may be checked."""

    left: int = MAX_MEMBERS

    def spend(self) -> bool:
        """Take one; False where none is left."""
        self.left -= 1
        return self.left >= 0


def faults_in(tree: Any, kind: type[Struct], path: str = "") -> list[Fault]:
    """Everything that keeps ``tree`` from being a ``kind``, at most ``MAX_FAULTS``."""
    found: list[Fault] = []
    for fault in _faults(tree, _Shape(kind, struct=kind), path, _Budget()):
        found.append(fault)
        if len(found) == MAX_FAULTS:
            break
    return found


def unknown_in(tree: Any, kind: type[Struct], path: str = "") -> list[ApiWarning]:
    """A warning for each field of ``tree`` that ``kind`` does not have, at every depth; one more
    than ``MAX_WARNINGS`` at most."""
    found: list[ApiWarning] = []
    for place, known in unknown_places(tree, kind, path):
        found.append(unknown_field(place, known))
        if len(found) > MAX_WARNINGS:
            break
    return found


def unknown_places(
    tree: Any, kind: type[Struct], path: str = ""
) -> Iterator[tuple[str, Sequence[str]]]:
    """(path, fields that are known there) of each field of ``tree`` that ``kind`` does not have."""
    yield from _unknown(tree, _Shape(kind, struct=kind), path, _Budget())


def unknown_field(path: str, known: Sequence[str], what: str = "field") -> ApiWarning:
    """The warning that a field, a parameter, … is not one of those that are read."""
    name = path.rpartition(".")[2]
    message = f"{path} is not a {what} of this request and was ignored."
    if meant := difflib.get_close_matches(name, known, n=1):
        message += f" Did you mean {meant[0]!r}?"
    return ApiWarning("unknown_field", message, path)


def fault_of(error: msgspec.ValidationError, path: str = "") -> Fault:
    """msgspec's error as a fault; ``path``: where the value it checked stands."""
    what, at, where = str(error).rpartition(_AT)
    where = where.removeprefix(_KEY_IN)
    if not (at and where.startswith("$") and where.endswith("`")):
        what, where = str(error), "$`"
    place = _joined(path, where[1:-1].lstrip("."))
    if missing := _MISSING.search(what):  # the path is that of its owner
        return Fault(_joined(place, missing["name"]), f"{missing['name']} is required")
    message = _QUOTED.sub(lambda found: _in_json(found[1]), what)
    return Fault(place, message.rstrip("."))


def _in_json(name: str) -> str:
    """Type names as JSON has them; other names are quoted."""
    types = name.split(" | ")
    known = [_JSON_NAMES[one] for one in types if one in _JSON_NAMES]
    return " | ".join(known) if len(known) == len(types) else f"'{name}'"


def shown(value: Any) -> str:
    """A client's value as a message quotes it."""
    text = repr(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _MAX_NAME else f"{text[:_MAX_NAME]}…"


# ---------------------------------------------------------------------- faults


def _faults(tree: Any, shape: _Shape, path: str, budget: _Budget) -> Iterator[Fault]:
    whole = not budget.spend()
    if shape.struct is not None and isinstance(tree, dict) and not whole:
        for field in _fields(shape.struct):
            place = _joined(path, field.name)
            if field.name in tree:
                yield from _faults(tree[field.name], field.shape, place, budget)
            elif field.required:
                yield Fault(place, _missing(field.name, tree, shape.struct))
    elif shape.item is not None and not whole and _fits(tree, shape.meta):
        for index, value in enumerate(tree):
            yield from _faults(value, shape.item, f"{path}[{index}]", budget)
    else:
        try:
            msgspec.convert(tree, shape.type)
        except msgspec.ValidationError as error:
            fault = fault_of(error, path)
            yield fault if fault.path != path else Fault(path, _in_words(tree, shape, fault))


def _missing(name: str, tree: dict[str, Any], kind: type[Struct]) -> str:
    """The message that a field is missing, with the name that was probably sent in its place."""
    known = {field.name for field in _fields(kind)}
    unknown = [named(other) for other in tree if other not in known][:MAX_WARNINGS]
    if meant := difflib.get_close_matches(name, unknown, n=1):
        return f"{name} is required, and {meant[0]!r} is not a field"
    return f"{name} is required"


def _fits(tree: Any, meta: Meta | None) -> bool:
    if not isinstance(tree, list):
        return False
    least = meta.min_length if meta is not None and meta.min_length is not None else 0
    most = meta.max_length if meta is not None and meta.max_length is not None else _MAX_LIST
    return least <= len(tree) <= min(most, _MAX_LIST)


def _in_words(tree: Any, shape: _Shape, fault: Fault) -> str:
    """The fault's message with what would have been accepted."""
    if shape.choices:
        listed = ", ".join(str(choice) for choice in shape.choices)
        return f"{shown(tree)} is not accepted: send one of {listed}"
    meta = shape.meta
    low = meta.ge if meta is not None else None
    if meta is None or low is None:
        return fault.message
    span = f"of at least {low}" if meta.le is None else f"from {low} to {meta.le}"
    if not isinstance(tree, int | float) or isinstance(tree, bool):
        return f"{shown(tree)} is not a number: send one {span}"
    if low <= tree and (meta.le is None or tree <= meta.le):
        return fault.message  # a fraction where a whole number is asked for
    return f"{shown(tree)} is out of range: send a number {span}"


# ---------------------------------------------------------------------- unknown fields


def _unknown(
    tree: Any, shape: _Shape, path: str, budget: _Budget
) -> Iterator[tuple[str, list[str]]]:
    if not budget.spend():
        return
    if shape.struct is not None and isinstance(tree, dict):
        fields = {field.name: field.shape for field in _fields(shape.struct)}
        for name, value in tree.items():
            if name not in fields and value is None:
                continue  # a null asks for nothing: SDKs echo messages with them
            if name not in fields:
                yield _joined(path, named(name)), list(fields)
            elif fields[name].nested:
                yield from _unknown(value, fields[name], _joined(path, name), budget)
    elif shape.item is not None and shape.item.nested and isinstance(tree, list):
        for place, value in enumerate(tree):
            yield from _unknown(value, shape.item, f"{path}[{place}]", budget)


def named(name: str) -> str:
    """A client's name in a path, made safe to store and show."""
    cut = name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in cut)


def _joined(path: str, name: str) -> str:
    return path + name if not path or not name or name.startswith("[") else f"{path}.{name}"


# ---------------------------------------------------------------------- shapes


@functools.cache
def _fields(kind: type[Struct]) -> tuple[_Field, ...]:
    return tuple(
        _Field(field.encode_name, field.required, _shape(field.type))
        for field in msgspec.structs.fields(kind)
    )


def _shape(declared: Any) -> _Shape:
    """The shape of a declared type, without what cannot be sent (UnsetType)."""
    origin = typing.get_origin(declared)
    if origin is typing.Annotated:
        base, *extras = typing.get_args(declared)
        inner = _shape(base)
        meta = next((extra for extra in extras if isinstance(extra, Meta)), inner.meta)
        kept: Any = inner.type
        for extra in extras:
            kept = typing.Annotated[kept, extra]
        return _Shape(
            type=kept,
            struct=inner.struct,
            item=inner.item,
            choices=inner.choices,
            meta=meta,
        )
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(declared) if part is not msgspec.UnsetType]
        shapes = [_shape(part) for part in parts]
        whole: Any = functools.reduce(operator.or_, (shape.type for shape in shapes))
        structs = [shape.struct for shape in shapes if shape.struct is not None]
        return _Shape(
            whole,
            struct=structs[0] if len(structs) == 1 else None,
            item=next((shape.item for shape in shapes if shape.item is not None), None),
            choices=next((shape.choices for shape in shapes if shape.choices), ()),
            meta=next((shape.meta for shape in shapes if shape.meta is not None), None),
        )
    if origin is Literal:
        return _Shape(declared, choices=typing.get_args(declared))
    if origin is list:
        return _Shape(declared, item=_shape(typing.get_args(declared)[0]))
    if isinstance(declared, type) and issubclass(declared, Struct):
        return _Shape(declared, struct=declared)
    return _Shape(declared)
