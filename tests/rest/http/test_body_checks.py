"""All faults of a body, with the accepted values; and unknown fields."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType

from rest.http.body_checks import MAX_FAULTS, fault_of, faults_in, unknown_in
from rest.http.errors import Fault


class Leaf(Struct):
    text: Annotated[str, Meta(max_length=5)]
    place: Annotated[int, Meta(ge=0, le=9)] = 0


class Named(Struct, rename="camel"):
    the_name: str


class Tree(Struct, kw_only=True):
    leaves: Annotated[list[Leaf], Meta(min_length=1)] | None = None
    choice: Literal["none", "auto"] | Named | UnsetType = UNSET
    content: str | list[Leaf] = ""
    free: dict[str, Any] = {}
    size: Literal[1, 2] = 1


def said(tree: Any) -> dict[str, str]:
    return {fault.path: fault.message for fault in faults_in(tree, Tree)}


@pytest.mark.parametrize(
    ("tree", "faults"),
    [
        ({"choice": "some"}, {"choice": "'some' is not accepted: send one of none, auto"}),
        ({"choice": {}}, {"choice.theName": "theName is required"}),
        (
            {"choice": {"thename": ""}},
            {"choice.theName": "theName is required, and 'thename' is not a field"},
        ),
        ({"size": "x" * 500}, {"size": f"'{'x' * 99}… is not accepted: send one of 1, 2"}),
        ({"content": [{"text": 1}]}, {"content[0].text": "Expected string, got integer"}),
        ({"content": 5}, {"content": "Expected string | array, got integer"}),
        ({"leaves": []}, {"leaves": "Expected array of length >= 1"}),
        (
            {"leaves": [{"text": "", "place": 10}, {"text": "toolong", "place": 1.5}, 3]},
            {
                "leaves[0].place": "10 is out of range: send a number from 0 to 9",
                "leaves[1].text": "Expected string of length <= 5",
                "leaves[1].place": "Expected integer, got number",
                "leaves[2]": "Expected object, got integer",
            },
        ),
        ({"leaves": [{"text": "", "place": "9"}]}, None),
        ([], {"": "Expected object, got array"}),
        ({"leaves": None, "free": {"any": {"thing": 1}}}, {}),
    ],
)
def test_faults(tree: Any, faults: dict[str, str] | None) -> None:
    if faults is None:
        faults = {"leaves[0].place": "'9' is not a number: send one from 0 to 9"}
    assert said(tree) == faults


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (
            "Expected `int`, got `str` - at `$.a[0].b`",
            Fault("a[0].b", "Expected integer, got string"),
        ),
        ("Expected `str` - at `key in $.a`", Fault("a", "Expected string")),
        ("Expected `str`", Fault("", "Expected string")),
        ("Invalid value ' - at `$x' - at `$.a`", Fault("a", "Invalid value ' - at `$x'")),
        ("Object missing required field `b` - at `$.a`", Fault("a.b", "b is required")),
    ],
)
def test_what_msgspec_says_is_read_from_its_end(error: str, fault: Fault) -> None:
    assert fault_of(msgspec.ValidationError(error)) == fault


def test_the_number_of_faults_is_bounded() -> None:
    assert len(faults_in({"leaves": [{}] * 2000}, Tree)) == MAX_FAULTS


def test_unknown_fields_are_found_behind_unions_and_not_in_free_objects() -> None:
    tree = {
        "Leaves": 1,
        "leaves": [{"text": "", "plaice": 1}],
        "choice": {"theName": "", "the_name": ""},
        "content": [{"text": ""}, {"text": "", "tetx": ""}],
        "free": {"x": {"y": 1}},
        "gone": None,
    }
    found = {one.path: one.message for one in unknown_in(tree, Tree)}
    assert list(found) == ["Leaves", "leaves[0].plaice", "choice.the_name", "content[1].tetx"]
    assert found["leaves[0].plaice"].endswith("Did you mean 'place'?")


def test_a_large_body_is_searched_only_in_part() -> None:
    class Branch(Struct):
        leaves: list[Leaf]

    class Wood(Struct):
        branches: list[Branch]

    leaves = [{"text": ""}] * 2000
    tree = {"branches": [{"leaves": leaves}] * 100 + [{"leaves": [{"txt": ""}]}]}
    assert unknown_in(tree, Wood) == []
    assert [fault.path for fault in faults_in(tree, Wood)] == ["branches[100].leaves[0].text"]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.floats(-1, 3)
    | st.text("auto ", max_size=7),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["leaves", "choice", "content", "free", "size", "text", "place", "theName"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(VALUES)
def test_faults_are_found_exactly_when_decoding_fails(tree: Any) -> None:
    try:
        msgspec.convert(tree, Tree)
    except msgspec.ValidationError:
        assert faults_in(tree, Tree) != []
    else:
        assert faults_in(tree, Tree) == []
        unknown_in(tree, Tree)
