"""``blab talk`` from its arguments to its exit code, against a small server of the protocol."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.caller import Recording, write_wav
from gateway.cli import main
from tests.support.gateway.realtime_server import RATE, RealtimeServer, running

pytestmark = pytest.mark.slow

STAGES = {
    "endpointing": 300,
    "final text": 0,
    "first token": 80,
    "first clause": 40,
    "first audio": 30,
    "sent": 1,
    "total": 451,
}
"""Of the server's ``blab.latency``; its reply was not heard."""


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    """Runs on a loop of its own, because the command makes its own, too."""
    server, ready = RealtimeServer(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with running(server):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield server
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    samples = np.concatenate([np.full(RATE // 4, 3000, np.int16), np.zeros(RATE // 5, np.int16)])
    write_wav(tmp_path / "speech.wav", samples, RATE)
    return tmp_path / "speech.wav"


def test_a_conversation_is_printed_and_the_reply_written(
    server: RealtimeServer, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = tmp_path / "reply.wav"
    assert main(["talk", str(speech), "--url", server.url, "--out", str(reply)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "sess_1",
        "caller: hello",
        "agent: Beep.",
        "ms after the end of speech",
        "first token 80",
    ):
        assert words in printed
    heard = Recording.read(reply, RATE)
    assert np.count_nonzero(heard.samples) == pytest.approx(RATE * server.beep_ms / 1000, rel=0.02)


def test_an_interruption_is_spoken_over_the_reply(
    server: RealtimeServer, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.beep_ms = 1500
    call = ["talk", str(speech), "--url", server.url, "--interrupt", str(speech), "--at", "0.2"]
    assert main(call) == 0
    assert "the reply stopped" in capsys.readouterr().out


def test_json_lines_are_json_and_end_with_the_report(
    server: RealtimeServer, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["talk", str(speech), "--url", server.url, "--json", "--base64", "--instructions", "Hi"]
    assert main(call) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["type"] == "session.created"
    assert lines[-1]["type"] == "report"
    assert lines[-1]["replies"] == ["Beep."]
    assert lines[-1]["latencies"] == [STAGES]
    session = {
        "type": "realtime",
        "blab": {"events": ["latency", "language", "resumption"]},
        "instructions": "Hi",
    }
    assert server.messages == [{"type": "session.update", "session": session}]


def test_silence_from_the_server_is_a_failure(
    server: RealtimeServer, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = False
    assert main(["talk", str(speech), "--url", server.url, "--deadline", "0.3"]) == 1
    assert "no reply was heard" in capsys.readouterr().out


def test_a_missing_server_and_a_missing_file_are_reported_plainly(
    speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["talk", str(speech), "--url", "http://127.0.0.1:9"]) == 1
    assert "no server answers" in capsys.readouterr().out
    assert main(["talk", str(tmp_path / "none.wav")]) == 2
    assert "none.wav" in capsys.readouterr().out
