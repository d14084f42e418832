"""Uploads: forms over real connections, well-formed and malformed."""

import asyncio
import contextlib
import gzip
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rest.http.uploads import FORM_BYTES, Upload, UploadLimits, Uploads
from tests.support.examples import examples
from tests.support.rest.job_app import refusals
from tests.support.services import eventually

LIMITS = UploadLimits(max_bytes=1_000_000, stall_seconds=5.0)
BOUNDARY = "xyz"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
FILE_HEAD = 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n'


@dataclass
class Receiver:
    """A server with one operation that takes a file."""

    folder: Path
    limits: UploadLimits
    received: list[Upload] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)
    before_end: Callable[[], Any] = lambda: None
    more: tuple[str, ...] = ()
    url: str = ""
    port: int = 0
    ended: int = 0

    async def handle(self, http: web.Request) -> web.Response:
        try:
            async with self.uploads.receive(http) as upload:
                self.received.append(upload)
                self.content.append(await asyncio.to_thread(upload.path.read_bytes))
                self.mode = stat.S_IMODE(upload.path.stat().st_mode)
                self.before_end()
                return web.json_response({"size": upload.size})
        finally:
            self.ended += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Receiver"]:
        self.uploads = Uploads(self.folder, self.limits, self.more)
        app = web.Application(middlewares=[refusals], client_max_size=1024)
        app.router.add_post("/", self.handle)
        app.cleanup_ctx.append(self.uploads.context)
        async with TestServer(app) as server:
            self.url, self.port = str(server.make_url("/")), server.port or 0
            yield self

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []

    async def post(self, data: Any, **more: Any) -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url, data=data, **more) as answer,
        ):
            return answer.status, await answer.json()

    async def post_raw(self, body: bytes, content_type: str = TYPE) -> tuple[int, str, str]:
        """Status, message and path of the field at fault."""
        status, answer = await self.post(body, headers={"Content-Type": content_type})
        error = answer.get("error") or {"message": "", "details": {"path": ""}}
        return status, error["message"], error["details"]["path"]


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with Receiver(tmp_path / "uploads", LIMITS).running() as running:
        yield running


def form(*parts: tuple[str, bytes], end: str = f"--{BOUNDARY}--\r\n") -> bytes:
    """Parts by their heads and contents."""
    made = b"".join(
        f"--{BOUNDARY}\r\n{head}\r\n".encode("latin-1") + content + b"\r\n"
        for head, content in parts
    )
    return made + end.encode()


def text(name: str, content: bytes) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"\r\n', content


def fields(content: bytes = b"sound", filename: str = "my voice.wav", **texts: str) -> Any:
    data = aiohttp.FormData(quote_fields=False)
    for name, value in texts.items():
        data.add_field(name, value)
    data.add_field("file", content, filename=filename, content_type="audio/wav")
    return data


async def test_a_form_is_received_and_deleted(receiver: Receiver):
    content = os.urandom(900_000)
    data = fields(content, label="Ähm", language="de", model="m", conversationId="c", other="x")
    assert await receiver.post(data) == (200, {"size": 900_000})
    [upload] = receiver.received
    assert receiver.content == [content]
    assert (upload.filename, upload.size) == ("my voice.wav", 900_000)
    assert (upload.model, upload.language, upload.label) == ("m", "de", "Ähm")
    assert upload.conversation_id == "c"
    assert upload.path.parent == receiver.folder
    assert receiver.mode == 0o600
    assert stat.S_IMODE(receiver.folder.stat().st_mode) == 0o700
    assert receiver.left() == []


async def test_fields_that_the_receiver_lists_can_repeat(tmp_path: Path):
    receiver = Receiver(tmp_path / "uploads", LIMITS, more=("parts[]", "format"))
    async with receiver.running():
        for last in ("b", "c"):
            data = fields(model="m")
            for part in ("a", last):
                data.add_field("parts[]", part)
            assert (await receiver.post(data))[0] == 200
    first, second = receiver.received
    assert first.more == {"parts[]": ("a", "b")}
    assert first.model == "m"
    assert first.digest != second.digest


