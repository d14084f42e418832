"""Requests that another process has to answer, over its Unix socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.processes import neighbours
from gateway.processes.neighbours import Neighbours


class Process:
    """A process that has one thing, and asks the others for what it does not have."""

    def __init__(self, folder: Path, number: int, has: str) -> None:
        self.has = has
        self.url = ""
        self.seen: list[tuple[str, str, str]] = []
        self.delay = 0.0
        self.neighbours = Neighbours(folder, number)
        self.neighbours.serve("PATCH", "/things/{name}", self._own)

    async def _own(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        if request.match_info["name"] != self.has:
            return web.Response(status=404)
        body = await request.text()
        self.seen.append((body, request.headers["If-Match"], request.query_string))
        return web.Response(status=412, text=f"not {body}", headers={"ETag": '"1"'})

    async def patch(self, request: web.Request) -> web.Response:
        body = await request.read()
        answer = await self._own(request)
        if answer.status == 404:
            return await self.neighbours.ask(request, body) or answer
        return answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        app = web.Application()
        app.router.add_patch("/things/{name}", self.patch)
        app.cleanup_ctx.append(self.neighbours.context)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/things"
        yield self
        await runner.cleanup()


async def ask(url: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as web,
        web.patch(url, data="this", headers={"If-Match": '"0"'}) as answer,
    ):
        return answer.status, await answer.text(), answer.headers.get("ETag", "")


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[list[Process]]:
    made = [Process(tmp_path, number, f"thing {number}") for number in (1, 2, 3)]
    async with AsyncExitStack() as stack:
        for one in made:
            await stack.enter_async_context(one.running())
        yield made
    left = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    assert left == []


async def test_whoever_has_it_answers_and_the_answer_is_passed_on(
    processes: list[Process],
) -> None:
    for one in processes:
        for other in processes:
            answer = await ask(f"{one.url}/thing {other.neighbours._own.stem[-1]}?a=b")
            assert answer == (412, "not this", '"1"')
    assert [one.seen for one in processes] == [[("this", '"0"', "a=b")] * 3] * 3


async def test_what_nobody_has_is_not_found_and_asked_once(processes: list[Process]) -> None:
    assert (await ask(f"{processes[0].url}/nothing"))[0] == 404


async def test_a_process_that_has_died_or_hangs_is_passed_over(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(neighbours, "ASK_SECONDS", 0.2)
    processes[1].delay = 0.5
    (tmp_path / "gateway-0.sock").touch()
    assert (await ask(f"{processes[0].url}/thing 3"))[0] == 412
    (tmp_path / "gateway-0.sock").unlink()


async def test_the_socket_of_a_process_that_died_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "gateway-1.sock").touch()
    async with (
        Process(tmp_path, 1, "one").running(),
        Process(tmp_path, 2, "two").running() as second,
    ):
        assert (await ask(f"{second.url}/one"))[0] == 412
