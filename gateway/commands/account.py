"""``blab account EMAIL``: an account with a password for the local workspace.

Accounts that people create themselves have workspaces of their own. This one signs in to the
workspace that ``blab key`` makes keys for, on a server where nobody may create accounts, too. For
an address that has an account the password is replaced."""

import argparse
import asyncio
import getpass
import sys

from gateway.services import ServiceError, attached_services
from gateway.settings import Settings
from rest.accounts.accounts import MAX_CHARS, MIN_CHARS, Passwords, is_email
from store.database import Database
from store.errors import StoreError
from store.migrate import migrate
from store.tenants.accounts import Users, Workspaces


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab account`` accepts."""
    parser.add_argument("email", metavar="EMAIL", help="the address to sign in with")
    parser.add_argument("--name", default="", help="whose account it is")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Ask for the password, or read a line of standard input if that is no terminal."""
    email = options.email.strip()
    if not is_email(email):
        print("blab account: this is not an e-mail address", file=sys.stderr)
        return 2
    password = _password()
    if password is None:
        print("blab account: the two passwords are not the same", file=sys.stderr)
        return 2
    if not MIN_CHARS <= len(password) <= MAX_CHARS:
        print(f"blab account: a password has {MIN_CHARS} characters or more", file=sys.stderr)
        return 2
    try:
        made = asyncio.run(_make(settings, email, options.name.strip(), password))
    except (ServiceError, StoreError) as error:
        print(f"blab account: {error}", file=sys.stderr)
        return 1
    done = "The account was made" if made else "The account has a new password"
    print(f"{done}: {email} may sign in to the local workspace.")
    return 0


def _password() -> str | None:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password ({MIN_CHARS} characters or more): ")
    return password if getpass.getpass("The same again: ") == password else None


async def _make(settings: Settings, email: str, name: str, password: str) -> bool:
    """Whether it is a new account."""
    passwords = Passwords()
    hashed = await passwords.hash(password)
    passwords.close()
    async with attached_services(settings) as urls:
        database = Database(urls.database_url)
        await database.connect()
        try:
            await migrate(database)
            workspace = await Workspaces(database).ensure_local_workspace()
            async with database.transaction() as connection:
                users = Users(connection)
                new = await users.register(email, name, hashed)
                user = new or await users.find_by_email(email)
                if user is None:
                    raise LookupError("the account vanished while its password was replaced")
                if new is None:
                    await users.replace_password_hash(user.id, hashed)
                await Workspaces(connection).join(workspace.id, user.id, "owner")
            return new is not None
        finally:
            await database.close()
