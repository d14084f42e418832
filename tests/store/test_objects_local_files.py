"""Objects as files of this machine."""

import os
import stat
from pathlib import Path

import pytest

from store.errors import ObjectsUnavailable
from store.objects import PIECE_BYTES, ObjectStore
from tests.support.object_store import keys

KEY = "ws_1/job_1/take.mp3"


def modes(root: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")} | {
        stat.S_IMODE(root.stat().st_mode)
    }


async def test_files_are_private_and_empty_folders_are_removed(tmp_path: Path):
    root = tmp_path / "made" / "here"
    store = ObjectStore.open(f"file://{root}")
    before = os.umask(0)
    try:
        await store.put(KEY, b"audio")
    finally:
        os.umask(before)
    assert modes(root) == {0o600, 0o700}
    assert list((root / "staging").iterdir()) == []
    await store.delete([KEY])
    assert {path.name for path in root.iterdir()} == {"staging"}
    assert await store.presigned(KEY, 60) is None


async def test_a_write_that_fails_leaves_nothing(tmp_path: Path):
    store = ObjectStore.open(f"file://{tmp_path}/objects")
    await store.put("a", b"1")
    with pytest.raises(ObjectsUnavailable):
        await store.put("a/b", b"2")  # a file is no folder
    assert await keys(store) == {"a"}


async def test_a_reader_during_a_replacement_reads_the_old_bytes(tmp_path: Path):
    store = ObjectStore.open(f"file://{tmp_path}/objects")
    old = os.urandom(4 * PIECE_BYTES)
    await store.put(KEY, old)
    reading = await store.read(KEY)
    read = [await anext(reading.pieces)]
    await store.put(KEY, b"new")
    read += [piece async for piece in reading.pieces]
    assert b"".join(read) == old
