"""Log lines as JSON: one object a line, with the request and the call they belong to."""

import asyncio
import json
import logging
import sys

import aiohttp
import pytest

from gateway import logs
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server"]


def line_of(record: logging.LogRecord) -> dict[str, str]:
    text = logs.JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def record(
    message: str, *arguments: object, error: BaseException | None = None
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("gateway.x", logging.WARNING, "x.py", 1, message, arguments, info)


def test_a_line_has_its_time_level_logger_and_message() -> None:
    line = line_of(record('%d calls\nand «quotes"', 3))
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-01-01T00:00:00.000Z")
    del line["time"]
    assert line == {"level": "warning", "logger": "gateway.x", "message": '3 calls\nand «quotes"'}


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        line = line_of(record("it failed", error=error))
    assert line["exception"].endswith("ValueError: wrong")


async def test_tasks_log_for_the_request_and_the_call_that_started_them() -> None:
    async def log() -> dict[str, str]:
        return line_of(record("working"))

    async def call() -> dict[str, str]:
        logs.call_id.set("call_1")
        return await asyncio.create_task(log())

    async def request() -> list[dict[str, str]]:
        logs.request_id.set("req_1")
        return [await asyncio.create_task(call()), await asyncio.create_task(log())]

    of_call, of_request = await asyncio.create_task(request())
    assert (of_call["request_id"], of_call["call_id"]) == ("req_1", "call_1")
    assert of_request["request_id"] == "req_1"
    assert "call_id" not in of_request
    assert "request_id" not in line_of(record("idle"))


@pytest.mark.parametrize("form", logs.FORMATS)
def test_the_format_is_chosen(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        logs.configure("info", form)
        logging.getLogger("gateway.x").info("hello")
    finally:
        root.handlers[:], root.level = kept, level
    printed = capsys.readouterr().err
    assert sys.stderr is not None
    if form == logs.JSON:
        assert json.loads(printed)["message"] == "hello"
    else:
        assert printed.endswith("INFO    gateway.x: hello\n")


class Lines(logging.Handler):
    """Keeps every line as a collector reads it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logs.JsonLines())
        self.lines: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    def of(self, name: str) -> list[dict[str, str]]:
        return [line for line in self.lines if line["logger"] == name]


async def test_a_servers_lines_name_their_request_and_their_call(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kept = Lines()
    logging.getLogger().addHandler(kept)
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/api/none") as answer:
            refused = answer.headers["X-Request-Id"]
        async with server.client() as caller:
            await caller.wait_for("session.created")
        await server.empty()
    finally:
        logging.getLogger().removeHandler(kept)
    requests = kept.of("gateway.access")
    assert requests[0]["request_id"] == refused
    assert "call_id" not in requests[0]
    begins, ends = kept.of("gateway.calls.realtime")
    assert begins["call_id"] in begins["message"]
    assert begins["call_id"] == ends["call_id"]
    assert begins["request_id"] == ends["request_id"] != refused
