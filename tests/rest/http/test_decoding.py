"""Bodies and queries as structs: strict, bounded; unknown fields are reported."""

import io
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import pytest
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from pipelines.jobs.job import MAX_WARNINGS
from rest.accounts.auth import Principal
from rest.http.decoding import MAX_BODY_BYTES
from rest.http.operation import Answer, Operation, Request
from tests.support.rest.api_app import Answered, Client, Listed, ask, serving

JSON = {"Content-Type": "application/json"}


class Nested(Struct):
    id: str
    name: str = ""
    more: "Nested | UnsetType" = UNSET


class Body(Struct, rename="camel"):
    some_text: str
    number: Annotated[float, Meta(ge=0)] = 0
    ratio: Annotated[float, Meta(ge=0.5, le=2)] | UnsetType = UNSET
    kind: Literal["wav", "mp3"] | None = None
    parts: list[dict[str, str]] = []
    nested: Annotated[list[Nested], Meta(max_length=5)] = []
    free: dict[str, Any] = {}


class Query(Struct):
    limit: Annotated[int, Meta(ge=1)] = 1


async def echo(request: Request) -> Answer:
    return Answer({"body": request.body, "query": request.query})


async def text(_request: Request) -> web.Response:
    return web.Response(text="plain")


async def nobody(_: Any) -> Principal:
    return Principal("ws", "user", user_id="usr")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    operations = [
        Operation(
            method="POST",
            path="/x",
            tag="T",
            summary="",
            handler=echo,
            body=Body,
            query=Query,
        ),
        Operation(
            method="POST",
            path="/none",
            tag="T",
            summary="",
            handler=echo,
        ),
        Operation(
            method="POST",
            path="/text",
            tag="T",
            summary="",
            handler=text,
            body=Body,
            media="text/plain",
        ),
    ]
    async with serving([Listed(operations)], nobody) as client:
        yield client


async def send(client: Client, data: bytes | str | io.BytesIO, **headers: str) -> Answered:
    return await ask(client, "POST", "/x", data=data, headers={**JSON, **headers})


async def test_unknown_fields_are_reported_whatever_their_value(client: Client) -> None:
    body = (
        '{"someText": "é", "number": 2, "\\u0000": "\\u0000", "some_text": "b", "none": null,'
        ' "nested": [{"id": "a", "naem": 1}, {"id": "b", "more": {"id": "c", "x": {}}}],'
        ' "free": {"any": 1}}'
    )
    answer = await ask(
        client, "POST", "/x?limit=3&limits=1&limits=2", data=body.encode(), headers=JSON
    )
    assert answer.data["body"]["someText"] == "é"
    assert answer.data["query"] == {"limit": 3}
    warnings = answer.body["meta"]["warnings"]
    assert [(one["code"], one["path"]) for one in warnings] == [
        ("unknown_field", path)
        for path in ("limits", "\ufffd", "some_text", "nested[0].naem", "nested[1].more.x")
    ]
    meant = ["limit", None, "someText", "name", None]
    for warning, name in zip(warnings, meant, strict=True):
        assert warning["message"].endswith(f"Did you mean {name!r}?" if name else "was ignored.")


async def test_a_normal_request_has_no_warnings(client: Client) -> None:
    answer = await send(client, '{"someText": "", "free": {"any": 1}}')
    assert "warnings" not in answer.body["meta"]


async def test_warnings_are_bounded(client: Client) -> None:
    names = ", ".join(f'"{"x" * 1000}{number}": 1' for number in range(100))
    answer = await send(client, f'{{"someText": "", {names}}}')
    warnings = answer.body["meta"]["warnings"]
    assert len(warnings) == MAX_WARNINGS + 1
    assert warnings[-1]["code"] == "more_warnings"
    assert len(answer.raw) < 10_000


async def test_a_body_that_is_not_read_is_reported(client: Client) -> None:
    headers = {**JSON, "Idempotency-Key": "k"}
    answer = await ask(client, "POST", "/none?x=1", data=b"{}", headers=headers)
    codes = [one["code"] for one in answer.body["meta"]["warnings"]]
    assert codes == ["ignored_header", "unknown_field", "ignored_body"]


