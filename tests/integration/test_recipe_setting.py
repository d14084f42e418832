"""The recipe "A setting" of docs/extending.md, carried out in a copy of the checkout."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

COPIED = ("gateway", "rest", "sessions", "pipelines", "media", "store", "docs", "tests")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "audio", "data", "*.wav", "*.npz", "*.bin")
VARIABLE = "BLAB_MAX_CALL_MINUTES"


class Copy:
    """A scratch copy of the checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in COPIED:
            shutil.copytree(ROOT / name, root / name, ignore=LEFT_OUT)
        shutil.copy(ROOT / "pyproject.toml", root)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new))

    def declare(self, declaration: str) -> None:
        """Put a field behind the last one of the settings."""
        begin = "    @classmethod\n    def read("
        self.replace("gateway/settings.py", begin, f"{declaration}\n{begin}")


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "blab")


def recipe() -> tuple[list[str], list[str]]:
    """The recipe's blocks of Python, and the words of its command."""
    text = (ROOT / "docs" / "extending.md").read_text()
    section = text.split("\n## A setting\n")[1].split("\n## ")[0]
    (command,) = re.findall(r"```sh\n\S+ (.+?)\n```", section)
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL), command.split()


@pytest.mark.slow
def test_a_setting_is_added_as_the_recipe_says(copy: Copy) -> None:
    (declaration, good, bad), command = recipe()
    copy.declare(declaration)
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


def test_the_new_setting_is_read_and_a_misspelt_one_refused(copy: Copy) -> None:
    copy.declare(recipe()[0][0])
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
