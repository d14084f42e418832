"""``blab web`` with several processes and scripted engines: ``python -m … serve``.

The agent answers with the instructions' last number of words, spoken as a tone; ``slowly`` in the
instructions gives it 0.1 s for each word.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop

from gateway import logs
from gateway.commands.serve import Server
from gateway.processes import engine_process, gateway_process
from gateway.processes.supervisor import ENGINES, GATEWAY
from gateway.services import ServiceUrls
from gateway.settings import CHECKOUT, Settings
from gateway.steps import Steps
from pipelines.engines.base import ChatMessage
from pipelines.engines.scripted.live import ScriptedChatModel
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.pipelines.engine_process import ScriptedSet

MODULE = "tests.support.gateway.scripted_processes"
HEARD = "hello there"


def command(kind: str) -> Sequence[str]:
    return (sys.executable, "-m", MODULE, kind)


def words(messages: Sequence[ChatMessage]) -> str:
    """The answer that the instructions ask for."""
    system = next((m.content for m in messages if m.role == "system"), "")
    count = int((re.findall(r"\d+", system) or ["3"])[-1])
    return " ".join(f"word{number}" for number in range(count)) + "."


@dataclass
class Paced(ScriptedChatModel):
    """Slow where its instructions say so."""

    def stream(self, messages: Sequence[ChatMessage], **options: Any) -> Any:
        self.token_delay = 0.1 if "slowly" in messages[0].content else 0.0
        return super().stream(messages, **options)


def engines() -> ScriptedSet:
    """What both kinds of process declare."""
    return ScriptedSet(chat=Paced(answer=words))


@dataclass
class Processes:
    """The running server, from outside."""

    supervisor: asyncio.subprocess.Process
    url: str = ""
    key: str = ""
    said: list[str] = field(default_factory=list)

    def children(self) -> dict[str, int]:
        """Pids by kind: ``engines``, ``forks``, ``gateway 1``, …"""
        below = psutil.Process(self.supervisor.pid).children(recursive=True)
        named = {process.name(): process.pid for process in below}
        return {n.removeprefix("blab "): pid for n, pid in named.items() if n.startswith("blab ")}

    def gateways(self) -> dict[str, int]:
        return {name: pid for name, pid in self.children().items() if name.startswith("gateway")}

    def call(self, instructions: str = "say 3", **options: Any) -> RealtimeClient:
        """A call to the server, by its first process or its second."""
        return RealtimeClient(self.url.replace("http", "ws"), self.key, **options)

    async def ready(self, within: float = 60) -> None:
        """Until /readyz says so, whichever process answers."""
        async with aiohttp.ClientSession() as web, asyncio.timeout(within):
            while True:
                async with web.get(f"{self.url}/readyz") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.05)

    async def until_said(self, text: str, within: float = 120) -> str:
        """The line of standard error in which ``text`` is."""
        assert self.supervisor.stderr is not None
        for line in self.said:
            if text in line:
                return line
        async with asyncio.timeout(within):
            while line := (await self.supervisor.stderr.readline()).decode():
                self.said.append(line)
                if text in line:
                    return line
        raise AssertionError("".join(self.said))


@asynccontextmanager
async def running(urls: ServiceUrls, data_dir: Path, **settings: str) -> AsyncIterator[Processes]:
    """``blab web`` with two gateway processes on a free port."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BLAB_")}
    environment |= {
        "DATABASE_URL": urls.database_url,
        "REDIS_URL": urls.redis_url,
        "BLAB_DATA_DIR": str(data_dir),
        "BLAB_PORT": "0",
        "BLAB_PROCESSES": "2",
        "BLAB_MAX_CALLS": "20",
        "BLAB_DRAIN_SECONDS": "2",
        **settings,
    }
    supervisor = await asyncio.create_subprocess_exec(
        *command("serve"), cwd=CHECKOUT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    server = Processes(supervisor)
    try:
        line = await server.until_said("Listening on")
        server.url = line.split("Listening on ")[1].split("/ ")[0]
        await server.until_said("Blab is ready")
        yield server
    finally:
        if supervisor.returncode is None:
            supervisor.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(supervisor.wait(), 60)
        except TimeoutError:
            supervisor.kill()
            raise


async def eventually(condition: Callable[[], object], within: float = 60) -> None:
    """Wait until something outside of this process is so."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


def main() -> int:
    """The supervisor, or one of its children."""
    kind, *arguments = sys.argv[1:]
    if kind == GATEWAY:
        return gateway_process.main(arguments, engines().declared())
    if kind == ENGINES:
        return engine_process.main(arguments, engines().declared())
    settings = Settings.read(os.environ)
    logs.configure(settings.log_level)
    uvloop.run(Server(settings, embedded=False, steps=Steps(), command=command).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
