"""Objects in a directory and in a bucket behave alike."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import ObjectMissing
from store.objects import PART_BYTES, PIECE_BYTES, ObjectStore, is_key
from tests.support.object_store import content, keys, new_bucket, s3_server

KEY = "ws_1/job_1/take.mp3"
BAD_KEYS = (
    "",
    "/etc/passwd",
    "../x",
    "ws_1/../../x",
    "ws_1//x",
    "ws_1/",
    "ws_1/./x",
    ".hidden",
    "a/.b",
    "a b",
    "a\0b",
    "a\\b",
    "é",
    "a%2fb",
    "a?b",
    "-x",
    "a\n",
    "a" * 501,
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return ObjectStore.open(f"file://{tmp_path}/objects")
    return ObjectStore.open(new_bucket(request.getfixturevalue("endpoint")))


async def test_an_object_is_read_in_pieces_and_ranges(store: ObjectStore, tmp_path: Path):
    data = os.urandom(PART_BYTES * 2 + 12345)
    source = tmp_path / "source"
    source.write_bytes(data)
    await store.put_file(KEY, source, content_type="audio/mpeg")
    whole = await store.read(KEY)
    pieces = [piece async for piece in whole.pieces]
    assert whole.size == len(data)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) < 8 * PIECE_BYTES
    assert await content(store, KEY, 5, 10) == data[5:10]
    assert await content(store, KEY, len(data) - 7) == data[-7:]
    assert await content(store, KEY, len(data) - 7, len(data) + 100) == data[-7:]
    head = await store.head(KEY)
    assert (head.key, head.size) == (KEY, len(data))
    assert head.modified.tzinfo is not None


async def test_writing_again_replaces(store: ObjectStore):
    await store.put(KEY, b"first, and longer")
    await store.put(KEY, b"second")
    assert await content(store, KEY) == b"second"
    assert await keys(store) == {KEY}
    await store.put("ws_1/empty", b"")
    assert await content(store, "ws_1/empty") == b""


async def test_deleting_an_absent_object_succeeds(store: ObjectStore):
    for name in ("a/x", "a/y", "b"):
        await store.put(name, b"1")
    await store.delete(["a/x", "nothing", "a/x/y", "b"])
    assert await keys(store) == {"a/y"}
    await store.delete(["a/y", "a/y"])
    await store.delete([])
    assert await keys(store) == set()


async def test_reading_an_absent_object_raises(store: ObjectStore):
    for ask in (store.head, store.read):
        with pytest.raises(ObjectMissing):
            await ask("ws_1/none")
    with pytest.raises(LookupError):
        await store.read("ws_1/none", 3, 5)


async def test_malformed_keys_are_refused_everywhere(store: ObjectStore, tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"secret")
    for key in (*BAD_KEYS, "../secret", f"{tmp_path}/secret"):
        assert not is_key(key)
        for ask in (
            store.head(key),
            store.read(key),
            store.put(key, b""),
            store.delete(["a", key]),
            store.put_file(key, tmp_path / "secret"),
            store.presigned(key, 5),
        ):
            with pytest.raises(ValueError, match="not a key"):
                await ask
    assert (tmp_path / "secret").read_bytes() == b"secret"
    with pytest.raises(ValueError, match="not a range of bytes"):
        await store.read(KEY, 5, 5)


async def test_a_source_that_is_missing_is_its_own_error(store: ObjectStore, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        await store.put_file(KEY, tmp_path / "none")
    assert await keys(store) == set()
