"""The unprivileged account that servers run as when blab is root (Postgres refuses root)."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

UNKNOWN_NOBODY = 65534
"""The overflow uid of Linux, where the system has no account named ``nobody``."""


@dataclass(frozen=True, slots=True)
class Account:
    """A numeric user and group."""

    uid: int
    gid: int

    def allows(self, path: Path, wanted: int) -> bool:
        """True where the mode bits give the account ``wanted`` (4 read, 2 write, 1 enter)."""
        status = path.stat()
        if status.st_uid == self.uid:
            bits = status.st_mode >> 6
        elif status.st_gid == self.gid:
            bits = status.st_mode >> 3
        else:
            bits = status.st_mode
        return bits & wanted == wanted

    def reaches(self, path: Path, wanted: int = 1) -> bool:
        """True where the account may enter every directory above ``path`` and has ``wanted`` on it.

        Mode bits only: a directory opened by an ACL alone counts as closed, which costs a copy.
        """
        path = path.resolve()
        return self.allows(path, wanted) and all(self.allows(above, 1) for above in path.parents)


def service_account() -> Account | None:
    """``nobody`` when this process is root, else None: servers run as we do."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(UNKNOWN_NOBODY, UNKNOWN_NOBODY)
    return Account(entry.pw_uid, entry.pw_gid)


def make_private(path: Path, account: Account | None) -> None:
    """Make ``path`` (parents exist) a directory only its service account may enter.

    Only a directory made here changes hands; one that exists must already be right."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        if account:
            os.chown(path, account.uid, account.gid)
        return
    status = path.lstat()
    owner = account.uid if account else os.geteuid()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {owner, os.geteuid()}:
        raise PermissionError(f"{path} belongs to another user (uid {status.st_uid}); remove it")
    if status.st_uid != owner and account:  # ours, but a kill came between mkdir and chown
        os.chown(path, account.uid, account.gid)
    if status.st_mode & 0o077:
        path.chmod(0o700)
