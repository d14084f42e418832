"""What a supervisor keeps on disk, and how calls are shared out. Its processes: see integration."""

from pathlib import Path

import pytest

from gateway.processes.gateway_process import share
from gateway.processes.supervisor import SOCKET, runtime_folder
from gateway.services.embedded import SUN_PATH_BYTES


@pytest.mark.parametrize(("total", "processes"), [(20, 2), (7, 3), (2, 4), (1, 1)])
def test_all_calls_are_shared_out_and_no_process_has_none(total: int, processes: int) -> None:
    shares = [share(total, number, processes) for number in range(1, processes + 1)]
    assert sum(shares) == max(total, processes)
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1


def test_its_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with runtime_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert tmp_path in folder.parents
    assert not folder.exists()


def test_what_a_killed_supervisor_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    with runtime_folder(tmp_path) as living:
        left = living.parent / "12345678"
        left.mkdir()
        (left / "metrics").mkdir()
        with runtime_folder(tmp_path) as other:
            assert living.exists()
            assert other != living
            assert not left.exists()


def test_its_socket_has_a_path_that_a_socket_can_have(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 25)
    with runtime_folder(deep) as folder:
        assert len(str(folder / SOCKET)) <= SUN_PATH_BYTES
