"""Which texts are e-mail addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.accounts.accounts import is_email


@given(st.emails())
def test_every_address_of_the_standard_is_accepted(address: str) -> None:
    assert is_email(address)


@pytest.mark.parametrize("text", ["a@b", "jürgen@müller.example", "a.b+c@x-y.example.org"])
def test_addresses(text: str) -> None:
    assert is_email(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "@",
        "a@",
        "@b.org",
        "a@@b.org",
        "a@b@c.org",
        "a b@c.org",
        "a@b .org",
        "a@b..org",
        "a@.org",
        "a@b.org.",
        "a@-b.org",
        "a@b-.org",
        "a\n@b.org",
        "<a@b.org>",
        "a@b_c.org",
        "x" * 65 + "@b.org",
        "a@" + "b" * 64 + ".org",
        "a@" + ".".join(["b" * 60] * 5),
        "a,b@c.org",
        "a@[127.0.0.1]",
        "a\u200b@b.org",
    ],
)
def test_malformed_ones(text: str) -> None:
    assert not is_email(text)
