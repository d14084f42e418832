"""Tool calls that a small model writes as text, found in the stream of its tokens.

Qwen2.5 writes ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` (the Hermes format); its
smallest sizes forget the tags. Rules: an object at the very beginning, or behind an opening tag,
is a call where it names a tool that was offered; anything else is text, unchanged. Text flows at
once as long as it cannot be the beginning of a tag; an object is held until it ends, at most
``LIMIT`` characters. Behind an object without tags nothing more is read: it is never speech.
"""

import json
from collections.abc import Callable

from .base import ToolCallDelta

OPEN, CLOSE = "<tool_call>", "</tool_call>"
LIMIT = 16_384


class CallReader:
    """Feed text, take text and calls; ``flush`` at the end."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._held = ""
        self._read: Callable[[bool], str | ToolCallDelta] = self._begin
        self._tagged = False
        self._count = 0

    def feed(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """What ``text`` adds: text to be said, whole calls."""
        return self._take(text, last=False)

    def flush(self) -> tuple[str, list[ToolCallDelta]]:
        """What is left when the answer is complete."""
        return self._take("", last=True)

    def _take(self, text: str, *, last: bool) -> tuple[str, list[ToolCallDelta]]:
        self._held += text
        said = ""
        calls: list[ToolCallDelta] = []
        while self._held:
            before = self._held, self._read
            piece = self._read(last)
            if isinstance(piece, str):
                said += piece
            else:
                calls.append(piece)
            if before == (self._held, self._read):
                break
        return said, calls

    def _begin(self, last: bool) -> str:
        """At the very beginning: blanks, then an object, or anything else."""
        start = self._held.lstrip()
        if start or last:
            self._read = self._object if start.startswith("{") else self._text
        return ""

    def _text(self, last: bool) -> str:
        """Text up to the next tag, without what may be the beginning of one."""
        tag = self._held.find(OPEN)
        if tag >= 0:
            said, self._held = self._held[:tag], self._held[tag + len(OPEN) :]
            self._read, self._tagged = self._object, True
            return said
        keep = 0 if last else _begun(self._held, OPEN)
        cut = len(self._held) - keep
        said, self._held = self._held[:cut], self._held[cut:]
        return said

    def _object(self, last: bool) -> str | ToolCallDelta:
        """A call, once it is whole; text where it turns out to be none."""
        start = len(self._held) - len(self._held.lstrip())
        if not last and start == len(self._held) <= LIMIT:
            return ""
        end = _object_end(self._held, start)
        if end is None and not last and self._held[start] == "{" and len(self._held) <= LIMIT:
            return ""
        call = self._call(self._held[:end]) if end is not None else None
        if call is None:
            said = OPEN * self._tagged
            self._read, self._tagged = self._text, False
            cut = end if end is not None else start + 1
            said, self._held = said + self._held[:cut], self._held[cut:]
            return said
        self._held = self._held[end:]
        self._read = self._close if self._tagged else self._nothing
        return call

    def _close(self, last: bool) -> str:
        """Blanks and the closing tag."""
        rest = self._held.lstrip()
        if CLOSE.startswith(rest) and rest != CLOSE and not last:
            return ""
        self._held = rest.removeprefix(CLOSE)
        self._read, self._tagged = self._text, False
        return ""

    def _nothing(self, last: bool) -> str:  # noqa: ARG002 - all are called alike
        self._held = ""
        return ""

    def _call(self, text: str) -> ToolCallDelta | None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        name = value.get("name")
        if not isinstance(name, str) or name not in self._names:
            return None
        index, self._count = self._count, self._count + 1
        arguments = value.get("arguments", value.get("parameters", {}))
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        return ToolCallDelta(index, f"call_{index}", name, arguments)


def _begun(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` begin ``tag``."""
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)


def _object_end(text: str, start: int) -> int | None:
    """Where the JSON object that begins at ``start`` ends; None where it does not (yet)."""
    if not text.startswith("{", start):
        return None
    depth, quoted, escaped = 0, False, False
    for place in range(start, len(text)):
        letter = text[place]
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        elif letter in "{}":
            depth += 1 if letter == "{" else -1
            if not depth:
                return place + 1
    return None
