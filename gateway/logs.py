"""The log: lines of text for people, or one JSON object a line for collectors.

JSON has ``time`` (RFC 3339, UTC), ``level``, ``logger`` and ``message``; ``process`` where several
share a log; ``request_id`` and
``call_id`` where the line was written on behalf of one (tasks inherit both from the task that
started them); ``exception``, a traceback. What may not be logged (keys, transcripts, audio) is not
filtered here: nothing passes it to a logger.
"""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

import msgspec

TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON)

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
call_id: ContextVar[str | None] = ContextVar("call_id", default=None)


class JsonLines(logging.Formatter):
    """A record as one line of JSON. ``process``: which of several processes writes, or empty."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Runs where the record is made, so the context is that of the code that logs."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, str] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process:
            line["process"] = self._process
        if (request := request_id.get()) is not None:
            line["request_id"] = request
        if (call := call_id.get()) is not None:
            line["call_id"] = call
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        return msgspec.json.encode(line).decode()


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the current ``sys.stderr``, which progress displays replace."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a plain attribute in the base class
        return sys.stderr


def configure(level: str, form: str = TEXT, process: str = "") -> None:
    """Log from ``level`` on to standard error; ``form``: one of FORMATS. ``process``: which of
    several processes this is, shown on every line."""
    handler = _StandardError()
    if form == JSON:
        handler.setFormatter(JsonLines(process))
    else:
        shown = f"[{process}] " if process else ""
        line = f"%(asctime)s %(levelname)-7s {shown}%(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(line))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for noisy in ("aioice", "aiortc", "websockets", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
