"""Signed addresses."""

import pytest

from rest.accounts.signing import UrlSigner
from rest.http.errors import Forbidden

SECRET = b"s" * 32
KEY = "ws_1/job_1/take.mp3"


class Clock:
    now = 1_700_000_000.5

    def __call__(self) -> float:
        return self.now


def target(signer: UrlSigner, **more: bool) -> str:
    url = signer.url("https://x.example", "ws_1", KEY, **more)
    assert url.startswith("https://x.example/api/files/ws_1/job_1/take.mp3?")
    return url.removeprefix("https://x.example")


def reason(signer: UrlSigner, address: str) -> str | None:
    with pytest.raises(Forbidden) as refused:
        signer.check(address)
    return refused.value.reason


def test_a_signed_url_is_valid_until_it_expires():
    clock = Clock()
    signer = UrlSigner(SECRET, clock=clock)
    address = target(signer)
    signed = signer.check(address)
    assert (signed.workspace_id, signed.key, signed.attachment) == ("ws_1", KEY, False)
    assert signed.seconds == 899
    clock.now += 899.4
    assert signer.check(address).seconds == 1
    clock.now += 0.2
    assert reason(signer, address) == "expired"


def test_the_content_disposition_is_signed_too():
    signer = UrlSigner(SECRET)
    address = target(signer, attachment=True)
    assert signer.check(address).attachment
    assert reason(signer, address.replace("&download=1", "")) == "bad_signature"
    assert reason(signer, target(signer) + "&download=1") == "bad_signature"


def test_any_changed_byte_is_refused():
    signer = UrlSigner(SECRET)
    address = target(signer)
    for place, letter in enumerate(address):
        for other in {"0", "A", "%", chr(ord(letter) ^ 1), letter.swapcase()} - {letter}:
            assert reason(signer, address[:place] + other + address[place + 1 :]) == "bad_signature"
        assert reason(signer, address[:place] + address[place + 1 :]) == "bad_signature"
        encoded = f"{address[:place]}%{ord(letter):02X}{address[place + 1 :]}"
        assert reason(signer, encoded) == "bad_signature"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/",
        "/api/files/",
        "/api/files/?workspace=&expires=0&signature=",
        "x" * 5000,
        "/api/files/a?workspace=w&expires=%C2%B2&signature=x",
        "/api/files/a?workspace=w&expires=99999999999999&signature=x",
        "/api/files/a?workspace=%C3%A9&expires=1&signature=x",
        "/api/files/a?workspace=w&expires=1&expires=2&signature=x",
        "/api/files/é",
        "http://[",
    ],
)
def test_nonsense_is_refused(address: str):
    assert reason(UrlSigner(SECRET), address) == "bad_signature"


def test_another_secret_is_another_signature():
    assert reason(UrlSigner(b"t" * 32), target(UrlSigner(SECRET))) == "bad_signature"


def test_only_object_keys_are_served():
    signer = UrlSigner(SECRET)
    address = signer.url("", "ws_1", "../secret")
    assert reason(signer, address) == "bad_signature"
