"""A request takes one of the calls' slots, or is refused."""

import pytest

from rest.http.errors import Unavailable
from rest.http.waiting import slot
from sessions.admission import Admission


def test_a_slot_is_taken_and_given_back() -> None:
    admission = Admission(1)
    with slot(admission, "ws_1"):
        assert admission.active == 1
        with pytest.raises(Unavailable) as full:
            slot(admission, "ws_1")
        assert (full.value.openai_code, full.value.reason) == ("server_full", "server_full")
        assert full.value.retry_after == 10
    assert admission.active == 0
