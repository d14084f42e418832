"""``blab account`` against the real database."""

import asyncio
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.services import EmbeddedServices, ServiceUrls
from rest.accounts.accounts import Passwords
from store.database import Database, DatabaseLimits
from store.tenants.accounts import LOCAL_WORKSPACE, Users, Workspaces
from tests.support.services import in_own_loop, open_directory

pytestmark = pytest.mark.slow

EMAIL = "ada@example.org"


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = open_directory()
    monkeypatch.setenv("BLAB_DATA_DIR", str(directory / "data"))
    yield directory / "data"
    shutil.rmtree(directory)


def opens(url: str, password: str) -> bool:
    """Whether the password is the account's, which is a member of the local workspace only."""

    async def verify() -> bool:
        database, passwords = Database(url), Passwords()
        await database.connect()
        try:
            user = await Users(database).find_by_email(EMAIL)
            assert user is not None
            [membership] = await Workspaces(database).memberships(user.id)
            assert membership.workspace_id == LOCAL_WORKSPACE
            return await passwords.verify(user.password_hash, password)
        finally:
            passwords.close()
            await database.close()

    return asyncio.run(verify())


@pytest.mark.slow
def test_an_account_is_made_and_gets_another_password(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    services = EmbeddedServices(data_dir)
    urls: ServiceUrls = in_own_loop(services.start)
    try:
        for email, password, said in (
            (EMAIL, "correct horse", "The account was made"),
            (EMAIL.upper(), "another horse", "The account has a new password"),
        ):
            monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
            assert main(["account", email, "--name", "Ada"]) == 0
            assert said in capsys.readouterr().out
            assert opens(urls.database_url, password)
        assert not opens(urls.database_url, "correct horse")
    finally:
        in_own_loop(services.stop)


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [
        ("nobody", "correct horse", "not an e-mail address"),
        (EMAIL, "short", "8 characters or more"),
        (EMAIL, "", "8 characters or more"),
    ],
)
def test_what_cannot_be_used_is_refused(
    email: str,
    password: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    assert main(["account", email]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("second", "result"), [("correct horse", 1), ("corect horse", 2)])
def test_at_a_terminal_it_is_typed_twice(
    second: str, result: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The database of the first cannot be reached."""
    typed = iter(["correct horse", second])
    impatient = DatabaseLimits(connect_deadline=0.1)
    monkeypatch.setattr(Database.__init__, "__defaults__", (impatient,))
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    assert main(["account", EMAIL]) == result
    assert ("not the same" in capsys.readouterr().err) == (result == 2)
