"""``blab doctor`` and ``blab models`` report everything, and fail if something is missing."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import main
from pipelines.weights.manifest import MODELS
from tests.support.services import open_directory

pytestmark = pytest.mark.slow


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = open_directory()
    monkeypatch.setenv("BLAB_DATA_DIR", str(directory / "data"))
    monkeypatch.setenv("BLAB_PROFILE", "small")
    monkeypatch.setenv("BLAB_CHAT_MODEL", "qwen2.5-0.5b")
    monkeypatch.delenv("BLAB_MODELS_DIR", raising=False)
    yield directory / "data"
    shutil.rmtree(directory)


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {line["subject"]: (line["verdict"], line["detail"]) for line in lines}


def test_missing_weights_and_a_taken_port_are_found(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("BLAB_PORT", str(port))
        assert main(["doctor", "--quick", "--json"]) == 1
    found = findings(capsys)
    assert found["model qwen2.5-0.5b"][0] == "missing"
    assert "blab models fetch qwen2.5-0.5b" in found["model qwen2.5-0.5b"][1]
    assert found["port"][0] == "failed"
    assert found["postgres"] == ("ok", f"{found['postgres'][1].split(',')[0]}, embedded")
    assert found["redis"][0] == "ok"
    assert found["python"][0] == "ok"


@pytest.mark.engines
def test_every_engine_is_timed(
    data_dir: Path,
    models_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BLAB_MODELS_DIR", str(models_dir))
    monkeypatch.setenv("BLAB_PORT", "0")
    assert main(["doctor", "--json"]) == 0
    found = findings(capsys)
    for engine in ("silero-vad", "smart-turn-v3.2", "vosk-small-en", "moonshine-tiny-en", "hibari"):
        verdict, detail = found[f"engine {engine}"]
        assert verdict in ("ok", "slow")
        assert " ms " in detail


def test_models_are_listed_and_wrong_ones_reported(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in MODELS)
    assert main(["models", "verify"]) == 1
    assert (
        capsys.readouterr().out.count("missing or wrong") == len(MODELS) - 1
    )  # the larger chat model is of no use to the small profile
    assert main(["models", "fetch", "gpt"]) == 2
    assert "no model 'gpt'" in capsys.readouterr().out


@pytest.mark.engines
def test_present_models_are_not_fetched(
    data_dir: Path,
    models_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BLAB_MODELS_DIR", str(models_dir))
    assert main(["models", "fetch"]) == 0
    assert "all of silero-vad" in capsys.readouterr().err
