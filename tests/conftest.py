"""Fixtures for all tests: the models directory, the manifest and recorded speech."""

import json
import os
import wave
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from media.formats import HEARING_RATE
from tests.support.examples import QUICK
from tests.support.paths import AUDIO

pytest_plugins = ["tests.support.services"]

settings.register_profile("blab", deadline=None)
settings.load_profile("blab")
# No deadline for an example: on a busy machine any of them may take long.


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The directory with the model weights (BLAB_MODELS_DIR, else ./.blab/models).

    A test that asks for it fails where there are none: they are part of a working checkout."""
    configured = os.environ.get("BLAB_MODELS_DIR")
    path = Path(configured) if configured else Path(__file__).parent.parent / ".blab" / "models"
    if not path.is_dir():
        pytest.fail(f"no model weights in {path}: run `./blab models fetch` or set BLAB_MODELS_DIR")
    return path.resolve()


@pytest.fixture(scope="session")
def manifest() -> list[dict[str, Any]]:
    """tests/audio/manifest.json: what is said in each recording."""
    entries: list[dict[str, Any]] = json.loads((AUDIO / "manifest.json").read_text())
    return entries


@pytest.fixture(scope="session")
def audio() -> Callable[[str], bytes]:
    """Recording name (with or without .wav) to its PCM16 mono samples at HEARING_RATE."""

    def load(name: str) -> bytes:
        with wave.open(str(AUDIO / f"{name.removesuffix('.wav')}.wav")) as recording:
            assert recording.getframerate() == HEARING_RATE
            assert recording.getnchannels() == 1
            assert recording.getsampwidth() == 2
            return recording.readframes(recording.getnframes())

    return load


LONG = ("e2e", "integration", "gateway")
"""The folders whose tests wait for calls, browsers and programs."""
PATIENT = (
    "tests/e2e/test_openai_client.py",
    "tests/e2e/test_clients_rest_doc.py",
    "tests/e2e/test_workbench.py",
    "tests/e2e/test_newcomer.py",
    "tests/e2e/test_blab_agent.py",
    "tests/e2e/test_spoken_languages.py",
    "tests/e2e/test_rest_quick_start.py",
    "tests/e2e/test_contract.py",  # the last: it leaves hundreds of jobs to the server
)
"""They use the real server, but wait as long as it takes: they share one, beside other tests. All
of them passed on a machine that had eight times the work that it can do."""


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests, and mark those that call the real server in real time.

    A quick run leaves out what needs real engines, Postgres, a browser or more than a second."""
    for item in items:
        if "live_server" in getattr(item, "fixturenames", ()) and _file(item) not in PATIENT:
            item.add_marker("alone")
    turns = _turns(map(_file, items))
    items.sort(key=lambda item: turns[_file(item)])
    if QUICK:
        left_out = [item for item in items if _is_slow(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _file(item: pytest.Item) -> str:
    return item.nodeid.split("::")[0]


def _turns(files: Iterable[str]) -> dict[str, float]:
    """When each file has its turn: what takes long comes first, so that no process is left with it
    at the end; browsers, which keep the processor busy, alternate with what waits."""
    folders: dict[str, list[str]] = {}
    for file in dict.fromkeys(files):
        folder = file.split("/")[1]
        folders.setdefault(folder if folder in LONG else "", []).append(file)
    turns = {
        file: place / len(of_folder) if folder else 1.0
        for folder, of_folder in folders.items()
        for place, file in enumerate(of_folder)
    }
    return turns | {file: place - len(PATIENT) for place, file in enumerate(PATIENT)}


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """A process has a file, or all that share a real server."""
    return Scheduling(config, log)


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """By files, as ``--dist=loadfile``."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "the real server" if file in PATIENT else file


def _is_slow(item: pytest.Item) -> bool:
    needed = {"models_dir", "database"} & set(getattr(item, "fixturenames", ()))
    if needed or "integration" in item.path.parts:
        return True
    return any(item.get_closest_marker(name) for name in ("browser", "engines", "slow"))
