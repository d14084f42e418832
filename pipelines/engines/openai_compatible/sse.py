"""Server-sent events, sans-I/O: bytes in, the ``data`` of each event out.

As the HTML standard has it (https://html.spec.whatwg.org/multipage/server-sent-events.html),
of which OpenAI's contracts use ``data`` only: lines end in CR, LF or CRLF, an empty line ends an
event, comments and other fields are skipped. An event may hold ``limit`` bytes.
"""

import re

LIMIT = 1 << 20
LINE = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A CR at the very end of what has come may be half of a CRLF: it waits for the next byte."""


class EventTooLong(ValueError):
    """An event grew beyond the limit."""


class EventReader:
    """Takes the body of a response in any pieces."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that ``piece`` completes. Raises EventTooLong."""
        *lines, self._rest = LINE.split(self._rest + piece)
        events = []
        for line in lines:
            if not line and self._data:
                events.append(b"\n".join(self._data).decode("utf-8", "replace"))
                self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
        if self._size + len(self._rest) > self._limit:
            raise EventTooLong(f"an event has more than {self._limit} bytes")
        return events
