"""Becomes a server process: ``python -I -S launch.py PARENT SIGNAL UID GID DIRECTORY PROGRAM …``.

A program of its own, not a ``preexec_fn``: that would run Python between fork and exec of a
process full of threads and gigabytes. The order matters, because each step would undo a later one:

1. enter DIRECTORY while still privileged: its parents may be closed to the service account;
2. drop to UID and GID (-1: keep ours), without supplementary groups;
3. Linux: ``PR_SET_PDEATHSIG`` = SIGNAL (a change of uid clears it, exec keeps it), and exit
   if the parent died before that;
4. exec PROGRAM.

Standard library only; runs isolated from the environment and from site-packages.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>; see prctl(2)."""


def main(argv: list[str]) -> None:
    """Never returns; exits 1 when the parent is gone already."""
    parent, death_signal, uid, gid = (int(word) for word in argv[:4])
    os.chdir(argv[4])
    os.umask(0o077)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(argv[5], argv[5:])  # noqa: S606 - an absolute path, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
