"""Frames contain every byte once, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.formats import Framer


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 17))
def test_every_byte_comes_out_once_in_frames_of_one_size(pushes, size):
    framer = Framer(size)
    frames = [frame for push in pushes for frame in framer.push(push)]
    pending = framer.pending
    last = framer.flush(b"\x55")
    joined = b"".join(pushes)
    assert all(len(frame) == size for frame in frames)
    assert b"".join(frames) + last[:pending] == joined
    assert pending < size
    assert last[pending:] == b"\x55" * (len(last) - pending)
    assert framer.pending == 0


def test_clear_forgets_the_incomplete_frame():
    framer = Framer(4)
    assert list(framer.push(memoryview(b"abcdef"))) == [b"abcd"]
    framer.clear()
    assert framer.flush() == b""


def test_a_frame_needs_a_size():
    with pytest.raises(ValueError, match="positive size"):
        Framer(0)
