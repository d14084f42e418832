"""Seal: only the same secret and purpose open it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.accounts.signing import Broken, Seal


@given(secret=st.binary(), content=st.binary())
def test_a_sealed_text_can_be_opened_but_not_read(secret: bytes, content: bytes) -> None:
    sealed = Seal("letters").close(secret, content)
    assert Seal("letters").open(secret, sealed) == content
    assert len(content) < 8 or content not in sealed
    assert Seal("letters").close(secret, content) != sealed


@given(st.binary(max_size=60))
def test_text_that_was_never_sealed_is_refused(content: bytes) -> None:
    with pytest.raises(Broken):
        Seal("letters").open(b"secret", content)


@pytest.mark.parametrize(("purpose", "secret"), [("letters", b"other"), ("parcels", b"secret")])
def test_another_secret_or_purpose_opens_nothing(purpose: str, secret: bytes) -> None:
    sealed = Seal("letters").close(b"secret", b"dear all")
    with pytest.raises(Broken):
        Seal(purpose).open(secret, sealed)
