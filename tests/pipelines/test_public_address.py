"""Which addresses are public: by IANA's tables, and never more than ``ipaddress`` says."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.public_address import may_be_called

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
def test_what_is_inside_is_the_operators_choice(address: str) -> None:
    assert not may_be_called(address)
    assert may_be_called(address, allow_private=True)


@pytest.mark.parametrize("address", [*NEVER, "", "localhost", "1.2.3", "0x7f.0.0.1"])
def test_what_is_nobodys_is_never_called(address: str) -> None:
    assert not may_be_called(address)
    assert not may_be_called(address, allow_private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_called(address: str) -> None:
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
