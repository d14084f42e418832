"""Reading timelines: whoever leaves stops the reading, too."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rest.resources import call_timeline
from rest.resources.call_timeline import AT_ONCE, TimelineSource, event_log_key
from sessions.event_log import EventLog
from sessions.recording.timeline import Timeline
from store.objects import ObjectStore
from store.tenants.recordings import RecordingPart

PART = RecordingPart(
    call_id="call_1",
    number=1,
    begins_ms=0,
    stored=True,
    duration_ms=None,
    complete=True,
    expires_at=None,
)


async def test_a_reading_that_nobody_waits_for_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = threading.Semaphore(0), threading.Semaphore(0)

    def endless(_log: EventLog, _begins_ms: int, rest: Callable[[], None]) -> Timeline:
        began.release()
        try:
            while True:
                rest()
                time.sleep(0.001)
        finally:
            ended.release()

    monkeypatch.setattr(call_timeline, "read_timeline", endless)
    monkeypatch.setattr(call_timeline, "parse_event_log", lambda _log, _name: None)
    store = ObjectStore.open(tmp_path.as_uri())
    await store.put(event_log_key("ws_1", "call_1", 1), b"{}")
    source = TimelineSource(store)
    for _ in range(2):  # the places are free again
        tasks = [
            asyncio.create_task(source.read("ws_1", "call_1", [PART])) for _ in range(AT_ONCE + 1)
        ]
        for _ in range(AT_ONCE):
            assert await asyncio.to_thread(began.acquire, timeout=10)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        for _ in range(AT_ONCE):
            assert await asyncio.to_thread(ended.acquire, timeout=10)
