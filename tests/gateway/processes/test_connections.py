"""Connections accepted here and served there: evenly, by name, and until either side ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from gateway.lifecycle import bound_sockets
from gateway.processes import connections
from gateway.processes.connections import (
    AUDIOSOCKET,
    HTTP,
    Acceptor,
    Member,
    PassedConnections,
    Report,
    channel_pair,
)


@dataclass
class Gateway:
    """A gateway process in this one: counts what it is passed, and answers with its name."""

    name: str
    ends: list[str]
    member: Member = field(init=False)
    passed: PassedConnections = field(init=False)
    taken: list[str] = field(default_factory=list)
    reports: int = 0

    def __post_init__(self) -> None:
        ours, theirs = channel_pair()
        self.member = Member(ours, self._reported, lambda: self.ends.append(self.name))
        self.passed = PassedConnections(theirs, lambda: self.ends.append(f"parent of {self.name}"))
        for port in (HTTP, AUDIOSOCKET):
            self.passed.serve(port, self._serve(port))
        self.say()

    def say(self, **report: object) -> None:
        self.passed.report(Report(**{"capacity": 10, **report}))

    def _reported(self) -> None:
        self.reports += 1

    def _serve(self, port: str) -> Callable[[socket.socket], object]:
        async def serve(connection: socket.socket) -> None:
            self.taken.append(port)
            with connection:
                await asyncio.get_running_loop().sock_sendall(connection, self.name.encode())

        return serve


@dataclass
class House:
    """An acceptor in front of two gateways."""

    gateways: list[Gateway]
    acceptor: Acceptor
    ports: dict[str, int]
    ends: list[str]

    async def connect(self, port: str = HTTP) -> str:
        """The name of whoever serves a new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[port])
        async with asyncio.timeout(5):
            name = await reader.read()
        writer.close()
        await writer.wait_closed()
        return name.decode()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    ends: list[str] = []
    gateways = [Gateway(name, ends) for name in ("first", "second")]
    sockets = {name: bound_sockets("127.0.0.1", 0) for name in (HTTP, AUDIOSOCKET)}
    acceptor = Acceptor(
        sockets, lambda: [one.member for one in gateways if one.member.report is not None]
    )
    await until(lambda: all(one.reports for one in gateways))
    acceptor.start()
    ports = {name: found[0].getsockname()[1] for name, found in sockets.items()}
    yield House(gateways, acceptor, ports, ends)
    acceptor.close()
    for one in gateways:
        one.member.close()
        one.passed.close()
    for found in sockets.values():
        found[0].close()


async def test_connections_spread_evenly_and_keep_the_name_of_their_port(house: House) -> None:
    names = [await house.connect() for _ in range(6)]
    assert sorted(names) == ["first"] * 3 + ["second"] * 3
    await house.connect(AUDIOSOCKET)
    assert sum(one.taken.count(AUDIOSOCKET) for one in house.gateways) == 1


async def test_a_burst_spreads_before_anybody_has_reported(house: House) -> None:
    names = await asyncio.gather(*(house.connect() for _ in range(40)))
    assert names.count("first") == names.count("second") == 20


@pytest.mark.parametrize(
    "busy", [{"calls": 3}, {"draining": True}, {"calls": 10}, {"connections": 5}]
)
async def test_the_process_with_the_least_to_do_is_next(
    house: House, busy: dict[str, object]
) -> None:
    first = house.gateways[0]
    reports = first.reports
    first.say(**busy)
    await until(lambda: first.reports > reports)
    assert await house.connect() == "second"


async def test_a_full_process_serves_where_all_are_full_and_a_draining_one_at_last(
    house: House,
) -> None:
    first, second = house.gateways
    first.say(draining=True)
    second.say(calls=10)
    await until(lambda: first.reports + second.reports == 4)
    assert await house.connect() == "second"
    second.say(draining=True)
    await until(lambda: second.reports == 3)
    assert await house.connect() in ("first", "second")


async def test_a_report_that_says_nothing_new_is_not_sent(house: House) -> None:
    first = house.gateways[0]
    first.say()
    first.say(calls=1)
    await until(lambda: first.reports == 2)


async def test_nobody_waits_for_a_process_that_has_gone(house: House) -> None:
    first, second = house.gateways
    first.passed.close()
    assert [await house.connect() for _ in range(3)] == ["second"] * 3
    await until(lambda: house.ends == ["first"])
    second.member.close()
    await until(lambda: house.ends == ["first", "parent of second"])


async def test_a_connection_waits_where_no_process_takes_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = house.acceptor._members
    monkeypatch.setattr(house.acceptor, "_members", list)
    monkeypatch.setattr(connections, "AGAIN_SECONDS", 0.001)
    waiting = [asyncio.create_task(house.connect()) for _ in range(3)]
    await until(lambda: house.acceptor._held is not None)
    monkeypatch.setattr(house.acceptor, "_members", members)
    assert len(await asyncio.gather(*waiting)) == 3


async def test_connections_of_a_port_that_nobody_serves_are_closed(house: House) -> None:
    for one in house.gateways:
        del one.passed._serve[AUDIOSOCKET]
    assert await house.connect(AUDIOSOCKET) == ""
    assert await house.connect() != ""
