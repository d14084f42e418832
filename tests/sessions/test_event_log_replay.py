"""A recorded call, run again, gives the same commands."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

from sessions.core.commands import CloseCall
from sessions.core.config import SessionConfig
from sessions.core.events import HangUp
from sessions.event_log import QUEUE, EventLogWriter, replay
from tests.sessions.core.test_conversation_properties import Calls
from tests.support.examples import examples
from tests.support.sessions.model_shell import ModelShell


def record(shell: ModelShell, path: Path) -> None:
    with EventLogWriter(path, shell.core.call_id, SessionConfig()) as writer:
        for event, now, commands in shell.log:
            writer.append(event, now, commands)


def spoken_call() -> ModelShell:
    shell = ModelShell()
    shell.have_spoken()
    shell.silence(500)
    shell.speak(320, "no wait")
    shell.silence(128)
    shell.final("No, wait.", 0.9)
    shell.silence(320)
    shell.feed(HangUp("bye"))
    return shell


def test_a_call_replays(tmp_path: Path) -> None:
    shell = spoken_call()
    record(shell, tmp_path / "log")
    result = replay(tmp_path / "log")
    assert (result.call_id, result.complete, result.mismatches) == ("c", True, ())
    assert result.events == tuple(event for event, _, _ in shell.log)
    assert result.times == tuple(now for _, now, _ in shell.log)
    assert result.commands == tuple(tuple(commands) for _, _, commands in shell.log)


def test_a_diverging_replay_is_reported(tmp_path: Path) -> None:
    shell = spoken_call()
    path = tmp_path / "log"
    record(shell, path)
    lines = path.read_text().splitlines()
    index = next(i for i, line in enumerate(lines) if '"e":"HangUp"' in line)
    lines[index] = lines[index].replace('"bye"', '"other"')
    path.write_text("\n".join(lines) + "\n")
    mismatches = replay(path).mismatches
    assert [mismatch.line for mismatch in mismatches] == [index + 1]
    assert CloseCall("other") in mismatches[0].commands
    assert mismatches[0].event == HangUp("other")


class RecordedCalls(Calls):
    """Any call at all, recorded and replayed at its end."""

    def teardown(self) -> None:
        super().teardown()
        shell = getattr(self, "shell", None)
        if shell is None:
            return
        del shell.log[QUEUE:]  # they come all at once, and the writer's queue is bounded
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log"
            record(shell, path)
            result = replay(path)
        assert result.complete
        assert not result.mismatches
        assert result.commands == tuple(tuple(commands) for _, _, commands in shell.log)


TestRecordedCalls = RecordedCalls.TestCase
TestRecordedCalls.settings = settings(
    max_examples=examples(25),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
del Calls
