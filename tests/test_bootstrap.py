"""The bootstrap script ``./blab``: real environments, made from a tiny project without network."""

import ast
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "blab"

BACKEND = """
import zipfile, pathlib
INFO = "blab-0.1.0.dist-info"
def build_editable(directory, config_settings=None, metadata_directory=None):
    name = "blab-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        wheel.writestr("blab_here.pth", str(pathlib.Path.cwd()))
        wheel.writestr(INFO + "/METADATA", "Metadata-Version: 2.1\\nName: blab\\nVersion: 0.1.0\\n")
        tag = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(INFO + "/WHEEL", tag)
        wheel.writestr(INFO + "/entry_points.txt", "[console_scripts]\\nblab = hello:main\\n")
        wheel.writestr(INFO + "/RECORD", "")
    return name
"""
PYPROJECT = """
[project]
name = "blab"
version = "0.1.0"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
HELLO = """
import sys
def main():
    import tiny
    print("hello", sys.argv[1:], tiny.NAME)
"""
RUN = "import sys, other; print('tests', sys.argv[1:], other.NAME)\n"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("blab_bootstrap", str(SCRIPT))
    spec = importlib.util.spec_from_loader("blab_bootstrap", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    previous, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = previous
    return module


def make_wheel(directory: Path, name: str) -> str:
    """A package with one module; returns its sha256."""
    path = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"NAME = {name!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_lock(checkout: Path, tiny: str, other: str) -> None:
    """A lock that names both packages by hash: one for all, one for the dev group."""
    lock = 'version = 1\n[[package]]\nname = "blab"\nversion = "0.1.0"\n'
    lock += 'source = { editable = "." }\ndependencies = [{ name = "tiny" }]\n'
    lock += '[package.dev-dependencies]\ndev = [{ name = "other" }]\n'
    for name, digest in (("tiny", tiny), ("other", other)):
        lock += f'[[package]]\nname = "{name}"\nversion = "1.0"\nsource = {{ registry = "r" }}\n'
        lock += f'wheels = [{{ url = "u", hash = "sha256:{digest}" }}]\n'
    (checkout / "uv.lock").write_text(lock)


class Checkout:
    """A tiny project with the real bootstrap script."""

    def __init__(self, path: Path, wheels: Path) -> None:
        self.path, self.wheels = path, wheels
        path.mkdir()
        wheels.mkdir()
        shutil.copy(SCRIPT, path / "blab")
        (path / "tests").mkdir()
        for name, text in {
            "backend.py": BACKEND,
            "pyproject.toml": PYPROJECT,
            "hello.py": HELLO,
            "tests/run.py": RUN,
        }.items():
            (path / name).write_text(text)
        write_lock(path, make_wheel(wheels, "tiny"), make_wheel(wheels, "other"))

    def environment(self, **more: str) -> dict[str, str]:
        """No registry at all but the folder of wheels, and no uv."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "BLAB_"))}
        return {
            **keep,
            "PATH": "/usr/bin:/bin",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            **more,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self.path / "blab"), *arguments]

    def start(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout", tmp_path / "wheels")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout for the tests that leave it usable; the first one of them installs."""
    path = tmp_path_factory.mktemp("shared")
    return Checkout(path / "checkout", path / "wheels")


def test_two_first_starts_at_once_install_once(shared: Checkout) -> None:
    children = [
        subprocess.Popen(
            shared.command(str(number)),
            env=shared.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    ends = [child.communicate(timeout=100) for child in children]
    assert [out for out, _ in ends] == ["hello ['0'] tiny\n", "hello ['1'] tiny\n"], ends
    assert sum("Installed in" in err for _, err in ends) == 1


def test_the_second_start_touches_no_registry(shared: Checkout) -> None:
    first = shared.start("talk", "a b")
    assert first.stdout == "hello ['talk', 'a b'] tiny\n", first.stderr
    away = shared.wheels.rename(shared.wheels.with_name("away"))
    second = shared.start()
    away.rename(shared.wheels)
    assert (second.stdout, second.stderr) == ("hello [] tiny\n", "")


def test_the_test_command_adds_the_development_group_and_keeps_it(shared: Checkout) -> None:
    tested = shared.start("test", "-k", "x")
    assert tested.stdout == "tests ['-k', 'x'] other\n", tested.stderr
    assert shared.start().stderr == ""
    assert shared.start("test").stderr == ""


def test_a_changed_lock_is_installed_and_a_wrong_hash_refused(shared: Checkout) -> None:
    shared.start()
    lock = shared.path / "uv.lock"
    right = lock.read_text()
    make_wheel(shared.wheels, "extra")
    lock.write_text(
        right.replace('[{ name = "tiny" }]', '[{ name = "tiny" }, { name = "extra" }]', 1)
        + '[[package]]\nname = "extra"\nversion = "1.0"\nsource = { registry = "r" }\n'
        + f'wheels = [{{ url = "u", hash = "sha256:{"0" * 64}" }}]\n'
    )
    refused = shared.start()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "hash" in refused.stderr.lower()
    assert "run the same command again" in refused.stderr
    lock.write_text(right + "\n# changed\n")
    repaired = shared.start()
    assert "Installed in" in repaired.stderr
    assert repaired.stdout == "hello [] tiny\n"
    assert shared.start().stderr == ""


def test_an_installation_survives_kill_9_and_a_move(checkout: Checkout, tmp_path: Path) -> None:
    child = subprocess.Popen(
        checkout.command(), env=checkout.environment(), stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("Installing"):
            break
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=10)
    child.stderr.close()
    assert (checkout.path / ".venv" / "blab-installing").exists()
    checkout.path = checkout.path.rename(tmp_path / "elsewhere with a blank")
    again = checkout.start()
    assert again.stdout == "hello [] tiny\n", again.stderr
    assert not (checkout.path / ".venv" / "blab-installing").exists()


# ---------------------------------------------------------------------------- the pure parts


def test_markers_mean_what_packaging_says(script: ModuleType) -> None:
    environment = script.marker_environment("3.11.7")
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    markers = {
        dependency["marker"]
        for package in lock["package"]
        for dependency in package.get("dependencies", [])
        if "marker" in dependency
    }
    markers |= {
        "python_full_version >= '3.11.10' or (os_name == 'posix' and sys_platform != 'x')",
        "'lin' in sys_platform and 'win' not in platform_machine",
        "python_full_version <= '3.9'",
    }
    for marker in markers:
        assert script.holds(marker, environment) is Marker(marker).evaluate(environment), marker


@pytest.mark.parametrize("version", ["3.11.0", "3.12.1", "3.13.0"])
def test_requirements_are_complete_and_hashed(script: ModuleType, version: str) -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    environment = script.marker_environment(version)
    lines = script.requirements(lock, environment, ["dev"])
    names = [line.split("==")[0] for line in lines]
    assert len(names) == len(set(names))
    assert all("--hash=sha256:" in line for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {
        d.split("[")[0].split("=")[0].split(">")[0] for d in project["project"]["dependencies"]
    } <= set(names)
    assert "pytest" in names
    without_tools = {line.split("==")[0] for line in script.requirements(lock, environment, [])}
    assert "pytest" not in without_tools
    assert "faster-whisper" in without_tools, "the command installs every extra"


def test_requirements_cover_the_dependencies_of_installed_packages(script: ModuleType) -> None:
    """The packages' own metadata are a source that the lock reader does not know."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    environment = script.marker_environment(platform.python_version())
    lines = script.requirements(lock, environment, ["dev"])
    names = {line.split("==")[0] for line in lines}
    for name in names:
        for required in importlib.metadata.requires(name) or []:
            requirement = Requirement(required)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in names, f"{name} needs {required}"


def test_without_pip_the_error_says_what_to_install(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "_runs", lambda command: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(script.Failure, match=r"apt install python3\.\d+-venv; or install uv"):
        script.pip()


@pytest.mark.parametrize(
    ("variables", "pip_says", "by_uv"),
    [
        ({}, "", True),
        ({}, "global.index-url='x'", False),
        ({"PIP_INDEX_URL": "x"}, "", False),
        ({"UV_DEFAULT_INDEX": "x"}, "global.index-url='x'", True),
    ],
)
def test_the_installer_with_a_configured_registry_is_used(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    pip_says: str,
    by_uv: bool,
) -> None:
    done = subprocess.CompletedProcess([], 0, stdout=pip_says, stderr="")
    monkeypatch.setattr(script.subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr(script.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(script.os, "environ", variables)
    assert (script.installer()[0] == "/bin/uv") is by_uv


def test_python_range_is_that_of_the_project(script: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest, below = (".".join(map(str, v)) for v in (script.OLDEST, script.BELOW))
    assert project["requires-python"] == f">={oldest},<{below}"


def test_an_old_python_can_parse_up_to_its_refusal() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))


def test_the_script_names_no_host(script: ModuleType) -> None:
    assert "://" not in SCRIPT.read_text()
    assert "index-url" not in SCRIPT.read_text()


def test_an_unreadable_stamp_counts_as_none(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = tmp_path / "stamp.json"
    monkeypatch.setattr(script, "STAMP", stamp)
    for text in ("", "[]", '{"venv"', json.dumps({"python": "0.0.0"})):
        stamp.write_text(text)
        assert script.installed() == {}
