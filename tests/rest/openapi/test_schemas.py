"""msgspec's schemas in the form of OpenAPI 3.0.3."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from rest.openapi.schemas import fields_of, schemas_of


class Inner(Struct, rename="camel", frozen=True):
    """What ``other_name`` says of ``unknown_thing``."""

    other_name: int


class OuterView(Struct, rename="camel", kw_only=True):
    """The contract's Outer, and more. The rest
    stays.

    Second ``part_one``."""

    part_one: Inner | None
    part_two: Annotated[float, Meta(gt=0, le=4, description="About.", examples=[1.5])] = 2.0
    kind: Literal["b", "a"] = "a"
    text: str | UnsetType = UNSET
    anything: Any = None
    many: list[int | None] = []
    either: int | str | None = None
    named: Inner = Inner(3)


class Query(Struct, kw_only=True):
    cursor: Annotated[str, Meta(max_length=5)] | None = None
    limit: int = 20
    needed: Literal[1, 2]


def test_structs_become_components_under_the_contracts_names() -> None:
    (schema,), components = schemas_of([list[OuterView]])
    assert schema == {"type": "array", "items": {"$ref": "#/components/schemas/Outer"}}
    assert set(components) == {"Outer", "Inner"}
    assert components["Inner"] == {
        "description": "What `otherName` says of `unknown_thing`.",
        "type": "object",
        "properties": {"otherName": {"type": "integer"}},
        "required": ["otherName"],
    }
    assert components["Outer"]["description"] == "The rest stays.\n\nSecond `partOne`."
    assert components["Outer"]["required"] == ["partOne"]


def test_schemas_are_written_as_openapi_3_0() -> None:
    _, components = schemas_of([OuterView])
    inner = {"$ref": "#/components/schemas/Inner"}
    assert components["Outer"]["properties"] == {
        "partOne": {"allOf": [inner], "nullable": True},
        "partTwo": {
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": 4,
            "description": "About.",
            "example": 1.5,
            "default": 2.0,
        },
        "kind": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "text": {"type": "string"},
        "anything": {"default": None},
        "many": {"type": "array", "items": {"type": "integer", "nullable": True}, "default": []},
        "either": {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "nullable": True,
            "default": None,
        },
        "named": {"allOf": [inner], "default": {"otherName": 3}},
    }


def test_a_parameter_that_may_be_left_out_is_not_null() -> None:
    assert fields_of(Query) == [
        ("cursor", {"type": "string", "maxLength": 5}, False),
        ("limit", {"type": "integer", "default": 20}, False),
        ("needed", {"type": "integer", "enum": [1, 2]}, True),
    ]
