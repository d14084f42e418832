"""The header Range."""

import pytest

from rest.http.errors import RangeNotSatisfiable
from rest.resources.files import read_range


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 100),
        ("bytes=10-19", 10, 20),
        ("bytes=90-1000", 90, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-1000", 0, 100),
        ("BYTES = 5 - 6", 5, 7),
    ],
)
def test_one_range_is_one(header: str, start: int, end: int):
    part = read_range(header, 100)
    assert part is not None
    assert (part.start, part.end, part.length) == (start, end, end - start)
    assert part.content_range == f"bytes {start}-{end - 1}/100"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=9-5",
        "bytes=0-1,5-6",
        "items=0-1",
        "bytes=a-b",
        "bytes=0-1;",
        "bytes=٣-٤",
        "bytes=" + "9" * 30 + "-",
    ],
)
def test_anything_else_is_the_whole_file(header: str | None):
    assert read_range(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=100-", 100),
        ("bytes=100-200", 100),
        ("bytes=-0", 100),
        ("bytes=0-", 0),
        ("bytes=-5", 0),
        ("bytes=9999999999999999999-", 100),
    ],
)
def test_a_range_beyond_the_file_is_refused(header: str, size: int):
    with pytest.raises(RangeNotSatisfiable):
        read_range(header, size)