async def test_a_large_file_goes_through_in_little_memory(tmp_path: Path):
    size, piece = 32 * 1024 * 1024, os.urandom(65536)

    async def body() -> AsyncIterator[bytes]:
        yield f"--{BOUNDARY}\r\n{FILE_HEAD}\r\n".encode()
        for _ in range(size // len(piece)):
            yield piece
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    app_side = Receiver(tmp_path / "uploads", UploadLimits())
    digests = []

    async def digest_of(http: web.Request) -> web.Response:
        async with app_side.uploads.receive(http) as upload:
            content = await asyncio.to_thread(upload.path.read_bytes)
            digests.append(hashlib.sha256(content).digest())
            return web.json_response({"size": upload.size})

    app_side.handle = digest_of
    async with app_side.running() as receiver:
        answer = await receiver.post(body(), headers={"Content-Type": TYPE})
    assert answer == (200, {"size": size})
    assert digests == [hashlib.sha256(piece * (size // len(piece))).digest()]


async def test_the_digest_is_of_all_that_counts(receiver: Receiver):
    asked = [
        fields(),
        fields(),
        fields(other="ignored"),
        fields(b"other"),
        fields(filename="b.wav"),
        fields(label="x"),
        fields(language="x"),
        fields(label="x", language="y"),
        fields(language="y", label="x"),
    ]
    for data in asked:
        assert (await receiver.post(data))[0] == 200
    same, again, ignored, *others, one, turned = [upload.digest for upload in receiver.received]
    assert same == again == ignored
    assert one == turned
    assert len({same, one, *others}) == len(others) + 2


@pytest.mark.parametrize(
    ("filename", "plain"),
    [
        ("../../etc/passwd", "passwd"),
        ("ü\u202e.wav", "ü.wav"),
        ("x" * 400 + ".wav", "x" * 196 + ".wav"),
        ("", "upload"),
    ],
)
async def test_names_of_files_are_made_plain(receiver: Receiver, filename: str, plain: str):
    head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
    body = form((head.encode().decode("latin-1"), b"sound"))
    assert (await receiver.post_raw(body))[0] == 200
    assert receiver.received[0].filename == plain


async def test_a_name_in_broken_unicode_is_made_whole(receiver: Receiver):
    head = 'Content-Disposition: form-data; name="file"; filename="\xff\xfe.wav"\r\n'
    assert (await receiver.post_raw(form((head, b"sound"))))[0] == 200
    receiver.received[0].filename.encode()


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (form(text("label", b"x")), "file", "missing"),
        (form((FILE_HEAD, b"")), "file", "empty"),
        (form((FILE_HEAD, b"1"), (FILE_HEAD, b"2")), "file", "one file at a time"),
        (form(text("label", b"a\0b"), (FILE_HEAD, b"1")), "label", "NUL"),
        (form(text("label", b"\xff"), (FILE_HEAD, b"1")), "label", "UTF-8"),
        (form(text("model", b"x" * 201), (FILE_HEAD, b"1")), "model", "longer than 200"),
        (form(text("model", b"x" * 50_000), (FILE_HEAD, b"1")), "model", "longer than 200"),
        (form(text("language", b"a"), text("language", b"b")), "language", "more than once"),
        (form(*[text("x", b"1")] * 101), "body", "more than 100 parts"),
        (form(("Content-Type: multipart/mixed; boundary=b\r\n", b"--b--")), "body", "within"),
        (b"", "body", "well-formed"),
        (b"no form at all", "body", "well-formed"),
        (form((FILE_HEAD, b"1"), end=""), "body", "well-formed"),
        (form((FILE_HEAD, b"1"), end="--other--\r\n"), "body", "well-formed"),
        (form(("Content-Disposition: \0\r\n", b"1")), "body", "well-formed"),
        (form(("Content-Disposition: form-data; name\r\n", b"1")), "body", "well-formed"),
        (form(("X: " + "y" * 20_000 + "\r\n", b"1")), "body", "well-formed"),
        (form(("no header\r\n", b"1")), "body", "well-formed"),
        (form(text("_charset_", b"\xff"), (FILE_HEAD, b"1")), "body", "well-formed"),
        (form(text("_charset_", b"x" * 40), (FILE_HEAD, b"1")), "body", "well-formed"),
    ],
)
async def test_forms_that_are_refused(receiver: Receiver, body: bytes, field: str, message: str):
    status, reason, path = await receiver.post_raw(body)
    assert (status, path) == (400, field)
    assert message in reason
    assert receiver.received == []
    assert receiver.left() == []


async def test_only_forms_are_accepted(receiver: Receiver):
    for content_type in ("application/json", "multipart/mixed; boundary=b", "audio/wav"):
        status, _, path = await receiver.post_raw(b"{}", content_type)
        assert (status, path) == (415, "body")
    status, message, _ = await receiver.post_raw(b"{}", "multipart/form-data")
    assert (status, "well-formed" in message) == (400, True)
    status, message, _ = await receiver.post_raw(b"", f"multipart/form-data; boundary={'b' * 99}")
    assert (status, "well-formed" in message) == (400, True)


async def test_a_text_of_200_characters_of_any_kind_is_taken(receiver: Receiver):
    assert (await receiver.post(fields(label="😀" * 200)))[0] == 200
    assert receiver.received[0].label == "😀" * 200


# ---------------------------------------------------------------------- too much


async def test_an_upload_that_declares_too_much_is_not_read(receiver: Receiver):
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    length = LIMITS.max_bytes + FORM_BYTES + 1
    writer.write(
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\n"
        f"Content-Length: {length}\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    assert answer.startswith(b"HTTP/1.1 413 ")
    writer.close()
    assert receiver.left() == []


@pytest.mark.parametrize("name", ["file", "other"])
async def test_an_upload_over_the_limit_is_refused_as_it_arrives(receiver: Receiver, name: str):
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield f"--{BOUNDARY}\r\n".encode() + text(name, b"")[0].encode() + b"\r\n"
        while True:
            sent += 65536
            yield b"\0" * 65536

    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    writer.write(
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
    )
    sending = asyncio.create_task(send(writer, endless()))
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    await eventually(lambda: receiver.left() == [])


async def send(writer: asyncio.StreamWriter, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()


async def test_a_file_of_exactly_the_limit_is_taken(receiver: Receiver):
    assert (await receiver.post(fields(b"x" * LIMITS.max_bytes)))[0] == 200
    status, answer = await receiver.post(fields(b"x" * (LIMITS.max_bytes + 1)))
    assert (status, answer["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_file_that_unpacks_beyond_the_limit_is_refused(receiver: Receiver):
    body = form((FILE_HEAD, b"\0" * 50_000_000))
    headers = {"Content-Type": TYPE, "Content-Encoding": "gzip"}
    status, answer = await receiver.post(gzip.compress(body, 1), headers=headers)
    assert (status, answer["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert receiver.left() == []


@pytest.mark.parametrize("header", ["Content-Encoding: gzip", "Content-Transfer-Encoding: base64"])
async def test_encoded_parts_are_refused(receiver: Receiver, header: str):
    status, message, _ = await receiver.post_raw(form((f"{FILE_HEAD}{header}\r\n", b"AAAA")))
    assert (status, receiver.left()) == (415, [])
    assert message == f"Encoded parts are not read: send them without {header.split(':')[0]}."


PART_HEADS = ["Content-Disposition: form-data; name=", "Content-Type: ", "X-A", ": ", "\r\n", '"']


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([f"--{BOUNDARY}\r\n", f"--{BOUNDARY}--", "\r\n\r\n", FILE_HEAD]).map(
            str.encode
        )
        | st.sampled_from(PART_HEADS).map(str.encode),
        max_size=12,
    )
)
async def test_any_form_is_answered(receiver: Receiver, pieces: list[bytes]):
    status, _, _ = await receiver.post_raw(b"".join(pieces))
    assert status in (200, 400, 413, 415)
    assert receiver.left() == []
    assert (await receiver.post(fields()))[0] == 200


# ---------------------------------------------------------------------- too slow, and gone


@contextlib.asynccontextmanager
async def half_sent(receiver: Receiver) -> AsyncIterator[tuple[Any, Any]]:
    """A connection that has sent half of an upload."""
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    body = form((FILE_HEAD, b"x" * 500_000))
    writer.write(
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    writer.write(body[:250_000])
    await writer.drain()
    yield reader, writer
    writer.close()


async def test_a_client_that_stops_sending_is_refused(tmp_path: Path):
    limits = UploadLimits(max_bytes=1_000_000, stall_seconds=0.2)
    async with Receiver(tmp_path / "uploads", limits).running() as receiver:
        async with half_sent(receiver) as (reader, _):
            answer = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"Nothing arrived for 0.2 seconds" in answer
        assert receiver.left() == []


async def test_a_client_that_sends_too_slowly_is_refused(tmp_path: Path):
    limits = UploadLimits(max_bytes=1_000_000, stall_seconds=0.3, min_rate=100_000)
    async with Receiver(tmp_path / "uploads", limits).running() as receiver:
        async with half_sent(receiver) as (reader, writer):
            dripping = asyncio.create_task(drip(writer))
            answer = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"more slowly than 100000 bytes per second" in answer
        assert receiver.left() == []


async def drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 200)
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_an_upload_that_takes_too_long_is_refused(tmp_path: Path):
    limits = UploadLimits(max_bytes=1_000_000, whole_seconds=0.2)
    async with Receiver(tmp_path / "uploads", limits).running() as receiver:
        async with half_sent(receiver) as (reader, _):
            answer = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert receiver.left() == []


async def test_the_file_of_a_client_that_is_gone_is_deleted(receiver: Receiver):
    async with half_sent(receiver) as (_, writer):
        await eventually(lambda: len(receiver.left()) == 1)
        writer.transport.abort()
    await eventually(lambda: receiver.ended == 1)
    assert receiver.left() == []
    assert receiver.received == []


async def test_a_handler_that_is_cancelled_or_fails_leaves_no_file(receiver: Receiver):
    def fail() -> None:
        raise web.HTTPGone

    receiver.before_end = fail
    async with (
        aiohttp.ClientSession() as session,
        session.post(receiver.url, data=fields()) as answer,
    ):
        assert answer.status == 410
    assert receiver.left() == []

    def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    receiver.before_end = cancel
    async with aiohttp.ClientSession() as session:
        with contextlib.suppress(aiohttp.ClientError):
            await session.post(receiver.url, data=fields())
    await eventually(lambda: receiver.ended == 2)
    await eventually(lambda: receiver.left() == [])


async def test_uploads_beyond_the_limit_are_refused_for_now(tmp_path: Path):
    limits = UploadLimits(max_bytes=1_000_000, at_once=1)
    async with Receiver(tmp_path / "uploads", limits).running() as receiver:
        async with half_sent(receiver):
            await eventually(lambda: len(receiver.left()) == 1)
            status, answer = await receiver.post(fields())
            assert (status, answer["error"]["details"]["retryAfter"]) == (503, 10)
        await eventually(lambda: receiver.ended == 2)
        assert (await receiver.post(fields()))[0] == 200


async def test_a_full_disk_is_an_outage(tmp_path: Path):
    (tmp_path / "uploads").write_bytes(b"a file where the folder should be")
    app = Receiver(tmp_path / "uploads" / "in", LIMITS)
    async with app.running() as receiver:
        status, answer = await receiver.post(fields())
    assert (status, answer["error"]["code"]) == (503, "MODEL_UNAVAILABLE")


async def test_leftovers_of_a_crash_are_deleted(tmp_path: Path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name, days in (("upload-old", 2), ("upload-young", 0), ("other", 2)):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (time.time() - days * 86400,) * 2)
    async with Receiver(folder, LIMITS).running() as receiver:
        assert receiver.left() == ["other", "upload-young"]
