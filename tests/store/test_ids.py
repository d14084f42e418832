import re
import time
from datetime import UTC, datetime

from store import ids


def test_ids_are_url_safe_unique_and_named():
    made = {ids.new_id("call") for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"call_[0-9a-z]{26}", one) for one in made)
    assert all(ids.is_id(one) for one in made)
    assert not ids.is_id("call_" + "u" * 26)
    assert not ids.is_id("call_1\n")


def test_ids_sort_by_time(monkeypatch):
    times = iter(range(10**18, 10**18 + 50 * 10**6, 10**6))
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    made = [ids.new_id("x") for _ in range(50)]
    assert made == sorted(made)


def test_ids_of_one_millisecond_sort_in_the_order_of_their_making(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    made = [ids.new_id("x") for _ in range(1000)]
    assert made == sorted(set(made))
    assert len({one[:20] for one in made}) > 1  # by steps that nobody can guess


def test_a_moment_separates_earlier_ids_from_later_ones(monkeypatch):
    moment = datetime(2030, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    made = []
    for milliseconds in (-1, 0, 1):
        nanoseconds = int(moment.timestamp() * 1000 + milliseconds) * 1_000_000
        monkeypatch.setattr(time, "time_ns", lambda: nanoseconds)  # noqa: B023 - used at once
        made.append(ids.new_id("job"))
    first = ids.first_id("job", moment)
    assert made[0] < first <= made[1] < made[2]
