"""What a supervisor keeps on disk, and how calls are shared out. Its processes: see integration."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.lifecycle import bound_sockets
from gateway.processes import supervisor
from gateway.processes.gateway_process import share
from gateway.processes.supervisor import ENGINES, SOCKET, Supervisor, runtime_folder
from gateway.services import ServiceFailed
from gateway.services.embedded import SUN_PATH_BYTES
from gateway.settings import Settings
from gateway.stop_signals import StopSignals
from tests.support.services import eventually


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


# ------------------------------------------------------------------ children that are no good


def python(code: str) -> Sequence[str]:
    return sys.executable, "-c", code


@pytest.mark.slow
async def test_gateway_processes_that_cannot_start_end_the_supervisor(tmp_path: Path) -> None:
    settings = replace(Settings(), data_dir=tmp_path, processes=2)

    def command(kind: str) -> Sequence[str]:
        return python("import time; time.sleep(600)" if kind == ENGINES else "raise SystemExit(1)")

    made = Supervisor(settings, {}, command=command)
    with pytest.raises(ServiceFailed, match="its log says why"):
        await asyncio.wait_for(made.run(StopSignals()), 60)
    assert made._engines.pid is None


@pytest.mark.slow
async def test_children_that_hang_are_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a gateway process that reports nothing nor an engine process that does not answer."""
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "HUNG_SECONDS", 1.0)
    settings = replace(Settings(), data_dir=tmp_path, processes=1)
    hanging = python("import time; time.sleep(600)")
    ports = {"http": bound_sockets("127.0.0.1", 0)}
    made = Supervisor(settings, ports, command=lambda _: hanging)
    made._serving.set()
    signals = StopSignals()
    running = asyncio.create_task(made.run(signals))
    await eventually(lambda: made._engines.pid is not None)
    engines = made._engines.pid
    await eventually(lambda: made._engines.pid not in (None, engines))
    await eventually(lambda: "the fork server ended with status -9" in caplog.text)
    assert "the engine process hangs" in caplog.text
    assert "gateway process 1 hangs" in caplog.text
    signals.stop.set()
    await asyncio.wait_for(running, 60)
    assert made._engines.pid is None
    ports["http"][0].close()
