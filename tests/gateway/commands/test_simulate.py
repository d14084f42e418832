"""``blab simulate`` from its arguments to its exit code, against a small server of the protocol."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from gateway.caller import write_wav
from gateway.cli import main
from tests.support.gateway.realtime_server import RATE, RealtimeServer, running

pytestmark = pytest.mark.slow


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
def file(tmp_path: Path) -> Path:
    samples = np.concatenate([np.full(RATE // 4, 3000, np.int16), np.zeros(RATE // 5, np.int16)])
    write_wav(tmp_path / "speech.wav", samples, RATE)
    path = tmp_path / "calls.toml"
    path.write_text(
        '[[scenario]]\nname = "greets"\ninstructions = "Hi"\n'
        '[[scenario.line]]\naudio = "speech.wav"\ntext = "hello"\n'
        'expect = {reply_contains = "beep", word_error = 0}\n'
    )
    return path


def test_calls_that_pass_are_printed_and_written(
    server: RealtimeServer, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.xml"
    command = ["simulate", str(file), "--url", server.url, "--agent", "agt_1", "--repeat", "2"]
    assert main([*command, "--at-once", "2", "--out", str(out), "--junit", str(report)]) == 0
    printed = capsys.readouterr().out
    assert "ok   greets (run 2) (websocket, sess_1, " in printed
    assert "    ok   reply_contains 'beep': 'Beep.'" in printed
    assert "2 of 2 calls passed, 10 of 10 checks; 0 cut-offs in 2 lines; TTFA p50 " in printed
    assert ET.parse(report).getroot().get("failures") == "0"
    assert len(list(out.iterdir())) == 4
    session = {
        "type": "realtime",
        "blab": {"events": ["latency", "playout"]},
        "instructions": "Hi",
    }
    assert server.messages == [{"type": "session.update", "session": session}] * 2


def test_a_check_that_fails_is_the_exit_code(
    server: RealtimeServer, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace("beep", "honk"))
    assert main(["simulate", str(file), "--url", server.url, "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["line", "call", "summary"]
    assert [check["passed"] for check in lines[0]["checks"]] == [True, False, True]
    assert lines[2]["calls_passed"] == 0


def test_a_missing_server_fails_and_a_wrong_file_is_refused(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(file), "--url", "http://127.0.0.1:9"]) == 1
    assert "FAIL call completed: no server answers at http://127.0.0.1:9" in capsys.readouterr().out
    file.write_text(file.read_text().replace("text =", "txt ="))
    assert main(["simulate", str(file), "--url", "http://127.0.0.1:9"]) == 2
    words = capsys.readouterr().err
    assert f"{file}: scenario 1 ('greets'), line 1: txt: is not a key here: use one of" in words
    with pytest.raises(SystemExit) as caught:
        main(["simulate", str(file), "--repeat", "0"])
    assert caught.value.code == 2
    assert "a number from 1 to 1000, not '0'" in capsys.readouterr().err