async def test_a_refusal_warns_too(client: Client) -> None:
    answer = await ask(client, "POST", "/x?limits=1", data=b'{"some_text": "a"}', headers=JSON)
    assert answer.status == 400
    assert [one["path"] for one in answer.body["meta"]["warnings"]] == ["limits", "some_text"]


async def test_warnings_go_into_a_header_without_meta(client: Client) -> None:
    body = b'{"someText": "", "\\"\\r\\n\xc3\xa9": 1}'
    async with client.post("/text", data=body, headers=JSON) as answer:
        (warning,) = answer.headers.getall("Warning")
        assert warning == '299 - "???? is not a field of this request and was ignored."'


async def test_all_faults_are_reported_at_once_with_what_is_accepted(client: Client) -> None:
    body = (
        '{"number": -1, "kind": "gif", "ratio": 7, "parts": [{}, {"a": 1}],'
        ' "nested": [{"id": "a"}, {}, {"id": 5, "name": null}]}'
    )
    refused = await send(client, body)
    assert refused.status == 400
    faults = {one["path"]: one["message"] for one in refused.details["errors"]}
    assert faults == {
        "someText": "someText is required",
        "number": "-1 is out of range: send a number of at least 0",
        "ratio": "7 is out of range: send a number from 0.5 to 2",
        "kind": "'gif' is not accepted: send one of wav, mp3",
        "parts[1][...]": "Expected string, got integer",
        "nested[1].id": "id is required",
        "nested[2].id": "Expected string, got integer",
        "nested[2].name": "Expected string, got null",
    }
    assert refused.details["path"] == "someText"
    assert refused.body["error"]["message"].endswith(" (1 of 8 faults: see details.errors)")


async def test_a_single_fault_is_reported_by_itself(client: Client) -> None:
    refused = await send(client, '{"someText": "", "kind": 3}')
    assert refused.body["error"] == {
        "code": "VALIDATION_ERROR",
        "message": "kind: 3 is not accepted: send one of wav, mp3.",
        "details": {"path": "kind"},
    }


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        ('{"someText": 1}', "someText"),
        ("{}", "someText"),
        ('{"someText": "a\\u0000"}', "someText"),
        ('{"someText": "\\ud800"}', "body"),
        ('{"someText": "", "number": NaN}', "body"),
        ('{"someText": "", "number": 1e999}', "body"),
        ('{"someText": "", "number": -1}', "number"),
        ('{"someText": "", "parts": [{}, {"a": 1}]}', "parts[1][...]"),
        ('{"someText": "", "parts": [{"a": "\\u0000"}]}', "parts[0].a"),
        (b'{"someText": "\xff"}', "body"),
        ("[" * 100_000, "body"),
    ],
)
async def test_bad_fields_are_refused_with_their_path(
    client: Client, data: bytes | str, path: str
) -> None:
    refused = await send(client, data)
    assert (refused.status, refused.details["path"]) == (400, path)


async def test_a_body_is_json_and_says_so(client: Client) -> None:
    none = await ask(client, "POST", "/x")
    other = await send(client, b"{}", **{"Content-Type": "text/plain"})
    assert (none.status, other.status) == (400, 415)
    assert {answer.details["path"] for answer in (none, other)} == {"body"}


async def test_a_body_that_does_not_end_is_refused(client: Client) -> None:
    assert (await send(client, io.BytesIO(b" " * (MAX_BODY_BYTES + 1)))).status == 413


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1.5", "limit=", "limit=1&limit=2"])
async def test_a_query_is_what_it_should_be(client: Client, query: str) -> None:
    refused = await ask(client, "POST", f"/x?{query}", data=b"{}", headers=JSON)
    assert (refused.status, refused.details["path"]) == (400, "limit")


async def test_a_query_says_what_is_accepted(client: Client) -> None:
    refused = await ask(client, "POST", "/x?limit=many", data=b"{}", headers=JSON)
    message = refused.body["error"]["message"]
    assert message == "limit: 'many' is not a number: send one of at least 1."


async def test_a_body_of_too_many_values_is_not_decoded(client: Client) -> None:
    body = b'{"someText": "x", "free": {"a": [' + b"{}," * 30_000 + b"1]}}"
    answer = await send(client, body)
    assert answer.status == 400
    assert "more than 20000 values" in answer.body["error"]["message"]
    text = b'{"someText": "' + b"[{," * 30_000 + b'"}'
    assert (await send(client, text)).status == 200
