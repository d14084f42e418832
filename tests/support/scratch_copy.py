"""A copy of the checkout, in which a recipe of docs/extending.md is carried out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

COPIED = ("gateway", "rest", "sessions", "pipelines", "media", "store", "static", "docs", "tests")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "audio", "data", "*.wav", "*.npz", "*.bin")


def recipe(name: str) -> str:
    """The text of a recipe."""
    text = (ROOT / "docs" / "extending.md").read_text()
    return text.split(f"\n## {name}\n")[1].split("\n## ")[0]


def blocks_of(section: str, language: str = "python") -> list[str]:
    """A recipe's blocks of code."""
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


class ScratchCopy:
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
            timeout=300,
        )

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new))
