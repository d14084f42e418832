"""kill -9 of blab at any moment: no child remains, nothing is damaged, the next start works."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from gateway.services import EmbeddedServices
from gateway.services.child import Account
from tests.support.paths import ROOT
from tests.support.services import open_directory

NOBODY = Account(65534, 65534)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")


@pytest.fixture
def directory():
    directory = open_directory()
    yield directory
    shutil.rmtree(directory)


def host(directory, *words, python=sys.executable, **options):
    """Start services_host on ``directory/data``."""
    site = str(Path(asyncpg.__file__).parents[1])
    return subprocess.Popen(
        [python, "-m", "tests.support.gateway.services_host", directory / "data", *words],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": site},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def living(directory):
    """Pids of all processes that work in ``directory`` or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        traces = []
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            traces.append(os.fsdecode((process / "cmdline").read_bytes()))
            traces.append(os.readlink(process / "cwd"))
        if any(str(directory) in trace for trace in traces) and process.name != str(os.getpid()):
            found.append(process.name)
    return found


def wait_for(condition, within=60.0):
    give_up = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up, "the wait timed out"
        time.sleep(0.002)


def kill_and_see_all_end(process, directory):
    process.kill()
    process.communicate()
    wait_for(lambda: not living(directory))


async def start_again(directory, query="SELECT 1"):
    """A start in this process; returns the rows of ``query``."""
    services = EmbeddedServices(directory / "data")
    urls = await services.start()
    connection = await asyncpg.connect(urls.database_url)
    rows = await connection.fetch(query)
    await connection.close()
    await services.stop()
    assert not living(directory)
    return rows


@pytest.mark.parametrize(
    "moment",
    [
        "blab.lock",
        "services/postgres.new/postgresql.conf",
        "services/postgres.new/base/5",
        "services/postgres",
        "services/postgres/postmaster.pid",
    ],
)
async def test_a_kill_during_the_first_start_is_survived(directory, moment):
    with host(directory) as process:
        wait_for((directory / "data" / moment).exists)
        kill_and_see_all_end(process, directory)
    await start_again(directory)


async def test_a_kill_after_the_start_is_survived(directory):
    with host(directory) as process:
        assert process.stdout.readline() == "ready\n"
        assert len(living(directory)) >= 3
        kill_and_see_all_end(process, directory)
    await start_again(directory)


async def test_committed_rows_survive_a_kill_under_write_load(directory):
    with host(directory, "load") as process:
        while process.stdout.readline() != "300\n":
            assert process.poll() is None
        process.kill()
        last = int((process.stdout.read().split() or ["300"])[-1])
        wait_for(lambda: not living(directory))
    [row] = await start_again(directory, "SELECT count(*), max(i) FROM rows")
    assert row["count"] == row["max"]
    assert row["count"] in (last, last + 1)  # the last commit may not have been reported any more


async def test_the_next_start_does_not_wait_for_the_killed_one(directory):
    """The start itself waits for the dying servers, however soon it comes."""
    with host(directory, "load") as process:
        while process.stdout.readline() != "50\n":
            assert process.poll() is None
        process.kill()
        [row] = await start_again(directory, "SELECT count(*) FROM rows")
        assert row["count"] >= 50


async def test_killed_services_and_a_reused_pid_are_survived(directory):
    with host(directory) as process:
        assert process.stdout.readline() == "ready\n"
        for pid in [process.pid, *map(int, living(directory))]:
            with contextlib.suppress(ProcessLookupError):  # the host's death takes them along
                os.kill(pid, signal.SIGKILL)
        process.communicate()
        wait_for(lambda: not living(directory))
    pid_file = directory / "data/services/postgres/postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]))
    await start_again(directory)


async def test_an_orderly_stop_leaves_nothing(directory):
    with host(directory) as process:
        assert process.stdout.readline() == "ready\n"
        process.communicate("\n", timeout=20)
        assert process.returncode == 0
        assert not living(directory)


def everybodys_python():
    """An interpreter of this version that an ordinary user may run; root's own often is closed."""
    name = f"python3.{sys.version_info.minor}"
    for path in (Path(sys.executable), Path("/usr/bin") / name, Path("/usr/local/bin") / name):
        if path.exists() and NOBODY.reaches(path, 5):
            return path
    pytest.skip(f"NOT TESTED: no {name} on this machine can be run by an ordinary user")


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user every test here shows it")
async def test_an_unprivileged_user_can_run_everything(directory):
    os.chown(directory, NOBODY.uid, NOBODY.gid)
    options = {"python": everybodys_python(), "user": NOBODY.uid, "group": NOBODY.gid}
    with host(directory, **options, extra_groups=[]) as process:
        assert process.stdout.readline() == "ready\n"
        assert {os.stat(f"/proc/{pid}").st_uid for pid in living(directory)} == {NOBODY.uid}
        kill_and_see_all_end(process, directory)
    with host(directory, **options, extra_groups=[]) as process:
        assert process.stdout.readline() == "ready\n"
        process.communicate("\n", timeout=20)
        assert process.returncode == 0
    assert not living(directory)
    assert {path.stat().st_uid for path in directory.rglob("*")} == {NOBODY.uid}
