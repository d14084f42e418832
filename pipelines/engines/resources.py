"""The cores and the memory that this process may use: the machine's, or its container's share.

Control groups limit both (https://docs.kernel.org/admin-guide/cgroup-v2.html, and version 1), and
the limits of all ancestors hold. Inside a container the path of the group may be the host's, and
does not exist; the container's own group is mounted at the top. ``root`` is where /proc and /sys
are.
"""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """The cores that this process may run on, or as many as its container may keep busy."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    shares = [quota / period for quota, period in _cpu_limits(root)]
    return max(1, min([cores or 1, *(round(share) for share in shares)]))


def usable_memory(root: Path = ROOT) -> int:
    """Bytes that this process may use in all."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [limit for limit, _ in _memory_groups(root)]
    return min([memory, *limits])


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process may still take, page cache that can be dropped included; None where
    neither the machine nor a limit says (not Linux)."""
    left = [limit - taken for limit, taken in _memory_groups(root)]
    known = [*_of_machine(root), *(max(0, bytes_left) for bytes_left in left)]
    return min(known) if known else None


def _of_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _cpu_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Each limit as microseconds of CPU time in a period of so many."""
    for group, version in _groups(root, "cpu"):
        if version == 2:
            words = " ".join(_lines(group / "cpu.max")).split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = [word for name in names for word in _lines(group / name)]
        if len(words) == 2 and words[0] not in ("max", "-1"):
            yield int(words[0]), int(words[1])


def _memory_groups(root: Path) -> Iterator[tuple[int, int]]:
    """Each limit in bytes, and what of it is taken and cannot be dropped."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    for group, version in _groups(root, "memory"):
        limit, usage, droppable = names[version]
        limits, used = _lines(group / limit), _lines(group / usage)
        if not limits or not used or limits[0] == "max":
            continue
        for line in _lines(group / "memory.stat"):
            name, _, value = line.partition(" ")
            if name == droppable:
                yield int(limits[0]), int(used[0]) - int(value)


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """This process's control group and its ancestors, each with the version of its files."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            top, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            yield folder, version
            if folder == top:
                break


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not on this machine
        return []
