"""Downloads of a call: its event logs one behind the other, and everything of it as a ZIP.

A ZIP is made while it is sent: nothing is held but a piece, and the texts. Audio is stored in it,
text is compressed. An object that cannot be read breaks the answer off, so that nobody takes half a
call for the whole. A process sends ``MOST_ZIPS`` at once; further ones are refused.
"""

import asyncio
import logging
import zipfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct

from rest.http.errors import Unavailable
from rest.http.waiting import ClientGone, ClientStream
from store.disposition import disposition
from store.errors import StoreError
from store.objects import ObjectStore
from store.tenants.objects import StoredObject

log = logging.getLogger(__name__)

NDJSON, ZIP = "application/x-ndjson", "application/zip"
MOST_ZIPS = 16
_COMPRESSED = (NDJSON, "text/plain", "application/json")


@dataclass(frozen=True, slots=True)
class ExportedCall:
    """What goes into a ZIP. ``detail`` and ``timeline`` as they are shown; ``files``: what was
    recorded."""

    call_id: str
    detail: Struct
    timeline: Struct | None
    files: Sequence[StoredObject]

    def texts(self) -> dict[str, bytes]:
        """The text files by name. Blocks, for tens of milliseconds where the call was long."""
        detail = _without_urls(msgspec.to_builtins(self.detail))
        texts = {
            "transcript.txt": transcript(detail).encode(),
            "transcript.json": _json(detail),
        }
        if self.timeline is not None:
            texts["timeline.json"] = _json(self.timeline)
        return texts


class _Outlet:
    """Where the archive is written; it cannot go back."""

    def __init__(self) -> None:
        self._made = bytearray()

    def write(self, piece: bytes, /) -> int:
        self._made += piece
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        made = bytes(self._made)
        self._made.clear()
        return made


class CallExport:
    """Sends calls."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._zips = 0

    async def events(self, http: web.Request, keys: Sequence[str]) -> web.StreamResponse:
        """The objects under ``keys``, one behind the other."""
        return await self._send(http, NDJSON, None, self._objects(keys, lines=True))

    async def zip(self, http: web.Request, call: ExportedCall) -> web.StreamResponse:
        """The call as a ZIP; raises Unavailable."""
        if self._zips >= MOST_ZIPS:
            raise Unavailable("Too many calls are being downloaded: try again.", retry_after=10)
        self._zips += 1
        try:
            return await self._send(http, ZIP, f"{call.call_id}.zip", self._archive(call))
        finally:
            self._zips -= 1

    async def _send(
        self,
        http: web.Request,
        content_type: str,
        filename: str | None,
        pieces: AsyncGenerator[bytes, None],
    ) -> web.StreamResponse:
        stream = ClientStream(http, content_type)
        if filename is not None:
            stream.response.headers[hdrs.CONTENT_DISPOSITION] = disposition(
                filename, attachment=True
            )
        try:
            async with aclosing(pieces):
                first = await anext(pieces, b"")  # until here a refusal has a status of its own
                await stream.begin()
                await stream.write(first)
                async for piece in pieces:
                    await stream.write(piece)
            await stream.end()
        except ClientGone:
            pass
        except StoreError as error:
            if not stream.begun:
                raise
            log.warning("the download of a call was cut: %s", type(error).__name__)
            if http.transport is not None:
                http.transport.abort()
        return stream.response

    async def _objects(
        self, keys: Sequence[str], *, lines: bool = False
    ) -> AsyncGenerator[bytes, None]:
        for key in keys:
            reading, last = await self._store.read(key), b"\n"
            async with aclosing(reading.pieces) as pieces:
                async for piece in pieces:
                    yield piece
                    last = piece[-1:]
            if lines and last != b"\n":  # its writer was killed
                yield b"\n"

    async def _archive(self, call: ExportedCall) -> AsyncGenerator[bytes, None]:
        outlet = _Outlet()
        with zipfile.ZipFile(outlet, "w") as archive:
            for name, content in (await asyncio.to_thread(call.texts)).items():
                await asyncio.to_thread(
                    archive.writestr, name, content, compress_type=zipfile.ZIP_DEFLATED
                )
                yield outlet.take()
            for stored in call.files:
                entry = zipfile.ZipInfo(
                    stored.key.rpartition("/")[2], stored.created_at.timetuple()[:6]
                )
                if stored.content_type in _COMPRESSED:
                    entry.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(entry, "w", force_zip64=True) as file:
                    async for piece in self._objects([stored.key]):
                        await asyncio.to_thread(file.write, piece)
                        yield outlet.take()
                yield outlet.take()
        yield outlet.take()


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _without_urls(detail: dict[str, Any]) -> dict[str, Any]:
    """Signed URLs expire; the files are beside it."""
    parts = [
        {name: value for name, value in part.items() if not name.endswith("Url")}
        for part in detail["parts"]
    ]
    turns = [
        {name: value for name, value in turn.items() if not name.endswith("Url")}
        for turn in detail["turns"]
    ]
    return detail | {"parts": parts, "turns": turns}


def transcript(detail: dict[str, Any]) -> str:
    """A call as text, for people: ``detail`` as it is shown."""
    seconds = detail["durationMs"] // 1000
    lines = [
        f"Call {detail['id']}, {detail['startedAt']}, {detail['channel']},"
        f" {seconds // 60} min {seconds % 60} s",
        f"Agent: {detail['agentName'] or detail['agentId'] or 'deleted'}",
        "",
    ]
    for turn in detail["turns"]:
        said, heard = turn["assistantText"].strip(), turn["heardText"].strip()
        if turn["userTranscript"].strip():
            lines.append(f"[{turn['number']}] Caller: {turn['userTranscript'].strip()}")
        if heard:
            lines.append(f"[{turn['number']}] Agent: {heard}")
        if said != heard and said:
            rest = said[len(heard) :].strip() if said.startswith(heard) else said
            lines.append(f"[{turn['number']}] (not heard: {rest})")
    if (left_out := detail["turnCount"] - len(detail["turns"])) > 0:
        lines.append(f"(Further turns, not in this file: {left_out})")
    return "\n".join(lines) + "\n"
