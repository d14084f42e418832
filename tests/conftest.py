"""Fixtures for all tests: the models directory, the manifest and recorded speech."""

import json
import os
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A quick run leaves out what needs real engines, Postgres, a browser or more than a second."""
    if not QUICK:
        return
    left_out = [item for item in items if _is_slow(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_slow(item: pytest.Item) -> bool:
    needed = {"models_dir", "database"} & set(getattr(item, "fixturenames", ()))
    if needed or "integration" in item.path.parts:
        return True
    return any(item.get_closest_marker(name) for name in ("browser", "engines", "slow"))
