"""Log lines as JSON: one object a line, with the request and the call they belong to."""

import asyncio
import json
import logging
import sys

import pytest

from gateway import logs


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
