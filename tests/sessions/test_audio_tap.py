"""What a tap makes of a call's audio."""

import asyncio
import struct
import time

from sessions import audio_tap
from sessions.audio_tap import AGENT, CALLER, MISSING, TAKEN_BACK, AudioTap

HEADER = struct.Struct("!BBHIQ")
FRAME = b"\x01\x00" * 480
"""20 ms at 24 kHz."""


def parts(message: bytes) -> tuple[int, int, int, int, bytes]:
    """Track, flags, rate, time and samples."""
    track, flags, _, rate, at = HEADER.unpack_from(message)
    return track, flags, rate, at, message[HEADER.size :]


async def test_frames_of_a_track_become_one_message() -> None:
    now = asyncio.get_running_loop().time()
    tap = AudioTap(now + 1)
    for number in range(5):
        tap.heard(FRAME, 24_000, now + number * 0.02)
        tap.played(memoryview(FRAME), 24_000, now + 0.2 + number * 0.02)
    caller, agent = map(parts, tap.take())
    assert caller[:3] == (CALLER, 0, 24_000)
    assert agent[:3] == (AGENT, 0, 24_000)
    assert caller[4] == agent[4] == FRAME * 5
    assert agent[3] - caller[3] == 200
    assert abs(caller[3] - time.time() * 1000) < 1000
    assert tap.take() == []


async def test_a_pause_and_another_rate_begin_a_message() -> None:
    now = asyncio.get_running_loop().time()
    tap = AudioTap(now + 1)
    tap.played(FRAME, 24_000, now)
    tap.played(FRAME, 24_000, now + 1.0)
    tap.played(FRAME, 8_000, now + 1.02)
    found = [parts(message) for message in tap.take()]
    assert [(one[2], one[3] - found[0][3]) for one in found] == [
        (24_000, 0),
        (24_000, 1000),
        (8_000, 1020),
    ]


async def test_audio_that_was_taken_back_is_reported_in_its_place() -> None:
    now = asyncio.get_running_loop().time()
    tap = AudioTap(now + 1)
    tap.played(FRAME, 24_000, now + 0.2)
    tap.taken_back(now + 0.1)
    tap.played(FRAME, 24_000, now + 0.5)
    flags = [parts(message)[1] for message in tap.take()]
    assert flags == [0, TAKEN_BACK, 0]


async def test_what_is_too_much_is_dropped_and_reported(monkeypatch) -> None:
    monkeypatch.setattr(audio_tap, "MAX_BYTES", 3 * (HEADER.size + len(FRAME)))
    now = asyncio.get_running_loop().time()
    tap = AudioTap(now + 1)
    for second in range(5):
        tap.played(FRAME, 24_000, now + second)
    found = [parts(message) for message in tap.take()]
    assert [one[1] for one in found] == [MISSING, 0, 0]
    tap.drop()
    tap.played(FRAME, 24_000, now)
    assert [parts(message)[1] for message in tap.take()] == [MISSING]
