"""Object stores for tests: a directory, and a bucket of a server in this process."""

import contextlib
import uuid
from collections.abc import Iterator
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer

from store.objects import ObjectStore


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint of a server that speaks S3."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class RestartableS3:
    """A server that speaks S3 at one address, and can be away for a while; its objects stay."""

    def __init__(self) -> None:
        self._server = self._started(0)
        _, self._port = self._server.get_host_and_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Connections are refused inside the block."""
        self._server.stop()
        try:
            yield
        finally:
            self._server = self._started(self._port)

    def stop(self) -> None:
        """For good."""
        self._server.stop()

    @staticmethod
    def _started(port: int) -> ThreadedMotoServer:
        server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        server.start()
        return server


def new_bucket(endpoint: str) -> str:
    """The address of a bucket of one's own."""
    name = f"blab-{uuid.uuid4().hex}"
    urlopen(Request(f"{endpoint}/{name}", method="PUT"), timeout=10).close()
    return f"s3://{name}/some/prefix?endpoint={endpoint}&region=us-east-1&access_key_id=a&secret_access_key=b"


async def content(store: ObjectStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    """An object's bytes."""
    found = await store.read(key, start, end)
    return b"".join([piece async for piece in found.pieces])


async def keys(store: ObjectStore) -> set[str]:
    """Every key that has bytes."""
    return {head.key async for page in store.list() for head in page}
