"""Bodies and queries as structs: strict, bounded, and deaf to what nobody asked for."""

import io
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from rest.auth import Principal
from rest.decoding import MAX_BODY_BYTES
from rest.operation import Answer, Operation, Request
from tests.rest.api_app import Answered, Client, Listed, ask, serving

JSON = {"Content-Type": "application/json"}


class Body(Struct, rename="camel"):
    some_text: str
    number: Annotated[float, Meta(ge=0)] = 0
    parts: list[dict[str, str]] = []


class Query(Struct):
    limit: Annotated[int, Meta(ge=1)] = 1


async def echo(request: Request) -> Answer:
    return Answer({"body": request.body, "query": request.query})


async def nobody(_: Any) -> Principal:
    return Principal("ws", "user", user_id="usr")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    operation = Operation("POST", "/x", "T", "", echo, body=Body, query=Query)
    async with serving([Listed([operation])], nobody) as client:
        yield client


async def send(client: Client, data: bytes | str | io.BytesIO, **headers: str) -> Answered:
    return await ask(client, "POST", "/x", data=data, headers={**JSON, **headers})


async def test_what_nobody_asked_for_is_ignored_whatever_it_is(client: Client) -> None:
    body = '{"someText": "é", "number": 2, "\\u0000": "\\u0000", "other": {"a": [1e3]}}'
    answer = await ask(client, "POST", "/x?limit=3&x=1&x=2", data=body.encode(), headers=JSON)
    assert answer.data["body"] == {"someText": "é", "number": 2.0, "parts": []}
    assert answer.data["query"] == {"limit": 3}


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
async def test_what_is_wrong_is_refused_with_its_path(
    client: Client, data: bytes | str, path: str
) -> None:
    refused = await send(client, data)
    assert (refused.status, refused.details["path"]) == (400, path)


async def test_a_body_is_json_and_says_so(client: Client) -> None:
    none = await ask(client, "POST", "/x")
    other = await send(client, b"{}", **{"Content-Type": "text/plain"})
    assert (none.status, other.status) == (400, 415)
    assert {answer.details["path"] for answer in (none, other)} == {"body"}


async def test_a_body_has_an_end(client: Client) -> None:
    assert (await send(client, io.BytesIO(b" " * (MAX_BODY_BYTES + 1)))).status == 413


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1.5", "limit=", "limit=1&limit=2"])
async def test_a_query_is_what_it_should_be(client: Client, query: str) -> None:
    refused = await ask(client, "POST", f"/x?{query}", data=b"{}", headers=JSON)
    assert (refused.status, refused.details["path"]) == (400, "limit")
