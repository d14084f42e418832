"""Headers that any program reads."""

import struct

from media.files.wave_header import HEADER_BYTES, wave_header


def test_sizes() -> None:
    head = wave_header(24_000, 100)
    assert len(head) == HEADER_BYTES
    assert struct.unpack("<I", head[4:8])[0] == HEADER_BYTES - 8 + 200
    assert struct.unpack("<I", head[40:44])[0] == 200
    assert struct.unpack("<I", head[28:32])[0] == 48_000


def test_what_is_not_known_or_cannot_be_said() -> None:
    for samples in (None, 2**31, 2**40):
        head = wave_header(8_000, samples)
        assert (head[4:8], head[40:44]) == (b"\xff" * 4, b"\xff" * 4)
