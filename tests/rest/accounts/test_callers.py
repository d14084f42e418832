"""Digests of callers: the same for every spelling of a number, different elsewhere."""

import pytest
from aiohttp.test_utils import make_mocked_request

from rest.accounts.callers import HEADER, CallerIds, plain
from rest.http.errors import ValidationFailed

CALLERS = CallerIds(b"secret")


@pytest.mark.parametrize(
    "spelling", ["+49 30 901820", "tel:+4930901820", " 0049 (30) 90-18.20", "+4930901820"]
)
def test_a_telephone_number_has_one_digest(spelling: str) -> None:
    assert CALLERS.of("ws_1", spelling) == CALLERS.of("ws_1", "+4930901820")


@pytest.mark.parametrize("name", ["user-5", "a b", "sip:ann@example.org", "1234", "0-x", "User-5"])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert plain(f" {name} ") == name


def test_a_digest_belongs_to_one_workspace_and_one_installation() -> None:
    digest = CALLERS.of("ws_1", "Ann")
    assert digest is not None
    assert len(digest) == 32
    assert digest != CALLERS.of("ws_2", "Ann")
    assert digest != CallerIds(b"other").of("ws_1", "Ann")
    assert digest != CALLERS.of("ws_1", "Bob")
    assert (
        CALLERS.of("ws_1", None) is CALLERS.of("ws_1", " ") is CALLERS.of("ws_1", "x" * 257) is None
    )


def test_a_request_names_its_caller_in_a_header() -> None:
    request = make_mocked_request("GET", "/", headers={HEADER: "Ann"})
    assert CALLERS.of_request("ws_1", request) == CALLERS.of("ws_1", "Ann")
    assert CALLERS.of_request("ws_1", make_mocked_request("GET", "/")) is None
    for wrong in ("", "x" * 257):
        with pytest.raises(ValidationFailed):
            CALLERS.of_request("ws_1", make_mocked_request("GET", "/", headers={HEADER: wrong}))
