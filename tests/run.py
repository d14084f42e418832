"""The test command behind ``./blab test`` and ``make``: checks, then the tests.

``./blab test``            everything: style, types, floors, then both parts of the tests
``./blab test --check``    style, types and floors only
``./blab test --quick``    the tests that need no real engine, Postgres or browser, and little time
``./blab test --changed``  of the quick tests, those that import what differs from ``main``
``./blab test ARGUMENTS``  pytest with these arguments only

Most tests run side by side, in more processes than there are cores: they also wait. Those with the
mark ``alone`` follow, one after the other: they speak in real time, to the real engines for the
most part, and have the machine to themselves.

System programs that tests need (Chromium, HAProxy, nginx) are installed where this may be done
(root and apt) and the model weights are fetched first. With CI=true nothing may be missing.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "rest", "sessions", "pipelines", "media", "store", "tests", "bench")
CHECKS = (
    ("style", ["ruff", "check", *PACKAGES, "blab"]),
    ("format", ["ruff", "format", "--check", *PACKAGES, "blab"]),
    ("types", ["mypy"]),
    ("floors", ["lint-imports"]),
)
CORES = os.cpu_count() or 1


def side_by_side(processes: int) -> list[str]:
    """The arguments for that many processes, which take the files in tests/conftest.py's order."""
    return [f"--numprocesses={processes}", "--dist=loadfile", "--no-loadscope-reorder"]


PARTS = (
    ("side by side", [*side_by_side(CORES * 3 // 2), "-m", "not alone"]),
    ("alone", ["-m", "alone"]),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAMS = {
    "chromium": BROWSERS,
    "firefox-esr": ("firefox", "firefox-esr"),
    "pulseaudio": ("pulseaudio",),
    "haproxy": ("haproxy",),
    "nginx-light": ("nginx",),
    "prometheus": ("promtool",),
}
"""By Debian's package: the programs of which the tests need one."""
SERVERS = ("haproxy", "nginx-light", "prometheus")
"""Packages that start a server where systemd runs."""
WINDOWLESS = "chromium-headless-shell"
"""A package, and its program: with it the tests of pages are quicker (tests/e2e/browser.py). Only
Debian has it."""


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; the exit code of the first thing that failed."""
    if arguments == ["--check"]:
        return check()
    if not arguments:
        with compiling():
            failed = check()
        if failed:
            return failed
    if arguments in (["--quick"], ["--changed"]):
        return quick(changed_only=arguments == ["--changed"])
    if failed := prepare():
        return failed
    pytest = [sys.executable, "-m", "pytest"]
    if arguments:
        return run([*pytest, *arguments])
    ends = []
    for name, chosen in PARTS:
        print(f"== tests {name}", flush=True)
        ends.append(run([*pytest, *chosen]))
    return max(ends)


def run(command: list[str], **environment: str) -> int:
    """Run a program of this environment in the checkout."""
    environment = surroundings() | environment
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def surroundings() -> dict[str, str]:
    """The environment of what is run.

    Compiled modules are kept, even where the environment says that Python keeps none: to compile
    the assertions of tests is half of what collecting them costs, and every server that a test
    starts would compile all of Blab."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": ""}


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Compile the tests meanwhile, which otherwise each process of the first part does for itself;
    the checks need one core."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env=surroundings(), stdout=quiet, stderr=quiet):
        yield


def check() -> int:
    """Style, format, types and floors; all of them run, so that one run reports everything."""
    failed = []
    for name, command in CHECKS:
        print(f"== {name}: {' '.join(command)}", flush=True)
        if run(command):
            failed.append(name)
    if failed:
        print(f"== failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def quick(*, changed_only: bool) -> int:
    """The tests that answer while one works; nothing is fetched or installed for them."""
    chosen = ["--ignore", "tests/e2e"]
    if changed_only:
        changed = changed_files()
        chosen = affected_tests(changed)
        print(f"== {len(changed)} changed files, {len(chosen)} test files", flush=True)
        if not chosen:
            return 0
    command = [sys.executable, "-m", "pytest", "-q", *side_by_side(CORES), *chosen]
    return run(command, QUICK_TESTS="1")


def changed_files() -> list[str]:
    """What differs from where this branch left ``main``, uncommitted and untracked files too."""
    base = git("merge-base", "HEAD", main_branch()).strip()
    names = git("diff", "--name-only", base) + git("ls-files", "--others", "--exclude-standard")
    return sorted(set(names.split("\n")) - {""})


def main_branch() -> str:
    local = git("branch", "--list", "main").strip()
    return "main" if local else "origin/main"


def affected_tests(changed: list[str]) -> list[str]:
    """The test files that import a changed module, through however many others.

    A document or a file of the tests' data affects no import: floors and documents are always
    tested, everything else by the full run."""
    packages = [name for name in PACKAGES if name != "bench"]
    graph = grimp.build_graph(*packages, cache_dir=None)
    modules = {name.removesuffix(".py").replace("/", ".") for name in changed}
    modules = {name.removesuffix(".__init__") for name in modules} & graph.modules
    affected = modules.union(*(graph.find_downstream_modules(name) for name in modules))
    names = [name for name in affected if name.split(".")[-1].startswith("test_")]
    files = [f"{name.replace('.', '/')}.py" for name in names if not name.startswith("tests.e2e")]
    return sorted({*files, "tests/floors", "tests/test_docs.py"})


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def prepare() -> int:
    """Bring what the tests need from outside: programs and the weights."""
    required = os.environ.get("CI") == "true"
    missing = missing_packages()
    if missing:
        install(missing)
        missing = missing_packages()
    if "chromium" not in missing and not shutil.which(WINDOWLESS):
        install([WINDOWLESS])
    if missing and required:
        print(f"== tests need {', '.join(missing)}: could not be installed", flush=True)
        return 1
    if missing:
        print(f"== no {', '.join(missing)}: their tests will be skipped", flush=True)
    print("== model weights", flush=True)
    return run([sys.executable, "-m", "gateway.cli", "models", "fetch"])


def missing_packages() -> list[str]:
    """Debian's packages of the programs that tests need and this machine lacks."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
    return [
        package
        for package, names in PROGRAMS.items()
        if not any(shutil.which(name, path=path) for name in names)
    ]


def install(packages: list[str]) -> None:
    """Install Debian's packages where that is possible, and no server is started by it."""
    if Path("/run/systemd/system").exists():
        packages = [package for package in packages if package not in SERVERS]
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0 or not packages:
        return
    print(f"== installing {', '.join(packages)} with apt-get", flush=True)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    command = [apt, "install", "-y", "-qq", "--no-install-recommends", *packages]
    if run(command, **quiet) and packages != [WINDOWLESS]:
        run([apt, "update", "-qq"], **quiet)
        run(command, **quiet)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
