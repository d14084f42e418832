"""Sealed headers: unreadable outside the server, readable inside."""

from sessions.tools import seal, unseal


def test_what_is_sealed_can_be_opened_here_and_read_nowhere() -> None:
    sealed = seal({"Authorization": "Bearer TOP-SECRET"})
    assert "SECRET" not in sealed
    assert unseal(sealed) == {"Authorization": "Bearer TOP-SECRET"}


def test_no_headers_seal_to_an_empty_text() -> None:
    assert seal({}) == ""
    assert unseal("") == {}


def test_what_another_process_sealed_opens_nothing() -> None:
    assert unseal("gAAAAABnothing") == {}
