"""Objects in a bucket that serves clients directly."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import pytest

from store.errors import ObjectMissing, ObjectsUnavailable
from store.objects import ObjectStore
from tests.support.object_store import content, new_bucket, s3_server

KEY = "ws_1/job_1/take.mp3"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


def fetched(method: str, url: str) -> tuple[bytes, str, str]:
    with urlopen(Request(url, method=method), timeout=10) as answer:
        headers = answer.headers
        return answer.read(), headers["Content-Type"], headers["Content-Disposition"]


async def test_a_bucket_serves_clients_directly(endpoint: str):
    store = ObjectStore.open(new_bucket(endpoint))
    await store.put(KEY, b"audio", content_type="audio/mpeg", disposition='inline; filename="x"')
    expected = ("audio/mpeg", 'inline; filename="x"')
    address = await store.presigned(KEY, 60)
    assert address is not None
    assert address.startswith(endpoint)
    assert fetched("GET", address) == (b"audio", *expected)
    head = await store.presigned(KEY, 60, method="HEAD")
    assert head is not None
    assert fetched("HEAD", head) == (b"", *expected)


async def test_a_bucket_that_clients_cannot_reach_is_not_shown(endpoint: str):
    store = ObjectStore.open(new_bucket(endpoint) + "&redirects=false")
    assert await store.presigned(KEY, 60) is None


async def test_an_absent_bucket_and_an_absent_server_are_outages(endpoint: str):
    away = ObjectStore.open(
        "s3://b/?endpoint=http://127.0.0.1:9&region=x&access_key_id=a&secret_access_key=b"
    )
    with pytest.raises(ObjectsUnavailable) as expected:
        await away.put(KEY, b"1")
    assert "secret" not in str(expected.value)
    elsewhere = ObjectStore.open(
        f"s3://nowhere/?endpoint={endpoint}&region=x&access_key_id=a&secret_access_key=b"
    )
    with pytest.raises(ObjectsUnavailable, match="its bucket or directory does not exist"):
        await elsewhere.put(KEY, b"1")
    with pytest.raises(ObjectMissing):
        await elsewhere.read(KEY)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_bucket_that_refuses_the_credentials_says_so(status: int):
    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        store = ObjectStore.open(
            f"s3://b/?endpoint={endpoint}&region=x&access_key_id=a&secret_access_key=SECRET"
        )
        with pytest.raises(ObjectsUnavailable, match="it refused the credentials") as expected:
            await store.put(KEY, b"1")
        server.shutdown()
    assert "SECRET" not in str(expected.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://x/",
        "file:///",
        "file://relative",
        "s3://",
        "s3:///prefix",
        "nonsense",
        "s3://b/?surprise=1",
        "s3://b/?redirects=perhaps",
    ],
)
async def test_malformed_addresses(url: str):
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        ObjectStore.open(url)


async def test_credentials_may_come_from_the_environment(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    address = new_bucket(endpoint).partition("?")[0]
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    store = ObjectStore.open(address)
    await store.put(KEY, b"audio")
    assert await content(store, KEY) == b"audio"
