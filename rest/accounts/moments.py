"""Moments in time as clients write them: RFC 3339, with a time zone."""

import re
from datetime import UTC, datetime, timedelta

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def parse_moment(text: str) -> datetime:
    """The moment in UTC, to the microsecond; raises ValueError where it is none.

    A leap second is the first moment after it; what lies outside the years that can be stored (1 to
    9999) is the nearest one."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("a moment is written as 2030-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction = (found[7] or "")[:6].ljust(6, "0")
    ahead = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
    if second > 60 or int(found[9] or 0) > 23 or int(found[10] or 0) > 59:
        raise ValueError("a moment has at most 60 seconds and 23:59 hours of offset")
    if year == 0:
        return _FIRST
    moment = datetime(year, month, day, hour, minute, min(second, 59), int(fraction), UTC)
    late = timedelta(seconds=1 if second == 60 else 0)
    try:
        return moment + late - (ahead if found[8] == "+" else -ahead)
    except OverflowError:
        return _FIRST if year == 1 else _LAST
