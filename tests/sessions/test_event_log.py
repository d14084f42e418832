"""Calls as files: written off the loop, read back exactly, damage named."""

import errno
import io
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import Buffer

from sessions import event_log
from sessions.core.commands import PausePlayout, Publish, ResumePlayout
from sessions.core.config import Extension, SessionConfig, SessionKind
from sessions.core.events import (
    AddItem,
    CallStarted,
    ConfigureSession,
    Event,
    HangUp,
    RequestReply,
    Tick,
    TurnScored,
    VoiceWindow,
)
from sessions.core.items import PromptLine
from sessions.core.notices import InputCleared, PlayoutEnded, PlayoutResumed
from sessions.event_log import EventLogError, EventLogWriter, digest, read_event_log

CONFIG = SessionConfig(extensions=frozenset(Extension))


LINES = (PromptLine("system", "Sum up."), PromptLine(item_id="x"))


def written(path: Path, *steps: tuple[Event, float]) -> Path:
    with EventLogWriter(path, "c1", CONFIG) as writer:
        for event, now in steps:
            writer.append(event, now, [])
    assert not writer.incomplete
    return path


def test_a_log_reads_as_it_was_written(tmp_path: Path) -> None:
    events: list[tuple[Event, float]] = [
        (CallStarted(CONFIG), 0.1 + 0.2),
        (VoiceWindow(512, 1 / 3), 1e9 / 7),
        (AddItem("user", "Grüße\n", None, "root"), 2e9),
        (ConfigureSession(SessionConfig(), "e"), 3e9),
        (ConfigureSession(SessionConfig(SessionKind.TRANSCRIPTION, truncation=0.5)), 4e9),
        (RequestReply(prompt=LINES, metadata=(("a", "b"),), out_of_band=True), 5e9),
    ]
    recorded = read_event_log(written(tmp_path / "log", *events))
    assert (recorded.call_id, recorded.config, recorded.complete) == ("c1", CONFIG, True)
    assert [(entry.event, entry.now) for entry in recorded.entries] == events
    assert [entry.line for entry in recorded.entries] == [2, 3, 4, 5, 6, 7]


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1))
def test_floats_come_back_exactly(now: float, probability: float) -> None:
    line = {"t": now, "e": "TurnScored", "turn": 1, "position": 2, "probability": probability}
    plain = event_log._decode("x", 1, event_log._ENCODER.encode(line))
    entry = event_log._entry("x", 1, plain)
    assert (entry.now, entry.event) == (now, TurnScored(1, 2, probability))


def test_a_log_is_private_and_never_overwrites_another(tmp_path: Path) -> None:
    path = written(tmp_path / "log", (HangUp("x"), 1.0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with EventLogWriter(path, "c2", CONFIG) as writer:
        writer.append(HangUp("y"), 1.0, [])
    assert writer.incomplete
    assert path.read_bytes() == before


def test_digests_distinguish_commands() -> None:
    digests = {
        digest([]),
        digest([PausePlayout(1)]),
        digest([PausePlayout(2)]),
        digest([ResumePlayout(1)]),
        digest([PausePlayout(1), ResumePlayout(1)]),
        digest([Publish(PlayoutResumed("r", "i"))]),
        digest([Publish(PlayoutEnded("r", "i"))]),
        digest([Publish(InputCleared())]),
    }
    assert len(digests) == 8
    assert digest([PausePlayout(1)]) == digest((PausePlayout(1),))


def test_a_writer_that_falls_behind_stops_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "QUEUE", 2)
    monkeypatch.setattr(event_log, "BATCH", 1)
    gate = threading.Event()
    encode = event_log.digest

    def slow(commands: object) -> str:
        assert gate.wait(10)
        return encode([])

    monkeypatch.setattr(event_log, "digest", slow)
    writer = EventLogWriter(tmp_path / "log", "c1", CONFIG)
    for number in range(10):
        writer.append(VoiceWindow(number, 0.0), 0.0, [PausePlayout(1)])
    assert writer.incomplete
    gate.set()
    writer.close()
    writer.close()
    recorded = read_event_log(tmp_path / "log")
    assert not recorded.complete
    assert 2 <= len(recorded.entries) <= 3
    assert not any(thread.name == "event-log-c1" for thread in threading.enumerate())


def test_voice_windows_are_handed_over_together_and_the_last_ones_at_the_end(
    tmp_path: Path,
) -> None:
    count = event_log.BATCH + 2
    with EventLogWriter(tmp_path / "log", "c1", CONFIG) as writer:
        for number in range(count):
            writer.append(VoiceWindow(number, 0.0), 0.0, [])
        assert len(writer._batch) == 2
    recorded = read_event_log(tmp_path / "log")
    assert (recorded.complete, len(recorded.entries)) == (True, count)


def test_a_step_waits_for_others_only_while_audio_comes(tmp_path: Path) -> None:
    with EventLogWriter(tmp_path / "log", "c1", CONFIG) as writer:
        waiting = []
        for event, now in (
            (Tick(), 0.0),
            (VoiceWindow(1, 0.0), 1.0),
            (Tick(), 1.5),
            (Tick(), 2.0),
            (Tick(), 2.1),
        ):
            writer.append(event, now, [])
            waiting.append(len(writer._batch))
    assert waiting == [0, 1, 2, 0, 0]


def test_a_log_without_levels_is_readable(tmp_path: Path) -> None:
    path = written(tmp_path / "log", (VoiceWindow(512, 0.5, -20.0), 1.0))
    path.write_text(path.read_text().replace(',"level":-20.0', ""))
    assert read_event_log(path).entries[0].event == VoiceWindow(512, 0.5, None)


def test_a_disk_that_fails_costs_the_log_only(tmp_path: Path) -> None:
    with EventLogWriter(tmp_path / "no" / "folder", "c1", CONFIG) as writer:
        for _ in range(10_000):
            writer.append(HangUp("x"), 0.0, [])
    assert writer.incomplete


def test_a_disk_that_fails_at_the_last_line_costs_the_log_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: Buffer) -> int:
            if b'"end"' in bytes(data):
                raise OSError(errno.ENOSPC, "no space left")
            return super().write(data)

    def opened(handle: int, _mode: str) -> Full:
        os.close(handle)
        return Full()

    monkeypatch.setattr("os.fdopen", opened)
    writer = EventLogWriter(tmp_path / "call.jsonl", "c1", CONFIG)
    writer.close()
    assert writer.incomplete


