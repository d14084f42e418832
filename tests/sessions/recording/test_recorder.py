"""The recorder: both tracks on one axis, what was taken back cut out, and the call never waits."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from media.formats import HEARING_RATE
from pipelines.engines.scripted.live import tone
from sessions.core.commands import Publish, StartReply
from sessions.core.config import Recording, SessionConfig
from sessions.core.events import CallStarted, HangUp, VoiceWindow
from sessions.core.items import ReplyStatus
from sessions.core.notices import ReplyDone
from sessions.event_log import read_event_log
from sessions.recording import recorder as module
from sessions.recording.parts import AGENT_TRACK, CALLER_TRACK, EVENTS, FILES, Part, PartRecord
from sessions.recording.recorder import AGENT_RATE, CallRecorder

WINDOW = 512
SECONDS = WINDOW / HEARING_RATE
START = 1_000.0
CONFIG = SessionConfig()
RECORD = PartRecord("ws_1", "call_1", 2, 0)


class Recorded:
    """A part that is recorded, by hand."""

    def __init__(self, folder: Path, config: SessionConfig = CONFIG) -> None:
        self.part = Part.create(folder, RECORD)
        self.recorder = CallRecorder(self.part, config)
        self.now, self.position = START, 0
        self.recorder.stepped(CallStarted(config), self.now, [])

    def hear(self, pcm: bytes) -> None:
        """The caller's audio, in real time."""
        for start in range(0, len(pcm) - 2 * WINDOW + 1, 2 * WINDOW):
            self.now += SECONDS
            self.position += WINDOW
            self.recorder.hear(pcm[start : start + 2 * WINDOW])
            self.recorder.stepped(VoiceWindow(self.position, 0.9), self.now, [])

    def end(self) -> PartRecord:
        self.recorder.stepped(HangUp("bye"), self.now, [])
        self.recorder.ended("bye")
        self.recorder.close()
        return self.part.record

    def track(self, kind: str) -> np.ndarray:
        resampler = av.AudioResampler("s16", "mono", HEARING_RATE)
        with av.open(str(self.part.file(kind))) as opened:
            made = [one for frame in opened.decode(audio=0) for one in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in made]).astype(float)


def loud(track: np.ndarray, begins: float, ends: float) -> bool:
    part = track[int(begins * HEARING_RATE) : int(ends * HEARING_RATE)]
    return bool(np.sqrt((part**2).mean()) > 1_000)


def test_both_tracks_have_one_axis(tmp_path: Path) -> None:
    made = Recorded(tmp_path)
    made.hear(bytes(2 * HEARING_RATE) + tone(440, HEARING_RATE, HEARING_RATE))
    for frame in range(75):
        pcm = tone(700, 480, AGENT_RATE)
        made.recorder.played(pcm, AGENT_RATE, None if frame else made.now)
    made.hear(bytes(2 * HEARING_RATE))
    made.recorder.taken_back(12_000)  # half a second of it was not heard
    made.hear(bytes(4 * HEARING_RATE))
    record = made.end()
    assert (record.complete, record.withheld) == (True, False)
    assert record.duration_ms == made.position * 1000 // HEARING_RATE
    caller, agent = made.track(CALLER_TRACK), made.track(AGENT_TRACK)
    assert abs(len(caller) - made.position) < 480
    assert abs(len(agent) - made.position) < 480
    assert [loud(caller, *span) for span in ((0.1, 0.9), (1.1, 1.9), (2.1, 3))] == [0, 1, 0]
    spans = ((0.1, 1.9), (2.05, 2.93), (3.05, 4))
    assert [loud(agent, *span) for span in spans] == [0, 1, 0]
    log = read_event_log(made.part.file(EVENTS))
    assert (log.call_id, log.complete, len(log.entries)) == (
        "call_1",
        True,
        made.position // 512 + 2,
    )


@pytest.mark.parametrize(
    ("status", "withheld"),
    [(ReplyStatus.COMPLETED, False), (ReplyStatus.CANCELLED, True), (ReplyStatus.FAILED, True)],
    ids=str,
)
def test_without_consent_heard_to_its_end_a_part_is_withheld(
    tmp_path: Path, status: ReplyStatus, withheld: bool
) -> None:
    config = SessionConfig(recording=Recording("It is recorded."))
    made = Recorded(tmp_path, config)
    made.part.save(replace(RECORD, withheld=True))  # as the host does
    order = StartReply(1, 1, "resp_1", "item_1", (), config, "It is recorded.")
    made.recorder.stepped(VoiceWindow(0, 0.0), made.now, [order])
    done = ReplyDone("resp_1", "item_1", status, None, "", "", True)
    made.recorder.stepped(VoiceWindow(0, 0.0), made.now, [Publish(done)])
    other = ReplyDone("resp_2", "item_2", ReplyStatus.COMPLETED, None, "", "", True)
    made.recorder.stepped(VoiceWindow(0, 0.0), made.now, [Publish(other)])
    assert made.end().withheld is withheld


def test_a_process_that_is_killed_leaves_what_it_may(tmp_path: Path) -> None:
    for consent, withheld in (("", False), ("It is recorded.", True)):
        folder = tmp_path / str(withheld)
        config = SessionConfig(recording=Recording(consent))
        part = Part.create(folder, replace(RECORD, withheld=True))
        recorder = CallRecorder(part, config)
        recorder.stepped(CallStarted(config), START, [])
        recorder.ended("bye")
        recorder._queue.put(None)
        recorder._thread.join(10)
        recorder._log.close()
        part.close()  # as the kernel does
        found = Part.found(folder / "call_1.2.json")
        assert found is not None
        assert (found.record.withheld, found.record.duration_ms) == (withheld, None)
        found.close()


def test_a_recorder_that_falls_behind_stops_and_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()
    take: Callable[..., None] = module._Sound.take

    def slow(sound: module._Sound, step: object) -> None:
        go.wait(10)
        take(sound, step)

    monkeypatch.setattr(module, "QUEUE", 2)
    monkeypatch.setattr(module._Sound, "take", slow)
    made = Recorded(tmp_path)
    made.hear(bytes(2 * 512 * module._BATCH * 6))
    assert made.recorder.incomplete
    assert caplog.messages == ["the recording of a call fell behind and is incomplete"]
    go.set()
    record = made.end()
    assert not record.complete
    assert record.duration_ms is not None
    assert 0 < record.duration_ms < made.position * 1000 // HEARING_RATE


def test_a_disk_that_fails_costs_the_recording_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part = Part.create(tmp_path, RECORD)
    part.file(CALLER_TRACK).write_bytes(b"somebody else's")
    part.close()
    found = Part.found(tmp_path / "call_1.2.json")
    assert found is not None
    recorder = CallRecorder(found, SessionConfig())
    recorder.stepped(CallStarted(SessionConfig()), START, [])
    for number in range(100):
        recorder.played(bytes(960), AGENT_RATE, START + number)
    recorder.ended("bye")
    recorder.close()
    assert not found.record.complete
    assert "incomplete" in caplog.text


def test_a_part_has_one_owner(tmp_path: Path) -> None:
    part = Part.create(tmp_path, RECORD)
    path = tmp_path / "call_1.2.json"
    assert Part.found(path) is None
    with pytest.raises(FileExistsError):
        Part.create(tmp_path, RECORD)
    part.close()
    again = Part.found(path)
    assert again is not None
    assert again.record == RECORD
    for kind in FILES:
        again.file(kind).touch()
    again.remove()
    assert list(tmp_path.iterdir()) == []
    assert Part.found(path) is None
    path.write_text("{")
    assert Part.found(path) is None
