"""The command line: every command has help; errors are reported with exit code 2."""

import pytest

from gateway.cli import COMMANDS, main, module_of


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