def test_a_truncated_log_is_read_up_to_its_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "log", (HangUp("a"), 1.0), (HangUp("b"), 2.0))
    whole = path.read_bytes()
    second = whole.index(b'{"t":2.0')
    path.write_bytes(whole[: second + 9])
    recorded = read_event_log(path)
    assert not recorded.complete
    assert [entry.event for entry in recorded.entries] == [HangUp("a")]


@pytest.mark.parametrize(
    ("number", "line", "words"),
    [
        (0, b"", "line 1 is not a JSON object"),
        (0, b"RIFF....WAVE", "line 1 is not a JSON object"),
        (0, b"[]", "line 1 is not a JSON object"),
        (0, b"{}", "not the event log of a call"),
        (0, b'{"log":"blab-call","version":1}', "version 1 of the log format"),
        (0, b'{"log":"blab-call","version":99}', "version 99"),
        (0, b'{"log":"blab-call","version":2}', "the header is damaged"),
        (1, b'{"t":1.0,"e":"HangUp","reason"', "line 2 is not a JSON object"),
        (1, b'{"t":1.0,"e":"\xff","reason":""}', "line 2"),
        (1, b'{"t":"x","e":"HangUp","reason":""}', "line 2"),
        (1, b'{"e":"HangUp","reason":""}', "unknown event or missing field: 't'"),
        (1, b'{"t":1.0,"e":"Sneeze"}', "unknown event or missing field: 'Sneeze'"),
        (1, b'{"t":1.0,"e":"HangUp"}', "HangUp: Object missing required field"),
        (1, b'{"t":1.0,"e":"HangUp","reason":5}', "HangUp: Expected `str`"),
        (1, b'{"t":1.0,"e":"HangUp","reason":"","x":5}', "HangUp has no field x"),
        (1, b'{"end":7}', "should have 7 steps, but it has 0"),
        (2, b'{"end":1}\n{"end":1}', "there are lines after the end"),
    ],
)
def test_damage_is_named_with_its_line(
    tmp_path: Path, number: int, line: bytes, words: str
) -> None:
    path = written(tmp_path / "log", (HangUp("a"), 1.0))
    lines = path.read_bytes().split(b"\n")
    lines[number] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(EventLogError) as caught:
        read_event_log(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    with pytest.raises(EventLogError, match="no complete line"):
        read_event_log(path)


def test_every_line_is_plain_json(tmp_path: Path) -> None:
    path = written(tmp_path / "log", (CallStarted(CONFIG), 0.25))
    header, first, end = map(json.loads, path.read_text().splitlines())
    assert header["call_id"] == "c1"
    assert set(header["config"]["extensions"]) == CONFIG.extensions
    assert (first["t"], first["e"], end) == (0.25, "CallStarted", {"end": 1})
