"""The recipe "A setting" of docs/extending.md, carried out in a copy of the checkout."""

from pathlib import Path

import pytest

from tests.support.scratch_copy import ScratchCopy, blocks_of, recipe

VARIABLE = "BLAB_MAX_CALL_MINUTES"


def declare(copy: ScratchCopy, declaration: str) -> None:
    """Put a field behind the last one of the calls' settings."""
    settings = copy.root / "gateway" / "settings" / "calls.py"
    settings.write_text(settings.read_text() + declaration)


@pytest.fixture
def copy(tmp_path: Path) -> ScratchCopy:
    return ScratchCopy(tmp_path / "blab")


def the_recipe() -> tuple[list[str], list[str]]:
    """The recipe's blocks of Python, and the words of its command."""
    section = recipe("A setting")
    (command,) = blocks_of(section, "sh")
    return blocks_of(section), command.split()[1:]


@pytest.mark.slow
def test_a_setting_is_added_as_the_recipe_says(copy: ScratchCopy) -> None:
    (declaration, good, bad), command = the_recipe()
    declare(copy, declaration)
    tests = "tests/gateway/test_settings.py"
    copy.replace(tests, "GOOD = {\n", f"GOOD = {{\n{good}")
    copy.replace(tests, "BAD = {\n", f"BAD = {{\n{bad}")
    check = ("-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider")
    table = "tests/test_docs.py::test_the_configuration_table_lists_exactly_the_settings"
    outdated = copy.run(*check, table)
    assert outdated.returncode == 1, outdated.stdout + outdated.stderr

    assert copy.run(*command).returncode == 0
    row = f"| `{VARIABLE}` | 60 | a whole number from 1 to 1440 | How long a call may last. |"
    assert row in (copy.root / "docs" / "configuration.md").read_text()
    done = copy.run(*check, table, tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_new_setting_is_read_and_a_misspelt_one_refused(copy: ScratchCopy) -> None:
    declare(copy, the_recipe()[0][0])
    show = (
        "import os; from gateway.settings import Settings; "
        "print(Settings.read(os.environ).max_call_minutes)"
    )
    assert copy.run("-c", show).stdout == "60\n"
    assert copy.run("-c", show, **{VARIABLE: "90"}).stdout == "90\n"
    command = ("-m", "gateway.cli", "replay", "nothing")
    refused = copy.run(*command, **{VARIABLE: "soon"})
    assert refused.returncode == 2
    assert refused.stderr == f"blab: {VARIABLE}: 'soon' is not a whole number from 1 to 1440 " + (
        "(it is not a whole number)\n"
    )
    misspelt = copy.run(*command, BLAB_MAX_CALL_MINUTE="90")
    assert misspelt.returncode == 2
    assert f"did you mean {VARIABLE}?" in misspelt.stderr
