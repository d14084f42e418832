"""What this process may use of the machine: the limits of its control groups."""

from pathlib import Path

import pytest

from pipelines.engines.resources import available_memory, usable_cores, usable_memory

KIB = 1024


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("9900000 100000", 16),
        ("", 16),
    ],
)
def test_a_containers_limit_of_processor_time_counts(
    limit: str, cores: int, tmp_path: Path
) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/kubepods/pod1\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", f"{limit}\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.usefixtures("sixteen_cores")
def test_the_tightest_processor_limit_of_all_control_groups_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 16
    write(tmp_path / "proc/self/cgroup", "0::/a/b\n")
    write(tmp_path / "sys/fs/cgroup/a/b/cpu.max", "800000 100000\n")
    write(tmp_path / "sys/fs/cgroup/a/cpu.max", "400000 100000\n")
    assert usable_cores(tmp_path) == 4
    write(tmp_path / "proc/self/cgroup", "4:cpu,cpuacct:/a\n0::/\n")
    assert usable_cores(tmp_path) == 16
    write(tmp_path / "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "300000\n")
    write(tmp_path / "sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path) == 3


def test_the_memory_of_the_machine_counts(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    assert usable_memory(tmp_path) > 0
    write(tmp_path / "proc/meminfo", "MemTotal: 900 kB\nMemAvailable:  700 kB\n")
    assert available_memory(tmp_path) == 700 * KIB


@pytest.mark.parametrize(
    ("line", "folder", "names"),
    [
        (
            "0::/a/b",
            "sys/fs/cgroup",
            ("memory.max", "memory.current", "anon 1\ninactive_file"),
        ),
        (
            "3:cpu:/\n4:memory:/a/b",
            "sys/fs/cgroup/memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_the_memory_limits_of_all_control_groups_count(
    tmp_path: Path, line: str, folder: str, names: tuple[str, str, str]
) -> None:
    write(tmp_path / "proc/meminfo", "MemAvailable: 700 kB\n")
    write(tmp_path / "proc/self/cgroup", f"{line}\n")
    limit, usage, droppable = names
    assert available_memory(tmp_path) == 700 * KIB
    write(tmp_path / folder / "a/b" / limit, "max\n" if limit == "memory.max" else f"{2**60}\n")
    write(tmp_path / folder / "a" / limit, "500000\n")
    for group in ("a/b", "a"):
        write(tmp_path / folder / group / usage, "400000\n")
        write(tmp_path / folder / group / "memory.stat", f"{droppable} 30000\n")
    assert available_memory(tmp_path) == 130_000
    assert usable_memory(tmp_path) == 500_000
