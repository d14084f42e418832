"""Which requests count as one client, and whose forwarded address is trusted."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Request
from multidict import CIMultiDict

from rest.http.ratelimit import ClientAddress

PROXIES = [ip_network("10.0.0.0/8"), ip_network("::1/128")]


def request(remote: str | None, *forwarded: str) -> Request:
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    return make_mocked_request("GET", "/", headers).clone(remote=remote or "")


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, [], "local"),
    ],
)
def test_addresses(remote: str | None, forwarded: list[str], address: str) -> None:
    assert ClientAddress(PROXIES).of(request(remote, *forwarded)) == address


def test_without_proxies_forwarded_addresses_are_ignored() -> None:
    assert ClientAddress().of(request("10.0.0.1", "198.51.100.1")) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("127.0.0.1", None),
        ("::ffff:127.0.0.1", None),
        ("::1", None),
        ("10.0.0.1", None),
        ("", None),
    ],
)
def test_loopback_and_proxies_represent_many_clients(peer: str, counted: str | None) -> None:
    assert ClientAddress(PROXIES).of_peer(peer) == counted
