"""``blab key`` and ``blab migrate`` against the real database, running or not."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.services import EmbeddedServices, ServiceUrls
from rest.accounts import keys
from store.database import Database
from store.tenants.accounts import LOCAL_WORKSPACE, ApiKey, ApiKeys
from tests.support.services import in_own_loop, open_directory

pytestmark = pytest.mark.slow


def stored(url: str, text: str) -> ApiKey | None:
    async def find() -> ApiKey | None:
        database = Database(url)
        await database.connect()
        try:
            return await ApiKeys(database).find_by_digest(keys.parse(text).digest)
        finally:
            await database.close()

    return asyncio.run(find())


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = open_directory()
    monkeypatch.setenv("BLAB_DATA_DIR", str(directory / "data"))
    yield directory / "data"
    shutil.rmtree(directory)


def test_a_key_is_made_whether_blab_runs_or_not(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "--name", "cold"]) == 0
    cold = capsys.readouterr().out.strip()
    services = EmbeddedServices(data_dir)
    urls: ServiceUrls = in_own_loop(services.start)
    try:
        assert main(["key", "--name", "warm", "--scopes", "tts:write", "jobs:read"]) == 0
        warm = capsys.readouterr().out.strip()
        first, second = stored(urls.database_url, cold), stored(urls.database_url, warm)
    finally:
        in_own_loop(services.stop)
    assert first is not None
    assert second is not None
    assert (first.name, first.workspace_id) == ("cold", LOCAL_WORKSPACE)
    assert second.scopes == ["tts:write", "jobs:read"]
    assert len(first.scopes) == 20


def test_nothing_but_the_key_is_on_standard_output(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "--name", "x"]) == 0
    assert keys.parse(capsys.readouterr().out.strip())
    assert main(["migrate"]) == 0
    assert "0 migrations applied" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 101])
def test_an_unusable_name_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "--name", name]) == 2
    assert "printable characters" in capsys.readouterr().err


def test_missing_services_for_the_worker_are_reported_plainly(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worker"]) == 1
    assert "start `blab serve`" in capsys.readouterr().err


def test_an_unreachable_database_is_reported_plainly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:sekret@127.0.0.1:9/x")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9")
    monkeypatch.setattr("store.database.DatabaseLimits.connect_deadline", 0.1)
    assert main(["migrate"]) == 1
    printed = capsys.readouterr().err
    assert "no connection to Postgres" in printed
    assert "sekret" not in printed
