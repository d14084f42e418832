"""npm packages for tests: installed once per lock into the user's cache.

``agents_sdk/`` has OpenAI's own client, ``web_tools/`` the tools by which our own client library is
checked: typescript, esbuild and axe-core.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "agents_sdk"
INSTALL_SECONDS = 180


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of agents_sdk."""
    return installed("agents_sdk")


@pytest.fixture(scope="session")
def web_tools() -> Path:
    """The packages of web_tools."""
    return installed("web_tools")


@pytest.fixture
def agents_sdk(node_modules: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Factory: the path of a program of tests/e2e/agents_sdk, beside its packages."""
    folder = tmp_path / "agents_sdk"
    folder.mkdir()
    for source in SOURCES.glob("*.mjs"):
        shutil.copy(source, folder)
    (folder / "node_modules").symlink_to(node_modules)
    return folder.joinpath


def installed(name: str) -> Path:
    """The node_modules of a folder of this one. Without npm the test is skipped loudly, and fails
    where CI is set; so where the registry cannot be reached."""
    sources = FOLDER / name
    lock = (sources / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blab-tests"
    folder = cache / f"{name.replace('_', '-')}-{hashlib.sha256(lock).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "installing").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # tests run in several processes
        if not (folder / "node_modules").is_dir():
            _install(sources, folder)
    return folder / "node_modules"


def _install(sources: Path, folder: Path) -> None:
    npm = _npm()
    if npm is None:
        _unavailable(f"npm is missing: install Node 20 or newer to run the tests of {sources.name}")
        return
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    unfinished.mkdir()
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(sources / name, unfinished)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command,
            check=False,
            cwd=unfinished,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
        if done.returncode:
            _unavailable(f"npm cannot install {sources.name}:\n{done.stderr[-2000:]}")
        elif not folder.exists():
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _npm() -> str | None:
    """npm's program; installed through apt where we are root and it is missing."""
    if shutil.which("node") and (npm := shutil.which("npm")):
        return npm
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "nodejs", "npm"]):
        subprocess.run(["apt-get", *command], check=False, env=environment, timeout=600)
    return shutil.which("npm")


def _unavailable(message: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
