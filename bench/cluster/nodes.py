"""The cluster: Postgres, Valkey, an S3 server, nodes of several processes, and a proxy."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.cluster import engines
from bench.server import wait_ready
from gateway.services import EmbeddedServices, ServiceUrls
from tests.support.object_store import new_bucket, s3_server
from tests.support.services import open_directory

ROOT = Path(__file__).parents[2]
BLAB = Path(sys.executable).with_name("blab")
STOP_SECONDS = 45.0

PROXY = ROOT / "deploy" / "haproxy.cfg"
_SERVER = "    server blab1 10.0.0.11:8484\n    server blab2 10.0.0.12:8484\n"
"""The lines of the configuration that name the nodes."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Node:
    """A ``blab serve``, and how to start it again."""

    name: str
    port: int
    environment: dict[str, str]
    log: Path
    command: Sequence[str] = (str(BLAB), "serve")
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it answers itself, without the proxy."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it takes calls."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, env=self.environment, stdout=log, stderr=log, cwd=ROOT
            )
        await wait_ready(self.url)

    def gateways(self) -> list[psutil.Process]:
        """Its gateway processes: those that hold sockets of callers."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if child.name().startswith("blab gateway")]

    def kill(self) -> None:
        """kill -9: its children die with it."""
        assert self.process is not None
        self.process.kill()

    async def stop(self) -> int | None:
        """SIGTERM; its exit code."""
        if self.process is None:
            return None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()


@dataclass(slots=True)
class Cluster:
    """What runs. ``url``: the proxy's."""

    url: str
    key: str
    services: ServiceUrls
    folder: Path
    nodes: list[Node] = field(default_factory=list)


@contextlib.asynccontextmanager
async def cluster(
    nodes: int,
    processes: int,
    calls: int,
    urls: ServiceUrls | None = None,
    *,
    command: Sequence[str] = (str(BLAB), "serve"),
) -> AsyncIterator[Cluster]:
    """A running cluster; ``calls``: how many may come in all. ``urls``: of a Postgres and a Valkey
    that run; the objects are then kept in a folder. ``command``: starts a node."""
    folder = open_directory()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        bucket = f"file://{folder}/objects"
        if urls is None:
            services = EmbeddedServices(folder / "data")
            urls = await services.start()
            stack.push_async_callback(services.stop)
            bucket = new_bucket(stack.enter_context(s3_server()))
        environment = {
            **os.environ,
            **engines.ENVIRONMENT,
            "PYTHONPATH": os.pathsep.join([str(stack.enter_context(engines.installed()))]),
            "DATABASE_URL": urls.database_url,
            "REDIS_URL": urls.redis_url,
            "BLAB_OBJECTS_URL": bucket,
            "BLAB_MODELS_DIR": os.environ.get("BLAB_MODELS_DIR", str(ROOT / ".blab" / "models")),
            **({"BLAB_PROCESSES": str(processes)} if processes > 1 else {}),
            "BLAB_MAX_CALLS": str(calls),
            "BLAB_WORKERS": "0",
            "BLAB_RATE_LIMIT": "0",
            "BLAB_SECRET_KEY": "s" * 40,
            "BLAB_TRUSTED_PROXIES": "127.0.0.1",
        }
        key = await _key(environment | {"BLAB_DATA_DIR": str(folder / "key")})
        running = Cluster(f"http://127.0.0.1:{free_port()}", key, urls, folder)
        for name in "abcdefgh"[:nodes]:
            own = {"BLAB_DATA_DIR": str(folder / name), "BLAB_PORT": str(port := free_port())}
            node = Node(name, port, environment | own, folder / f"{name}.log", command)
            running.nodes.append(node)
            stack.push_async_callback(node.stop)
        await asyncio.gather(*(node.start() for node in running.nodes))
        await stack.enter_async_context(_proxy(running))
        yield running


async def _key(environment: dict[str, str]) -> str:
    made = await asyncio.create_subprocess_exec(
        BLAB, "key", "--name", "cluster", env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await made.communicate()
    if made.returncode:
        raise RuntimeError("blab key failed")
    return out.decode().strip()


@contextlib.asynccontextmanager
async def _proxy(running: Cluster) -> AsyncIterator[None]:
    """HAProxy with the configuration in ``deploy``, without TLS."""
    port = running.url.rpartition(":")[2]
    servers = "".join(f"    server {n.name} 127.0.0.1:{n.port}\n" for n in running.nodes)
    text = PROXY.read_text()
    for old, new in (
        ("    log /dev/log local0\n", ""),
        ("    bind :80\n", ""),
        (":443 ssl crt /etc/haproxy/blab.pem alpn h2,http/1.1", f"127.0.0.1:{port}"),
        ("    http-request redirect scheme https code 301 unless { ssl_fc }\n", ""),
        (_SERVER, servers),
    ):
        if old not in text:
            raise ValueError(f"{PROXY.name} has no {old!r} any more")
        text = text.replace(old, new)
    configuration = running.folder / PROXY.name
    configuration.write_text(text)
    proxy = await asyncio.create_subprocess_exec("haproxy", "-db", "-f", str(configuration))
    try:
        await wait_ready(running.url, 20)
        yield
    finally:
        proxy.terminate()
        await proxy.wait()
