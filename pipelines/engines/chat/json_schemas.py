"""JSON schemas of clients, made safe for a grammar and for checking what a model wrote.

A client may send any schema. ``bounded`` returns one that llguidance, the grammar engine inside
llama.cpp, compiles quickly and can always satisfy: never stricter than the original, and often
looser. Kept are types, ``properties``, ``required``, ``additionalProperties``, ``items``, ``enum``,
``const``, ``anyOf`` (``oneOf`` as such, ``allOf`` merged), local ``$ref``s (recursive ones too),
bounds of numbers, lengths of texts and lists, ``format`` and plain ``pattern``s. Parts that
contradict themselves, are deeper than ``DEPTH``, or exceed ``NODES`` parts are left open.

https://json-schema.org/draft/2020-12
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

DEPTH = 16
NODES = 1500
SIZE = 48_000
"""Characters of one schema; a larger one is left open."""
KEPT = 20_000
"""Characters of the longest parameters whose schema is cached."""
CHOICES, CHOICE_CHARACTERS = 400, 12_000
BRANCHES = 32
LENGTH = 4000
ITEMS = 200
BIGGEST = 10**12
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_FORMATS = frozenset(
    ("date-time", "date", "time", "email", "uuid", "ipv4", "ipv6", "uri", "hostname")
)
_PATTERN = re.compile(
    r"\^?(?:[A-Za-z0-9 _\-@:;,/#%&=<>!'\"~]|\\[dwsDWS.+*?()|{}\[\]/\\^$\-]|\."
    r"|\[\^?(?:[A-Za-z0-9 _@:;,/#%.+*()=]|\\[dws.\-\[\]/\\]|-)++\]|\((?:\?:)?+|\)|\||[+*?]"
    r"|\{\d{1,3}(?:,\d{0,3})?\})*+\$?"
)
_MOST_PATTERN, _REPEATS = 200, 4
_OWN = ("object", "array", "enum", "const")


def fault(schema: Any) -> tuple[str, str] | None:
    """Where ``schema`` is not a valid JSON schema, and why; None if it is. At most NODES parts are
    checked."""
    waiting: list[tuple[str, Any]] = [("", schema)]
    for _ in range(NODES):
        if not waiting:
            return None
        path, part = waiting.pop()
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            return path, "a schema is an object"
        wrong = _wrong(part)
        if wrong is not None:
            return f"{path}.{wrong[0]}", wrong[1]
        waiting += ((f"{path}.{where}", inner) for where, inner in _inner(part))
    return None


def _wrong(part: Mapping[str, Any]) -> tuple[str, str] | None:
    kinds = part.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in TYPES and (kind is not None or "type" in part):
            return "type", f"a type is one of {', '.join(TYPES)}"
    for key, wanted, described in (
        ("properties", dict, "an object of schemas"),
        ("$defs", dict, "an object of schemas"),
        ("definitions", dict, "an object of schemas"),
        ("required", list, "a list of names"),
        ("enum", list, "a list of values"),
        ("anyOf", list, "a list of schemas"),
        ("oneOf", list, "a list of schemas"),
        ("allOf", list, "a list of schemas"),
        ("$ref", str, "a text"),
        ("pattern", str, "a text"),
    ):
        if key in part and not isinstance(part[key], wanted):
            return key, f"{key} is {described}"
    if not all(isinstance(name, str) for name in part.get("required", ())):
        return "required", "required is a list of names"
    return None


def _inner(part: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = []
    for key in ("properties", "$defs", "definitions"):
        found += [(f"{key}.{name}", inner) for name, inner in part.get(key, {}).items()]
    for key in ("anyOf", "oneOf", "allOf"):
        found += [(f"{key}[{n}]", inner) for n, inner in enumerate(part.get(key, ()))]
    for key in ("items", "additionalProperties"):
        if isinstance(part.get(key), dict):
            found.append((key, part[key]))
    return found


def bounded(schema: Any) -> dict[str, Any]:
    """``schema`` in a form that a grammar accepts; ``{}`` if nothing of it can be kept."""
    try:
        made = _Bounding(schema).whole()
        if len(json.dumps(made)) > SIZE:
            return {}
    except (RecursionError, ValueError, TypeError):
        return {}
    return made


def arguments_schema(parameters: str) -> Mapping[str, Any]:
    """The schema of a tool's arguments, always an object; read-only, because it is cached.
    ``parameters`` as in ToolDefinition; a tool without any accepts none."""
    return (_kept if len(parameters) <= KEPT else _arguments)(parameters)


def _arguments(parameters: str) -> Mapping[str, Any]:
    try:
        given = json.loads(parameters)
    except (ValueError, RecursionError):
        given = None
    if given == {}:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    made = bounded(given)
    if made.get("type") == "object" or "anyOf" in made or "$ref" in made:
        return made
    return {"type": "object"}


_kept = lru_cache(512)(_arguments)


class _Bounding:
    """One run of ``bounded``."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._nodes = 0
        self._definitions: dict[str, Any] = {}
        """Bounded targets of ``$ref``s, by pointer."""
        self._names: dict[str, str] = {}

    def whole(self) -> dict[str, Any]:
        made = self._part(self._root, 0)
        waiting = [pointer for pointer in self._names if pointer not in self._definitions]
        while waiting:
            for pointer in waiting:
                target = _at(self._root, pointer)
                self._definitions[pointer] = self._part(target, 1)
            waiting = [pointer for pointer in self._names if pointer not in self._definitions]
        if not self._names:
            return made
        named = {self._names[pointer]: target for pointer, target in self._definitions.items()}
        bare = {name for name in named if _circles(name, named)}
        if bare:
            named = {name: {} if name in bare else part for name, part in named.items()}
        return {**made, "$defs": named}

    def _part(self, part: Any, depth: int) -> dict[str, Any]:
        self._nodes += 1
        if not isinstance(part, dict) or depth > DEPTH or self._nodes > NODES:
            return {}
        if isinstance(part.get("$ref"), str):
            return self._reference(part["$ref"])
        if isinstance(part.get("allOf"), list):
            part = self._merged(part)
            if "$ref" in part:
                return self._part(part, depth + 1)
        if "const" in part:
            part = {**part, "enum": [part["const"]]}
        kinds = _kinds(part)
        if isinstance(part.get("enum"), list):
            return _enumerated(part["enum"], kinds)
        branches = part.get("anyOf", part.get("oneOf"))
        if isinstance(branches, list) and "properties" not in part and "items" not in part:
            return self._alternatives(
                [
                    {**branch}
                    for branch in branches
                    if branch is not False and isinstance(branch, dict)
                ],
                kinds,
                depth,
            )
        if len(kinds) == 1:
            return self._typed(kinds[0], part, depth)
        if kinds:
            return {"anyOf": [self._typed(kind, part, depth + 1) for kind in kinds]}
        return {}

    def _reference(self, pointer: str) -> dict[str, Any]:
        if not isinstance(_at(self._root, pointer), dict) or len(self._names) >= NODES:
            return {}
        name = self._names.setdefault(pointer, f"d{len(self._names)}")
        return {"$ref": f"#/$defs/{name}"}

    def _merged(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """``part`` with what its ``allOf`` adds, a level of references resolved."""
        others = [inner for inner in part["allOf"][:BRANCHES] if isinstance(inner, dict)]
        own = {key: value for key, value in part.items() if key != "allOf"}
        if len(others) == 1 and isinstance(others[0].get("$ref"), str) and not _says(own):
            return others[0]
        made: dict[str, Any] = {}
        for inner in (*others, own):
            if isinstance(inner.get("$ref"), str):
                target = _at(self._root, inner["$ref"])
                inner = target if isinstance(target, dict) else {}
            for key, value in inner.items():
                if key == "properties" and isinstance(value, dict):
                    made[key] = {**made.get(key, {}), **value}
                elif key == "required" and isinstance(value, list):
                    made[key] = [*made.get(key, []), *value]
                elif key not in ("allOf", "$ref"):
                    made[key] = value
        return made

    def _alternatives(
        self, branches: Sequence[dict[str, Any]], kinds: Sequence[str], depth: int
    ) -> dict[str, Any]:
        if not branches or len(branches) > BRANCHES:
            return self._typed(kinds[0], {}, depth) if len(kinds) == 1 else {}
        for branch in branches:
            if len(kinds) == 1 and not branch.keys() & {"type", "$ref", "anyOf", "allOf", "enum"}:
                branch["type"] = kinds[0]
        made = [self._part(branch, depth + 1) for branch in branches]
        return {} if {} in made else {"anyOf": made}

    def _typed(self, kind: str, part: Mapping[str, Any], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {"type": kind}
        if kind == "object":
            return made | self._object(part, depth)
        if kind == "array":
            low, high = _range(part, "minItems", "maxItems", ITEMS)
            if isinstance(part.get("items"), dict):
                made["items"] = self._part(part["items"], depth + 1)
            return made | _named(("minItems", low), ("maxItems", high))
        if kind == "string":
            return made | _text(part)
        if kind in ("number", "integer"):
            return made | _bounds(part, whole=kind == "integer")
        return made

    def _object(self, part: Mapping[str, Any], depth: int) -> dict[str, Any]:
        given = part.get("properties")
        extra = part.get("additionalProperties")
        if not isinstance(given, dict) or (not given and extra not in (None, False)):
            if isinstance(extra, dict):
                return {"additionalProperties": self._part(extra, depth + 1)}
            return {}
        made = {
            name: self._part(inner, depth + 1)
            for name, inner in given.items()
            if inner is not False
        }
        required = part.get("required")
        names = [name for name in required if name in made] if isinstance(required, list) else []
        found: dict[str, Any] = {"properties": made, "additionalProperties": False}
        return found | ({"required": list(dict.fromkeys(names))} if names else {})


def _kinds(part: Mapping[str, Any]) -> list[str]:
    given = part.get("type")
    kinds = given if isinstance(given, list) else [given]
    found = [kind for kind in kinds if isinstance(kind, str) and kind in TYPES]
    if not found and "type" not in part:
        if isinstance(part.get("properties"), dict):
            found = ["object"]
        elif isinstance(part.get("items"), dict):
            found = ["array"]
    if found and part.get("nullable") is True and "null" not in found:
        found.append("null")
    return list(dict.fromkeys(found))


def _enumerated(values: Sequence[Any], kinds: Sequence[str]) -> dict[str, Any]:
    fit = [value for value in values if not kinds or any(_is(value, kind) for kind in kinds)]
    small = len(fit) <= CHOICES and len(json.dumps(fit)) <= CHOICE_CHARACTERS
    if fit and small:
        return {"enum": fit}
    return {"type": kinds[0]} if len(kinds) == 1 else {}


def _text(part: Mapping[str, Any]) -> dict[str, Any]:
    pattern = part.get("pattern")
    if isinstance(pattern, str) and len(pattern) <= _MOST_PATTERN and _plain(pattern):
        return {"pattern": pattern}
    if part.get("format") in _FORMATS:
        return {"format": part["format"]}
    low, high = _range(part, "minLength", "maxLength", LENGTH)
    return _named(("minLength", low), ("maxLength", high))


def _plain(pattern: str) -> bool:
    """Whether ``pattern`` means the same to every engine, and cannot be expensive."""
    if "(?" in pattern.replace("(?:", "") or _PATTERN.fullmatch(pattern) is None:
        return False
    if len(re.findall(r"\{\d", pattern)) > _REPEATS:
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _range(
    part: Mapping[str, Any], low_key: str, high_key: str, most: int
) -> tuple[int | None, int | None]:
    low, high = (_count(part.get(key), most) for key in (low_key, high_key))
    low = low or None
    if low is not None and high is not None and low > high:
        return None, None
    return low, high


def _count(value: Any, most: int) -> int | None:
    return int(value) if _finite(value) and 0 <= value <= most else None


def _bounds(part: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    made = {
        key: part[key]
        for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        if _finite(part.get(key)) and abs(part[key]) <= BIGGEST
    }
    lows = [made.get("minimum", -math.inf), made.get("exclusiveMinimum", -math.inf)]
    highs = [made.get("maximum", math.inf), made.get("exclusiveMaximum", math.inf)]
    room = min(highs) - max(lows)
    return made if room >= (2 if whole else 1e-3) or _exact(made, whole=whole) else {}


def _exact(made: Mapping[str, Any], *, whole: bool) -> bool:
    """Whether narrow bounds surely leave a value: both are inclusive and whole."""
    low, high = made.get("minimum"), made.get("maximum")
    if len(made) != 2 or low is None or high is None or low > high:
        return False
    return float(low).is_integer() and (whole or float(high).is_integer())


def _named(*pairs: tuple[str, int | None]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None}


def _finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _says(part: Mapping[str, Any]) -> bool:
    """Whether ``part`` restricts anything."""
    return bool(part.keys() & {"type", "properties", "required", "enum", "const", "items", "anyOf"})


def _at(root: Any, pointer: str) -> Any:
    """What a local JSON pointer means; None where there is nothing."""
    if pointer == "#":
        return root
    if not pointer.startswith("#/"):
        return None
    part = root
    for key in pointer[2:].split("/"):
        key = key.replace("~1", "/").replace("~0", "~")
        if isinstance(part, dict):
            part = part.get(key)
        elif isinstance(part, list) and key.isdecimal() and int(key) < len(part):
            part = part[int(key)]
        else:
            return None
    return part


def _circles(name: str, named: Mapping[str, Any]) -> bool:
    """Whether the definition refers to itself without anything in between, or must hold itself."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        for needed in _needs(named.get(current, {})):
            if needed == name:
                return True
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return False


def _needs(part: Mapping[str, Any]) -> set[str]:
    """Definitions without a value of which ``part`` has none."""
    if "$ref" in part:
        return {part["$ref"].removeprefix("#/$defs/")}
    if "anyOf" in part:
        needs = [_needs(branch) for branch in part["anyOf"]]
        return set.union(*needs) if all(needs) else set()
    found: set[str] = set()
    for name in part.get("required", ()):
        found |= _needs(part["properties"].get(name, {}))
    if part.get("minItems"):
        found |= _needs(part.get("items", {}))
    return found


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "integer":
            return _finite(value) and float(value).is_integer()
        case _:
            return _finite(value)


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether ``value`` is one of a ``bounded`` schema's, texts' patterns and formats aside."""
    return _fits(value, schema, schema.get("$defs", {}), 0)


def _fits(value: Any, part: Mapping[str, Any], named: Mapping[str, Any], depth: int) -> bool:
    if depth > 2 * DEPTH:
        return True
    if "$ref" in part:
        target = named.get(part["$ref"].removeprefix("#/$defs/"), {})
        return _fits(value, target, named, depth + 1)
    if "anyOf" in part:
        return any(_fits(value, branch, named, depth + 1) for branch in part["anyOf"])
    if "enum" in part:
        return value in part["enum"]
    if "type" in part and not _is(value, part["type"]):
        return False
    if isinstance(value, dict):
        return _fits_object(value, part, named, depth)
    if isinstance(value, list):
        inside = part.get("minItems", 0) <= len(value) <= part.get("maxItems", math.inf)
        items = part.get("items", {})
        return inside and all(_fits(item, items, named, depth + 1) for item in value)
    if isinstance(value, str):
        return bool(part.get("minLength", 0) <= len(value) <= part.get("maxLength", math.inf))
    if _finite(value):
        above = value >= part.get("minimum", -math.inf) and value > part.get(
            "exclusiveMinimum", -math.inf
        )
        below = value <= part.get("maximum", math.inf) and value < part.get(
            "exclusiveMaximum", math.inf
        )
        return bool(above and below)
    return True


def _fits_object(
    value: Mapping[str, Any], part: Mapping[str, Any], named: Mapping[str, Any], depth: int
) -> bool:
    known = part.get("properties", {})
    extra = part.get("additionalProperties", True)
    if any(name not in value for name in part.get("required", ())):
        return False
    for name, inner in value.items():
        if name in known:
            if not _fits(inner, known[name], named, depth + 1):
                return False
        elif extra is False or (isinstance(extra, dict) and not _fits(inner, extra, named, depth)):
            return False
    return True


def coerced(value: Any, schema: Mapping[str, Any]) -> Any:
    """``value`` with numbers and truth values that were written as texts, and superfluous names
    left out, as far as the schema's own properties say so."""
    known = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(known, dict):
        return value
    keep_all = schema.get("additionalProperties") is not False
    made = {}
    for name, inner in value.items():
        if name in known:
            made[name] = _coerced(inner, known[name])
        elif keep_all:
            made[name] = inner
    return made


def _coerced(value: Any, part: Mapping[str, Any]) -> Any:
    kind = part.get("type")
    if isinstance(value, str) and kind in ("integer", "number", "boolean"):
        try:
            read = json.loads(value.strip().lower())
        except (ValueError, RecursionError):
            return value
        return read if _is(read, str(kind)) else value
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return coerced(value, part) if kind == "object" else value
