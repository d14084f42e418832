"""static/vendor: libraries of others, as they were published, each file with its checksum."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"
LOCK: dict[str, dict[str, Any]] = json.loads((VENDOR / "lock.json").read_text())
LICENCES = {"MIT", "BSD-3-Clause", "ISC", "Apache-2.0"}


def test_every_folder_is_locked() -> None:
    assert {path.name for path in VENDOR.iterdir() if path.is_dir()} == set(LOCK)


@pytest.mark.parametrize("name", sorted(LOCK))
def test_a_library_is_what_its_lock_says(name: str) -> None:
    library, folder = LOCK[name], VENDOR / name
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == {file: one["sha256"] for file, one in library["files"].items()}
    assert library["licence"] in LICENCES
    assert "LICENSE" in library["files"]
    source = f"https://registry.npmjs.org/{library['name']}/-/"
    assert library["source"].startswith(source)
    assert library["source"].endswith(f"-{library['version']}.tgz")
