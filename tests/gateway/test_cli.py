"""The command line: every command has help; errors are reported with exit code 2."""

import argparse
import importlib.metadata

import pytest

from gateway.cli import COMMANDS, main, module_of
from gateway.settings import Settings


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert COMMANDS[name] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module(name: str) -> None:
    module = module_of(name)
    assert callable(module.arguments)
    assert callable(module.run)


@pytest.mark.parametrize("ask", ["--help", "-h", "help"])
def test_help_lists_all_commands(ask: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([ask]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sreve"]) == 2
    assert "no command 'sreve'" in capsys.readouterr().err


def test_wrong_settings_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLAB_PORT", "high")
    monkeypatch.setenv("BLAB_HOSTT", "x")
    assert main(["serve"]) == 2
    printed = capsys.readouterr().err
    assert "BLAB_PORT: 'high' is not a whole number from 0 to 65535" in printed
    assert "did you mean BLAB_HOST?" in printed


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"blab {importlib.metadata.version('blab')}\n"


@pytest.mark.parametrize("command", ["serve", "web"])
def test_an_address_on_the_command_line_replaces_the_settings(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[str, int]] = []

    def run(options: argparse.Namespace, settings: Settings) -> int:
        served.append((settings.host, settings.port))
        return 0

    monkeypatch.setenv("BLAB_PORT", "1")
    monkeypatch.setattr(module_of(command), "run", run)
    assert main([command, "--host", "::1", "--port", "2"]) == 0
    assert main([command]) == 0
    assert served == [("::1", 2), ("127.0.0.1", 1)]


def test_a_wrong_port_on_the_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "high"]) == 2
    assert "'high' is not a whole number" in capsys.readouterr().err
