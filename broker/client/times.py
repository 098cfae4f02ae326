"""Times as people and programs give them; everywhere else they are milliseconds since 1970."""

from __future__ import annotations

from datetime import datetime

from ..errors import Invalid
from ..names import MAX_TIME_MS


def parse_time(text: str) -> datetime:
    """Return an ISO 8601 time with a zone.

    Raises:
        Invalid: no such form, without a zone, before 1970 or after 9999.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"not a time: {ascii(text)[:60]}; write 2026-12-24T18:00:00+01:00, or a Z for UTC"
        ) from None
    time_ms(time)
    return time


def time_ms(time: datetime) -> int:
    """Return an aware ``datetime`` as milliseconds since 1970.

    Raises:
        Invalid: it is none, has no zone, or is before 1970 or after 9999.
    """
    if not isinstance(time, datetime):
        raise Invalid(f"a time is a datetime with a zone, not {type(time).__name__}")
    if time.tzinfo is None:
        raise Invalid(f"the time {time.isoformat()} has no zone: write +01:00 or Z after it")
    milliseconds = round(time.timestamp() * 1000)
    if not 0 <= milliseconds <= MAX_TIME_MS:
        raise Invalid(f"the time {time.isoformat()} is not between 1970 and 9999, UTC")
    return milliseconds
