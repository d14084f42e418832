"""Whether one OpenAPI 3.0 document contains another: nothing missing, nothing contradicted.

``differences(contract, served)`` reports each difference as a line ``METHOD path: where: what``.
Additions are no differences: further operations, optional parameters and fields, answers, bounds
on lengths and numbers, longer descriptions. What is sent may not be refused more (a field required,
a value less in an enum) nor accepted more (a null) than the contract says; what is answered may not
be more than it says (a null, a value more in an enum).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Schema = dict[str, Any]
Direction = Literal["sent", "answered"]
EXACT = ("type", "format", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
SUCCESS = "2"


def differences(contract: Schema, served: Schema) -> Iterator[str]:
    """Each way in which ``served`` does not contain ``contract``; components come last."""
    for path, methods in contract["paths"].items():
        for method, wanted in methods.items():
            yield from operation_differences(contract, served, method, path, wanted)
    for name, schema in contract["components"]["schemas"].items():
        if name not in served["components"]["schemas"]:
            yield f"component {name}: missing"
            continue
        compared = _Comparison(contract, served, "answered", lenient=False)
        theirs = served["components"]["schemas"][name]
        yield from (f"component {name}: {line}" for line in compared.schema(schema, theirs, ""))


def operation_differences(
    contract: Schema, served: Schema, method: str, path: str, wanted: Schema
) -> Iterator[str]:
    """The differences of one operation of the contract."""
    label = f"{method.upper()} {path}"
    found = served["paths"].get(path, {}).get(method)
    if found is None:
        yield f"{label}: missing"
        return
    compared = _Comparison(contract, served, "sent", lenient=method == "patch")
    lines = [
        *_head(wanted, found),
        *compared.parameters(wanted.get("parameters", []), found.get("parameters", [])),
        *compared.body(wanted.get("requestBody"), found.get("requestBody")),
        *compared.answers(wanted["responses"], found["responses"]),
    ]
    yield from (f"{label}: {line}" for line in lines)


def _head(wanted: Schema, found: Schema) -> Iterator[str]:
    for name in ("summary", "tags", "security"):
        if wanted[name] != found.get(name):
            yield f"{name}: {found.get(name)!r} for {wanted[name]!r}"
    if not found.get("description", "").startswith(wanted.get("description", "")):
        yield f"description: {found.get('description')!r}"


@dataclass
class _Comparison:
    contract: Schema
    served: Schema
    direction: Direction
    lenient: bool
    """Whether fields that the contract requires may be left out (changes of a resource)."""

    def parameters(self, wanted: list[Schema], found: list[Schema]) -> Iterator[str]:
        known = {(one["in"], one["name"]): one for one in found}
        for one in wanted:
            place = (one["in"], one["name"])
            other = known.pop(place, None)
            if other is None:
                yield f"parameter {place}: missing"
                continue
            if one.get("required", False) != other.get("required", False):
                yield f"parameter {place}: required"
            yield from self.schema(one["schema"], other["schema"], f"parameter {place}")
        for place, other in known.items():
            if other.get("required"):
                yield f"parameter {place}: required, and not in the contract"

    def body(self, wanted: Schema | None, found: Schema | None) -> Iterator[str]:
        if wanted is None or found is None:
            if wanted is not found:
                yield "body: only in one of them"
            return
        if wanted["required"] != found.get("required", False):
            yield "body: required"
        yield from self.contents(wanted["content"], found["content"], "body")

    def answers(self, wanted: dict[str, Schema], found: dict[str, Schema]) -> Iterator[str]:
        answered = _Comparison(self.contract, self.served, "answered", lenient=False)
        for status, one in wanted.items():
            if status not in found:
                yield f"answer {status}: missing"
                continue
            other = self.resolved(self.served, found[status])
            if status.startswith(SUCCESS) and one["description"] != other["description"]:
                yield f"answer {status}: description {other['description']!r}"
            content = one.get("content", {})
            yield from answered.contents(content, other.get("content", {}), f"answer {status}")
        for status in found:
            if status.startswith(SUCCESS) and status not in wanted:
                yield f"answer {status}: not in the contract"

    def contents(
        self, wanted: dict[str, Schema], found: dict[str, Schema], where: str
    ) -> Iterator[str]:
        if wanted and set(wanted) != set(found):
            yield f"{where}: {sorted(found)} for {sorted(wanted)}"
            return
        for media, one in wanted.items():
            yield from self.schema(one["schema"], found[media]["schema"], where)

    def schema(self, wanted: Schema, found: Schema, where: str) -> Iterator[str]:
        wanted = self.merged(self.contract, wanted)
        found = self.merged(self.served, found)
        for name in EXACT:
            if name in wanted and wanted[name] != found.get(name):
                yield f"{where}: {name} {found.get(name)!r} for {wanted[name]!r}"
        kept = self.lenient and "default" not in found  # what is left out stays as it is
        if "default" in wanted and wanted["default"] != found.get("default") and not kept:
            yield f"{where}: default {found.get('default')!r} for {wanted['default']!r}"
        if wanted.get("description", "") not in found.get("description", ""):
            yield f"{where}: description {found.get('description')!r}"
        yield from self._values(wanted, found, where)
        yield from self._properties(wanted, found, where)
        for name in ("items", "additionalProperties"):
            if isinstance(wanted.get(name), dict):
                yield from self.schema(wanted[name], found.get(name, {}), f"{where}[]")

    def _values(self, wanted: Schema, found: Schema, where: str) -> Iterator[str]:
        accepted, here = set(wanted.get("enum", ())), set(found.get("enum", ()))
        fewer = self.direction == "answered" and bool(here) and here < accepted
        if "enum" in wanted and here != accepted and not fewer:
            yield f"{where}: enum {found.get('enum')!r} for {wanted['enum']!r}"
        if "enum" in found and "enum" not in wanted and self.direction == "sent":
            yield f"{where}: enum {found['enum']!r} where the contract has none"
        if wanted and found.get("nullable", False) and not wanted.get("nullable", False):
            yield f"{where}: null"
        if self.direction == "sent" and wanted.get("nullable") and not found.get("nullable"):
            yield f"{where}: no null"

    def _properties(self, wanted: Schema, found: Schema, where: str) -> Iterator[str]:
        for name, one in wanted.get("properties", {}).items():
            if name not in found.get("properties", {}):
                yield f"{where}.{name}: missing"
                continue
            yield from self.schema(one, found["properties"][name], f"{where}.{name}")
        required, here = set(wanted.get("required", ())), set(found.get("required", ()))
        if self.direction == "sent" and here - required:
            yield f"{where}: required {sorted(here - required)}, and not in the contract"
        if required - here and not self.lenient:
            yield f"{where}: not required {sorted(required - here)}"

    def merged(self, whole: Schema, schema: Schema) -> Schema:
        """The schema without references and ``allOf``."""
        schema = dict(self.resolved(whole, schema))
        for part in schema.pop("allOf", ()):
            part = self.merged(whole, part)
            properties = {**schema.get("properties", {}), **part.get("properties", {})}
            schema = {**part, **schema, **({"properties": properties} if properties else {})}
        return schema

    def resolved(self, whole: Schema, schema: Schema) -> Schema:
        """What the schema refers to, or itself."""
        while "$ref" in schema:
            node: Any = whole
            for step in schema["$ref"].removeprefix("#/").split("/"):
                node = node[step]
            schema = node
        return schema
