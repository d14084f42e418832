"""The order of an endpoint: authentication, authorization, rate, validation, idempotency, work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from msgspec import Struct

from rest.accounts.auth import Principal
from rest.http.endpoint import Endpoint, EndpointOptions
from rest.http.errors import RateLimited, Unauthenticated
from rest.http.operation import Answer, Operation, Request
from rest.http.uploads import Upload
from tests.support.rest.api_app import Listed, ask, serving


class Body(Struct):
    text: str


class Counted:
    """Rates that note who was counted, and let ``left`` through."""

    def __init__(self, left: int = 1000) -> None:
        self.left = left
        self.principals: list[str | None] = []

    async def count(self, http: web.Request, principal: Principal | None) -> None:
        self.principals.append(principal.key_id if principal is not None else None)
        self.left -= 1
        if self.left < 0:
            raise RateLimited("Too many.", retry_after=3)


class Inbox:
    """Uploads that are one file, gone after the request."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "upload"

    @asynccontextmanager
    async def receive(self, http: web.Request) -> AsyncIterator[Any]:
        self.path.write_bytes(await http.read())
        try:
            yield Upload(
                path=self.path,
                filename="a.wav",
                size=5,
                digest=b"d" * 32,
                label="x",
                ignored=("diarize",),
            )
        finally:
            self.path.unlink()


async def authenticate(http: web.Request) -> Principal:
    match http.headers.get("Authorization", "").removeprefix("Bearer "):
        case "key":
            return Principal("ws", "api_key", key_id="key_1", scopes=("tts:read",))
        case "user":
            return Principal("ws", "user", user_id="usr_1")
        case "ephemeral":
            return Principal("ws", "ephemeral")
        case "of our page":
            return Principal("ws", "ephemeral", scopes=("tts:read",))
    raise Unauthenticated("No key.")


async def echo(request: Request) -> Answer:
    return Answer({"text": request.body.text if request.body else None})


def operations(handler: Any = echo) -> list[Operation]:
    return [
        Operation(
            method="POST",
            path="/x",
            tag="T",
            summary="",
            handler=handler,
            scope="tts:read",
            body=Body,
        ),
        Operation(
            method="POST",
            path="/w",
            tag="T",
            summary="",
            handler=handler,
            scope="tts:write",
            body=Body,
        ),
        Operation(
            method="GET",
            path="/open",
            tag="T",
            summary="",
            handler=handler,
            public=True,
        ),
        Operation(
            method="GET",
            path="/any",
            tag="T",
            summary="",
            handler=handler,
            status=202,
        ),
    ]


async def test_scopes_are_compared_exactly() -> None:
    async with serving([Listed(operations())], authenticate) as client:
        body: dict[str, Any] = {"json": {"text": "hi"}}
        assert (await ask(client, "POST", "/x", "key", **body)).data == {"text": "hi"}
        refused = await ask(client, "POST", "/w", "key", **body)
        assert (refused.status, refused.details["reason"]) == (403, "missing_scope")
        assert (await ask(client, "POST", "/w", "user", **body)).status == 200
        for path in ("/x", "/w"):
            assert (await ask(client, "POST", path, "ephemeral", **body)).status == 403
        assert (await ask(client, "GET", "/any", "ephemeral")).status == 403
        assert (await ask(client, "POST", "/x", "of our page", **body)).status == 200
        assert (await ask(client, "POST", "/w", "of our page", **body)).status == 403
        assert (await ask(client, "GET", "/any", "of our page")).status == 202  # like a key
        nobody = await ask(client, "POST", "/x", **body)
        assert (nobody.status, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await ask(client, "GET", "/open")).status == 200
        assert (await ask(client, "GET", "/any", "key")).status == 202


async def test_each_request_counts_once_and_refused_ones_by_address() -> None:
    rates = Counted()
    options = EndpointOptions(rates=rates)
    async with serving([Listed(operations())], authenticate, options) as client:
        for method, path, credential in (
            ("GET", "/any", "key"),
            ("GET", "/any", None),
            ("GET", "/open", None),
            ("POST", "/w", "key"),
        ):
            await ask(client, method, path, credential, json={"text": ""})
    assert rates.principals == ["key_1", None, None, None]


async def test_it_is_counted_before_the_body_is_read_and_nothing_is_done_beyond() -> None:
    done: list[str] = []

    async def handler(request: Request) -> Answer:
        done.append(request.id)
        return Answer({})

    options = EndpointOptions(rates=Counted(left=1))
    async with serving([Listed(operations(handler))], authenticate, options) as client:
        assert (await ask(client, "GET", "/any", "key")).status == 202
        refused = await ask(client, "POST", "/x", "key", json={"wrong": 1})
        assert (refused.status, refused.headers["Retry-After"]) == (429, "3")
        assert refused.body["error"]["code"] == "RATE_LIMITED"
        assert (await ask(client, "POST", "/x", json={"text": ""})).status == 429
    assert len(done) == 1


async def test_an_uploaded_file_lasts_as_long_as_its_handler(tmp_path: Path) -> None:
    async def handler(request: Request) -> Answer:
        return Answer({"size": request.file.path.stat().st_size})

    operation = Operation(
        method="POST",
        path="/up",
        tag="T",
        summary="",
        handler=handler,
        upload=True,
        unused_form=("label",),
    )
    inbox = Inbox(tmp_path)
    options = EndpointOptions(uploads=inbox)
    async with serving([Listed([operation])], authenticate, options) as client:
        answer = await ask(client, "POST", "/up", "key", data=b"12345")
        assert answer.data == {"size": 5}
        assert [one["path"] for one in answer.body["meta"]["warnings"]] == ["diarize", "label"]
        assert not inbox.path.exists()
        assert (await ask(client, "POST", "/up", data=b"12345")).status == 401
    with pytest.raises(ValueError, match="POST /up"):
        Endpoint(operation, authenticate)


def test_a_request_without_caller_or_file_says_so() -> None:
    request = Request(http=SimpleNamespace(), id="req", principal=None, body=None, query=None)
    with pytest.raises(LookupError):
        _ = request.workspace_id
    with pytest.raises(LookupError):
        _ = request.file
