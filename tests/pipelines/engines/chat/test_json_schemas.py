"""Any schema is reduced to one that is small, satisfiable and not stricter."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.chat.json_schemas import (
    CHOICES,
    NODES,
    SIZE,
    arguments_schema,
    bounded,
    coerced,
    fault,
    fits,
)

TEXT: dict[str, Any] = {"type": "string"}
WHOLE: dict[str, Any] = {"type": "integer"}


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"type": "object", "properties": {"a": made}}
    return made


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (True, {}),
        ({"type": "string", "minLength": 2, "maxLength": 1}, TEXT),
        ({**TEXT, "pattern": "^[a-z]{2}$", "maxLength": 9}, {**TEXT, "pattern": "^[a-z]{2}$"}),
        ({"type": "string", "pattern": "(?=x)"}, TEXT),
        ({"type": "string", "pattern": "(["}, TEXT),
        ({"type": "string", "pattern": "(?:" * 60 + "\x01"}, TEXT),
        ({"type": "string", "pattern": "(?:a|b)+"}, {"type": "string", "pattern": "(?:a|b)+"}),
        ({"type": "string", "format": "email"}, {**TEXT, "format": "email"}),
        ({"type": "integer", "minimum": 5, "maximum": 3}, {"type": "integer"}),
        ({**WHOLE, "minimum": 3, "maximum": 5}, {**WHOLE, "minimum": 3, "maximum": 5}),
        ({**WHOLE, "minimum": 3, "maximum": 3}, {**WHOLE, "minimum": 3, "maximum": 3}),
        ({"type": "number", "multipleOf": 0.1, "minimum": float("inf")}, {"type": "number"}),
        ({"type": ["string", "null"]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"type": "string", "nullable": True}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"type": "string", "enum": ["a", 1]}, {"enum": ["a"]}),
        ({"type": "string", "enum": []}, TEXT),
        ({"enum": [str(n) for n in range(CHOICES + 1)], "type": "string"}, TEXT),
        ({"const": 3}, {"enum": [3]}),
        ({"oneOf": [TEXT, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"anyOf": [{}, TEXT]}, {}),
        ({"not": TEXT}, {}),
        ({"type": "array", "items": TEXT, "uniqueItems": True}, {"type": "array", "items": TEXT}),
        ({"type": "object"}, {"type": "object"}),
        (
            {"type": "object", "additionalProperties": TEXT},
            {"type": "object", "additionalProperties": TEXT},
        ),
        (
            {"properties": {"a": TEXT, "b": False}, "required": ["a", "z", "a"]},
            {
                "type": "object",
                "properties": {"a": TEXT},
                "additionalProperties": False,
                "required": ["a"],
            },
        ),
        (
            {"allOf": [{"properties": {"a": TEXT}}, {"required": ["a"]}], "type": "object"},
            {
                "type": "object",
                "properties": {"a": TEXT},
                "additionalProperties": False,
                "required": ["a"],
            },
        ),
        ({"$ref": "http://example.com/schema"}, {}),
        ({"$ref": "#/$defs/nowhere"}, {}),
        ({"$ref": "#"}, {"$ref": "#/$defs/d0", "$defs": {"d0": {}}}),
    ],
)  # fmt: skip
def test_the_enforced_keywords_are_kept(given: Any, kept: dict[str, Any]) -> None:
    assert bounded(given) == kept
    assert fault(given) is None


def test_a_recursive_schema_stays_recursive() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    made = bounded({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert fits({"next": {"next": {}}}, made)
    assert not fits({"next": {"next": 3}}, made)
    endless = bounded(
        {**node, "required": ["next"], "$defs": {"node": {**node, "required": ["next"]}}}
    )
    assert fits({"next": 3}, endless)  # nothing fits the original


@pytest.mark.parametrize(
    "given",
    [
        nested(3000),
        {"type": "object", "properties": {str(n): {"type": "string"} for n in range(50_000)}},
        {"anyOf": [{"type": "object", "properties": {str(n): TEXT}} for n in range(5000)]},
        {"type": "object", "properties": {"x" * SIZE: TEXT}},
    ],
)
def test_a_huge_schema_is_left_open(given: Any) -> None:
    made = bounded(given)
    assert len(json.dumps(made)) <= SIZE
    assert fits({}, made)


PARTS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(
                ["string", "integer", "number", "null", "odd", ["string", "null"], 3]
            ),
            "enum": st.lists(st.integers(-3, 3) | st.text(max_size=2), max_size=3),
            "pattern": st.sampled_from(["^a+$", "([", "a{5,3}", "(?i)x"]),
            "minimum": st.integers(-5, 5) | st.floats(),
            "maximum": st.integers(-5, 5) | st.booleans(),
            "$ref": st.sampled_from(["#", "#/$defs/a", "#/properties/a", "x"]),
        },
    )
    | st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string"]),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "$defs": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "required": st.lists(st.sampled_from("abz"), max_size=2),
            "items": inner,
            "anyOf": st.lists(inner, max_size=3),
            "allOf": st.lists(inner, max_size=2),
            "additionalProperties": inner,
        },
    ),
    max_leaves=6,
)


@given(schema=PARTS)
def test_reducing_a_schema_is_bounded_and_idempotent(schema: Any) -> None:
    made = bounded(schema)
    assert fault(made) is None
    assert bounded(made) == made or "$defs" in made
    fault(schema)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (3, ""),
        ({"type": "strang"}, ".type"),
        ({"type": None}, ".type"),
        ({"properties": []}, ".properties"),
        ({"properties": {"a": {"type": "list"}}}, ".properties.a.type"),
        ({"anyOf": [TEXT, {"items": {"required": "a"}}]}, ".anyOf[1].items.required"),
        ({"required": [1]}, ".required"),
        ({"$defs": {"a": 1}}, ".$defs.a"),
        ({"additionalProperties": {"enum": "x"}}, ".additionalProperties.enum"),
    ],
)
def test_an_invalid_schema_is_named(given: Any, path: str) -> None:
    found = fault(given)
    assert found is not None
    assert found[0] == path


def test_the_search_for_faults_is_bounded() -> None:
    assert fault({"properties": {str(n): {} for n in range(NODES)} | {"last": 3}}) is not None
    assert fault(nested(100_000)) is None


@pytest.mark.parametrize("parameters", ["", "3", '{"type": "string"}', '{"enum": [1]}', "[]"])
def test_arguments_are_always_an_object(parameters: str) -> None:
    assert arguments_schema(parameters) == {"type": "object"}


def test_a_tool_without_parameters_takes_none() -> None:
    assert not fits({"a": 1}, arguments_schema("{}"))
    assert fits({}, arguments_schema("{}"))


def test_values_are_coerced_if_possible() -> None:
    schema = bounded(
        {
            "type": "object",
            "properties": {
                "n": {"type": "integer"},
                "on": {"type": "boolean"},
                "text": TEXT,
                "in": {"type": "object", "properties": {"x": {"type": "number"}}},
            },
        }
    )
    given = {"n": "4", "on": "True", "text": 3.5, "in": {"x": "1e3", "y": 1}, "more": 1}
    made = coerced(given, schema)
    assert made == {"n": 4, "on": True, "text": "3.5", "in": {"x": 1000.0}}
    assert fits(made, schema)
    assert coerced({"n": "four"}, schema) == {"n": "four"}
