"""Origins of web pages, and which of them a pattern names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.accounts.origins import canonical, canonical_pattern, covers

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
HOSTS = st.lists(NAMES, min_size=2, max_size=4).map(".".join)
PORTS = st.one_of(st.none(), st.integers(1, 65535))
SCHEMES = st.sampled_from(["http", "https"])


def written(scheme: str, host: str, port: int | None) -> str:
    return f"{scheme}://{host}" + ("" if port is None else f":{port}")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("HTTPS://shop.example:443/", "https://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://Bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_written_in_one_way(text: str, origin: str) -> None:
    assert canonical(text) == origin
    assert canonical_pattern(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "shop.example",
        "//shop.example",
        "ftp://shop.example",
        "https://",
        "https://shop.example/page",
        "https://shop.example?",
        "https://shop.example#top",
        "https://user@shop.example",
        "https://shop.example:99999",
        "https://shop..example",
        "https://shop.example.",
        "https://shop example",
        "https://shop.example\n",
        "https://shop.example\\evil.example",
        "https://*",
        "https://*.com",
        "https://*.10.0.0.1",
        "https://*.[::1]",
        "https://*.*.shop.example",
        "https://www.*.example",
        "https://" + "a" * 300 + ".example",
    ],
)
def test_what_is_no_origin_names_nothing(text: str) -> None:
    assert canonical(text) is None
    assert canonical_pattern(text) is None


@pytest.mark.parametrize(
    ("origin", "covered"),
    [
        ("https://www.shop.example", True),
        ("https://a.b.shop.example", True),
        ("https://shop.example", False),
        ("https://evilshop.example", False),
        ("https://shop.example.evil.example", False),
        ("http://www.shop.example", False),
        ("https://www.shop.example:8443", False),
    ],
)
def test_a_star_names_the_hosts_below(origin: str, *, covered: bool) -> None:
    pattern = canonical_pattern("https://*.Shop.example")
    assert pattern == "https://*.shop.example"
    assert canonical(pattern) is None
    assert covers([pattern], origin) is covered


@given(SCHEMES, HOSTS, PORTS, SCHEMES, HOSTS, PORTS)
def test_an_origin_names_itself_alone(
    scheme: str, host: str, port: int | None, other_scheme: str, other: str, other_port: int | None
) -> None:
    one, two = (
        canonical(written(*parts))
        for parts in ((scheme, host, port), (other_scheme, other, other_port))
    )
    if one is not None and two is not None:
        assert canonical(one) == one
        assert covers([one], one)
        assert covers([one], two) is (one == two)


@given(st.text(max_size=40))
def test_no_text_is_too_odd(text: str) -> None:
    found = canonical_pattern(text)
    assert found is None or canonical_pattern(found) == found
