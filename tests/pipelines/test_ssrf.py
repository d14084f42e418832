"""Requests to customers' addresses: which are refused, and what the others receive."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines import ssrf
from pipelines.ssrf import CustomerHttp, Undelivered, UrlRefused, may_be_called

GUARD = CustomerHttp()
REFUSED = [
    "",
    "example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//example.com/",
    "https:example.com",
    "https:///path",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://exa mple.com/",
    "https://example.com/\r\nHost: x",
    " https://example.com/",
    "https://ex%61mple.com/",
    "https://-/x" + "y" * 2048,
    "https://a..b/",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 127 + "com/",
    "https://[::1",
    "https://[::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[2606:4700::1%25eth0]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[64:ff9b::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[x]/",
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://127.1/",
    "https://0/",
    "https://0x7f000001/",
    "https://017700000001/",
    "https://2130706433/",
    "https://0x/",
    "https://1.2.3.4.5/",
    "https://8.8.8.08/",
    "https://1e100.999/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://169.254.169.254/latest/meta-data/",
]


@pytest.mark.parametrize("url", REFUSED)
def test_refused_before_anything_is_looked_up(url: str) -> None:
    with pytest.raises(UrlRefused) as refusal:
        GUARD.check(url)
    assert str(refusal.value).startswith("The URL")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTPS://Example.COM./hook?a=1#f",
        "http://hooks.example.com:8443/x",
        "https://my_host.example.com/",
        "https://bücher.example/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]:9000/",
    ],
)
def test_accepted(url: str) -> None:
    assert GUARD.check(url).raw_host


def spellings(number: int) -> list[str]:
    a, b, c, d = number.to_bytes(4, "big")
    low = number & 0xFFFF
    return [
        f"{number}",
        f"{number:#x}",
        f"0X{number:X}",
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{low}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:#x}.{b}.0{low:o}",
        f"{a}.{b}.{c}.{d}.",
        f"{a:03}.{b:03}.{c:03}.{d:03}.",
        f"[::ffff:{a}.{b}.{c}.{d}]",
        f"[::ffff:{number >> 16:x}:{low:x}]",
        f"[0:0:0:0:0:ffff:{number >> 16:x}:{low:x}]",
        f"[64:ff9b::{a}.{b}.{c}.{d}]",
        f"[2002:{number >> 16:x}:{low:x}::1]",
    ]


@given(st.ip_addresses(v=4))
def test_other_spellings_of_an_address_are_refused(address: IPv4Address) -> None:
    for host in spellings(int(address)):
        with pytest.raises(UrlRefused):
            GUARD.check(f"https://{host}/")


@example("[]@", "https://")
@given(
    st.text(max_size=40), st.sampled_from(["", "http://", "https://", "https://a@", "https://["])
)
def test_any_text_is_accepted_or_refused(text: str, before: str) -> None:
    try:
        assert GUARD.check(before + text).raw_host
    except UrlRefused:
        return


@given(st.ip_addresses(), st.sampled_from(["http", "https"]))
def test_an_accepted_host_is_public_or_a_name(address: object, scheme: str) -> None:
    host = f"[{address}]" if ":" in str(address) else str(address)
    try:
        assert GUARD.check(f"{scheme}://{host}/").raw_host
    except UrlRefused:
        return
    GUARD.check_address(str(address))


def names(**known: list[str]) -> Callable[[str], list[str]]:
    def look_up(name: str) -> list[str]:
        found = known.get(name.split(".")[0])
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return found

    return look_up


@asynccontextmanager
async def guarding(http: CustomerHttp) -> AsyncIterator[CustomerHttp]:
    try:
        yield http
    finally:
        await http.close()


async def test_admission_resolves_the_name() -> None:
    known = names(public=["1.1.1.1"], inside=["10.0.0.1"], mixed=["1.1.1.1", "::1"])
    async with guarding(CustomerHttp(look_up=known)) as http:
        await http.admit("https://public.test/")
        await http.admit("https://absent.test/")
        for host in ("inside.test", "mixed.test", "127.0.0.1", "[::1]"):
            with pytest.raises(UrlRefused) as refusal:
                await http.admit(f"https://{host}/")
            assert "10.0.0.1" not in str(refusal.value)
    open_to_all = CustomerHttp(look_up=known, allow_private=True)
    async with guarding(open_to_all) as http:
        await http.admit("https://inside.test/")
        await http.admit("https://127.0.0.1/")
        with pytest.raises(UrlRefused):
            await http.admit("https://169.254.169.254/")


@asynccontextmanager
async def endpoint(handler: Callable[[web.Request], object]) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    server = TestServer(app)
    async with server:
        yield server


async def test_a_name_that_resolves_to_a_private_address_is_not_called() -> None:
    """Also not where it led elsewhere when it was admitted."""
    called = []

    async def taken(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.Response()

    answers = {"rebound.test": ["1.1.1.1"]}
    async with (
        endpoint(taken) as server,
        guarding(CustomerHttp(look_up=lambda name: answers[name])) as http,
    ):
        await http.admit(f"http://rebound.test:{server.port}/")
        for rebound in (["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::ffff:127.0.0.1"]):
            answers["rebound.test"] = rebound
            with pytest.raises(UrlRefused):
                await http.post(f"http://rebound.test:{server.port}/", b"{}", {})
        with pytest.raises(UrlRefused):
            await http.post(f"http://127.0.0.1:{server.port}/", b"{}", {})
    assert called == []


async def test_the_connected_peer_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    async def taken(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.Response()

    async def unguarded(self: CustomerHttp, name: str, seconds: float = 0) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(CustomerHttp, "resolve", unguarded)
    async with endpoint(taken) as server, guarding(CustomerHttp()) as http:
        url = f"http://name.test:{server.port}/"
        with pytest.raises(UrlRefused):
            await http.post(url, b"", {})
        monkeypatch.setattr(
            "pipelines.ssrf._PinnedConnector._socket",
            lambda self, info: socket.socket(info[0], info[1], info[2]),
        )
        with pytest.raises(UrlRefused):
            await http.post(url, b"", {})
    assert called == []


async def test_redirects_and_proxies_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    async def elsewhere(request: web.Request) -> web.Response:
        called.append((request.path, request.headers["Host"], await request.read()))
        return web.Response(status=307, headers={"Location": "/other", "Set-Cookie": "a=b"})

    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    known = names(hook=["127.0.0.1"])
    async with (
        endpoint(elsewhere) as server,
        guarding(CustomerHttp(allow_private=True, look_up=known)) as http,
    ):
        url = f"http://hook.test:{server.port}/first"
        assert await http.post(url, b"body", {"X-A": "b"}) == 307
        assert called == [("/first", f"hook.test:{server.port}", b"body")]


async def test_an_endless_answer_is_cut_at_the_cap() -> None:
    sent, left = 0, asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                sent += 65536
        finally:
            left.set()

    async with (
        endpoint(endless) as server,
        guarding(CustomerHttp(allow_private=True)) as http,
        asyncio.timeout(10),
    ):
        assert await http.post(f"http://127.0.0.1:{server.port}/", b"", {}) == 200
        await left.wait()
    assert sent < 32 * 1024 * 1024  # what the sockets' buffers took


async def test_an_open_answer_is_read_by_who_asked() -> None:
    asked = []

    async def plain(request: web.Request) -> web.Response:
        asked.append((request.method, request.headers["Accept-Encoding"], await request.read()))
        return web.Response(text="hello", status=201)

    async with endpoint(plain) as server:
        url = f"http://127.0.0.1:{server.port}/"
        async with (
            guarding(CustomerHttp(allow_private=True)) as http,
            http.open("PUT", url, headers={}, body=b"body") as answer,
        ):
            assert (answer.status, await answer.text()) == (201, "hello")
        assert asked == [("PUT", "identity", b"body")]
        async with guarding(CustomerHttp()) as http:
            with pytest.raises(UrlRefused):
                async with http.open("GET", url, headers={}):
                    pass
        assert len(asked) == 1


async def test_a_silent_endpoint_and_an_absent_one_time_out() -> None:
    released = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    known = names(slow=["127.0.0.1"])
    async with endpoint(silent) as server, guarding(
        CustomerHttp(allow_private=True, deadline=0.1, look_up=known)
    ) as http:  # fmt: skip
        with pytest.raises(Undelivered, match=r"no answer within 0\.1 seconds"):
            await http.post(f"http://slow.test:{server.port}/", b"", {})
        with pytest.raises(Undelivered, match="name could not be resolved"):
            await http.post("http://absent.test/", b"", {})
        with pytest.raises(Undelivered, match="TLS"):
            await http.post(f"https://slow.test:{server.port}/", b"", {})
        released.set()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with guarding(CustomerHttp(allow_private=True)) as http:
            with pytest.raises(Undelivered, match="not be connected to"):
                await http.post(f"http://127.0.0.1:{port}/", b"", {})


async def test_a_broken_answer() -> None:
    async def broken(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with endpoint(broken) as server, guarding(CustomerHttp(allow_private=True)) as http:
        with pytest.raises(Undelivered, match="lost"):
            await http.post(f"http://127.0.0.1:{server.port}/", b"", {})


async def test_a_slow_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.ssrf.ADMISSION_SECONDS", 0.05)
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(name: str) -> list[str]:
        asyncio.run_coroutine_threadsafe(answered.wait(), loop).result(10)
        return ["10.0.0.1"]

    async with guarding(CustomerHttp(look_up=slow)) as http:
        await http.admit("https://slow.test/")
        answered.set()


def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in ssrf.look_up("127.0.0.1")


INSIDE = ["10.0.0.1", "127.0.0.1", "127.255.0.9", "172.31.255.255", "192.168.1.1", "::1"]
INSIDE += ["100.64.0.1", "fd00::1", "fc00::1"]
NEVER = ["0.0.0.0", "0.1.2.3", "169.254.169.254", "192.0.0.8", "192.0.2.1", "192.88.99.1"]
NEVER += ["198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1"]
NEVER += ["255.255.255.255", "::", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::808:808", "100::1"]
NEVER += ["64:ff9b:1::1", "2001::1", "2001:db8::1", "2002:808:808::", "3fff::1", "5f00::1"]
NEVER += ["fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1%eth0", "4000::1"]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.1.1", "223.255.255.255", "100.128.0.1"]
PUBLIC += ["2606:4700::1111", "2a00:1450::1", "2001:200::1", "2003::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_private_addresses_are_the_operators_choice(address: str) -> None:
    assert not may_be_called(address)
    assert may_be_called(address, allow_private=True)


@pytest.mark.parametrize("address", [*NEVER, "", "localhost", "1.2.3", "0x7f.0.0.1"])
def test_reserved_addresses_are_never_called(address: str) -> None:
    assert not may_be_called(address)
    assert not may_be_called(address, allow_private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_called(address: str) -> None:
    assert may_be_called(address)


@given(st.ip_addresses())
def test_never_more_than_the_standard_library_calls_global(
    address: IPv4Address | IPv6Address,
) -> None:
    if may_be_called(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_no_ipv6_form_carries_an_ipv4_address(address: IPv4Address) -> None:
    number = int(address)
    carried = [0xFFFF << 32 | number, number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    carried += [0x20010000 << 96 | ~number & 0xFFFFFFFF]  # Teredo hides the client's
    for form in carried:
        if form != 1:
            assert not may_be_called(str(IPv6Address(form)), allow_private=True)


def test_loopback_of_both_kinds_is_inside() -> None:
    assert ip_address("::1").is_loopback
    assert may_be_called("::1", allow_private=True)
