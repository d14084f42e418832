"""Blocking generators pulled from the loop: in order, stopped between two steps."""

import asyncio
import contextlib
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from media.files.limits import MediaLimits, MediaTooLong, UnreadableMedia
from pipelines.decoding import carried_out, decoded, pulled
from tests.support.media_files import audio_file, tone


class Steps:
    """Counts to three; ``gate`` holds the second step back until it is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.closed = False
        self.threads: set[int] = set()

    def __call__(self) -> Generator[int, None, str]:
        try:
            for number in range(3):
                self.threads.add(threading.get_ident())
                if number == 1:
                    self.begun.set()
                    self.gate.wait(10)
                yield number
            return "done"
        finally:
            self.closed = True


async def test_a_file_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(audio_file("flac", tone(2.5)))
    pieces = [piece async for piece in decoded(path, 24_000)]
    assert len(pieces) == 3
    assert sum(map(len, pieces)) == 2 * 60_000


async def test_its_errors_come_through(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(b"no sound")
    with pytest.raises(UnreadableMedia):
        [piece async for piece in decoded(path)]
    path.write_bytes(audio_file("wav", tone(2.5)))
    with pytest.raises(MediaTooLong):
        [piece async for piece in decoded(path, limits=MediaLimits(max_seconds=2))]


async def test_steps_run_off_the_loop_and_give_their_result() -> None:
    steps = Steps()
    steps.gate.set()
    assert [number async for number in pulled(steps)] == [0, 1, 2]
    assert await carried_out(steps) == "done"
    assert steps.closed
    assert threading.get_ident() not in steps.threads


async def test_leaving_early_closes_the_generator() -> None:
    steps = Steps()
    async with contextlib.aclosing(pulled(steps)) as numbers:
        assert await anext(numbers) == 0
    assert steps.closed


async def test_cancelling_waits_for_the_step_under_way_and_takes_no_other() -> None:
    steps = Steps()
    task = asyncio.create_task(carried_out(steps))
    await asyncio.to_thread(steps.begun.wait, 10)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.05)
    assert not done
    steps.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.closed
