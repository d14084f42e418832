"""RFC 3339, with its corners."""

from datetime import UTC, datetime

import pytest

from rest.http.fields import parse_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31t12:00:00.5z", datetime(2030, 1, 31, 12, 0, 0, 500000, tzinfo=UTC)),
        ("2030-01-31 12:00:00.123456789+02:30", datetime(2030, 1, 31, 9, 30, 0, 123456, UTC)),
        ("2030-01-31T12:00:00-01:00", datetime(2030, 1, 31, 13, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0000-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+05:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:60Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2030-01-31",
        "2030-01-31T12:00:00",
        "2030-02-30T12:00:00Z",
        "2030-01-31T24:00:00Z",
        "2030-01-31T12:00:61Z",
        "2030-01-31T12:00:00+24:00",
        "2030-01-31T12:00:00+01:60",
        "2030-1-31T12:00:00Z",
        "20300131T120000Z",
        "2030-01-31T12:00:00Z ",
        "２030-01-31T12:00:00Z",
    ],
)
def test_malformed_ones(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_moment(text)
