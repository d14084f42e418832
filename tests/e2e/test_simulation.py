"""The example of docs/simulation.md with the real server and the real engines."""

import os
import subprocess
import sys

import pytest

from gateway.cli import main
from tests.support.paths import ROOT

from .live_server import LiveServer

pytestmark = pytest.mark.engines


def test_the_example_is_called_and_passes(
    live_server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "key", "--name", "simulation"],
        env={**os.environ, "BLAB_DATA_DIR": str(live_server.data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    example = str(ROOT / "docs" / "simulation.toml")
    command = ["simulate", example, "--url", live_server.url, "--key", made.stdout.strip()]
    code = main(command)
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "2 of 2 calls passed, 15 of 15 checks; 0 cut-offs in 3 lines; TTFA p50" in printed
    assert "silent after an interruption p50" in printed
