"""Small models, wheels and an HTTP server, for the tests of the weights."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipelines.weights.manifest import Model, ModelFile, Source


def model_file(path: str, data: bytes) -> ModelFile:
    return ModelFile(path, len(data), hashlib.sha256(data).hexdigest())


def fake_model(files: dict[str, bytes], *sources: Source, name: str = "toy") -> Model:
    return Model(
        name=name,
        upstream="nobody",
        licence="CC0-1.0",
        files=tuple(model_file(path, data) for path, data in files.items()),
        sources=sources,
    )


def make_wheel(folder: Path, name: str, version: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip takes; its ``__init__`` would raise when imported."""
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    path = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{plain}/__init__.py", "raise SystemExit('imported')")
        for member, data in members.items():
            wheel.writestr(member, data)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def make_tarball(folder: Path, name: str, version: str, members: dict[str, bytes]) -> Path:
    """A tarball as npm makes them."""
    path = folder / f"{name}-{version}.tgz"
    with tarfile.open(path, "w:gz") as tarball:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tarball.addfile(info, io.BytesIO(data))
    return path


class Web:
    """Files by path; ``breaks`` bytes into an answer the connection is dropped, that many times."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.break_after = 0
        self.breaks_left = 0
        self.ranges = True
        self.errors: list[int] = []
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        web, wanted = self.web, self.headers.get("Range")
        web.requests.append((self.path, wanted))
        data = web.files.get(self.path)
        if web.errors:
            return self.send_error(web.errors.pop(0))
        if data is None:
            return self.send_error(404)
        start = int(wanted[6:-1]) if wanted and web.ranges else 0
        if start >= len(data) and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if web.breaks_left:
            web.breaks_left -= 1
            body = body[: web.break_after]
        self.wfile.write(body)
        return None

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[Web]:
    web = Web()
    handler = type("Handler", (_Handler,), {"web": web})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        web.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join(5)
