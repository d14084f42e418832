"""Artifacts: what users sent and what jobs made, bytes and records together.

The order of writing is fixed, so that a crash at any moment leaves no record without its bytes:
bytes first, then the record; when deleting, the record first, then the bytes. A crash may leave
bytes without a record, which nobody can reach and the cleanup deletes after a day.

A job's artifacts have keys made of its id and a name, so a job that runs twice replaces what it
made. An object taken in gets a new key, belongs to no job until one claims it, and is deleted if
none does. Objects are deleted with their job.
"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from pipelines.jobs.job import JobFailed, JobRun
from store.database import Database
from store.disposition import disposition, plain_filename
from store.errors import StoreRefused
from store.ids import new_id
from store.objects import ObjectStore, is_key
from store.tenants.jobs import Jobs
from store.tenants.objects import NewObject, Objects, StoredObject

MAX_READ_BYTES = 64 * 1024 * 1024
"""The largest object that ``read`` takes into memory."""


class Artifacts:
    """Stores, finds and deletes objects. May be shared; all methods raise StoreError."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._objects = Objects(database)
        self._jobs = Jobs(database)
        self._store = store

    async def store(
        self,
        workspace_id: str,
        job_id: str,
        name: str,
        path_or_bytes: Path | bytes,
        content_type: str,
        *,
        duration_ms: int | None = None,
        kind: str = "artifact",
    ) -> str:
        """Store what a job made; returns its key. ``name``: a file name of letters, digits and
        ``._-``, as offered for download; the job's older artifact of that name is replaced."""
        new = NewObject(
            key=f"{workspace_id}/{job_id}/{name}",
            kind=kind,
            content_type=content_type,
            filename=name,
            size_bytes=await _size(path_or_bytes),
            duration_ms=duration_ms,
            job_id=job_id,
        )
        return await self._write(workspace_id, new, path_or_bytes)

    async def take_in(
        self,
        workspace_id: str,
        kind: str,
        path_or_bytes: Path | bytes,
        *,
        content_type: str,
        filename: str,
        duration_ms: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> str:
        """Store something that belongs to no job yet, such as an upload; returns its key.

        ``filename``: the sender's own, with any characters."""
        new = NewObject(
            key=f"{workspace_id}/{kind}/{new_id('obj')}",
            kind=kind,
            content_type=content_type,
            filename=plain_filename(filename),
            size_bytes=await _size(path_or_bytes),
            duration_ms=duration_ms,
            details=details or {},
        )
        return await self._write(workspace_id, new, path_or_bytes)

    async def store_of_call(
        self,
        workspace_id: str,
        call_id: str,
        name: str,
        path: Path,
        content_type: str,
        *,
        duration_ms: int | None = None,
    ) -> str:
        """Store a file of a call's recording, with which it is deleted; returns its key."""
        new = NewObject(
            key=f"{workspace_id}/{call_id}/{name}",
            kind="recording",
            content_type=content_type,
            filename=f"{call_id}-{name}",
            size_bytes=await _size(path),
            duration_ms=duration_ms,
            call_id=call_id,
        )
        return await self._write(workspace_id, new, path)

    async def find(self, workspace_id: str, key: str) -> StoredObject | None:
        """An object's record; None if the workspace has none with that key, valid or not."""
        if not is_key(key):
            return None
        return await self._objects.get(workspace_id, key)

    async def claim(
        self, workspace_id: str, key: str, job_id: str, *, connection: Any = None
    ) -> bool:
        """Give an object that belongs to no job to one, with which it will be deleted; in the
        transaction of ``connection``, if given. False if there is no such object, or if it is
        another job's."""
        if not is_key(key):
            return False
        objects = self._objects if connection is None else Objects(connection)
        return await objects.claim(workspace_id, key, job_id)

    async def fetch(self, workspace_id: str, key: str, path: Path) -> StoredObject:
        """Write an object's bytes into a new file; raises LookupError if there is none."""
        found = await self._known(workspace_id, key)
        reading = await self._store.read(key)
        file = await asyncio.to_thread(path.open, "wb")
        try:
            async for piece in reading.pieces:
                await asyncio.to_thread(file.write, piece)
        finally:
            await asyncio.to_thread(file.close)
        return found

    async def fetch_in_job(self, run: JobRun, key: str, path: Path, what: str) -> None:
        """As ``fetch``, for a job's source; raises JobFailed, naming ``what``, if it is gone."""
        try:
            await self.fetch(run.workspace_id, key, path)
        except LookupError as error:
            raise JobFailed("NOT_FOUND", f"The {what} does not exist any more.") from error

    async def keep_json(
        self, run: JobRun, value: Any, *, member: str, key_member: str, name: str, limit: int
    ) -> dict[str, Any]:
        """A member of a job's output with ``value`` in it, or, if that has more than ``limit``
        bytes as JSON, one with the key of an artifact ``name``."""
        content = await asyncio.to_thread(msgspec.json.encode, value)
        if len(content) <= limit:
            return {member: value}
        key = await self.store(run.workspace_id, run.id, name, content, "application/json")
        return {key_member: key}

    async def read(self, workspace_id: str, key: str) -> bytes:
        """The bytes of a small object; raises LookupError if there is none, ValueError if it is
        longer than ``MAX_READ_BYTES``."""
        found = await self._known(workspace_id, key)
        if found.size_bytes > MAX_READ_BYTES:
            raise ValueError(f"{found.size_bytes} bytes are too many to read at once")
        reading = await self._store.read(key)
        return b"".join([piece async for piece in reading.pieces])

    async def delete_job(self, workspace_id: str, job_id: str) -> int | None:
        """Delete a job that has ended, with its items and everything that they made and consumed;
        returns the number of objects. None, and nothing is deleted, where there is no such job, or
        it or an item of it is active, perhaps because somebody is retrying it at this moment."""
        items = await self._jobs.children(workspace_id, job_id)
        ids = [job_id, *(item.id for item in items)]
        keys = await self._objects.keys_of_jobs(workspace_id, ids)
        if not await self._jobs.delete(workspace_id, job_id):
            return None
        await self._store.delete(keys)
        return len(keys)

    async def delete(self, workspace_id: str, key: str) -> bool:
        """Delete an object; False if the workspace has no such object."""
        if not is_key(key) or not await self._objects.delete(workspace_id, key):
            return False
        await self._store.delete([key])
        return True

    async def _known(self, workspace_id: str, key: str) -> StoredObject:
        found = await self.find(workspace_id, key)
        if found is None:
            raise LookupError("the workspace has no such object")
        return found

    async def _write(self, workspace_id: str, new: NewObject, content: Path | bytes) -> str:
        shown = disposition(new.filename)
        if isinstance(content, Path):
            await self._store.put_file(
                new.key, content, content_type=new.content_type, disposition=shown
            )
        else:
            await self._store.put(
                new.key, content, content_type=new.content_type, disposition=shown
            )
        try:
            await self._objects.put(workspace_id, new)
        except StoreRefused:  # its job or workspace was deleted meanwhile
            await self._store.delete([new.key])
            raise
        return new.key


async def _size(content: Path | bytes) -> int:
    if isinstance(content, Path):
        return (await asyncio.to_thread(content.stat)).st_size
    return len(content)
