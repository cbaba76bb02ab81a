"""The macros about dates and times: `{{weekday}}`, `{{time_UTC+2}}`, `{{idle_duration}}` and others."""

import re
from datetime import datetime, timedelta, timezone
from typing import Final

TIMES: Final = ("time", "isotime", "date", "isodate", "weekday")
_UTC: Final = re.compile(r"time_utc([+-]\d{1,2})", re.ASCII)
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_UNITS: Final = (
    (45 * _MINUTE, _MINUTE, "a minute", "minutes"),
    (22 * _HOUR, _HOUR, "an hour", "hours"),
    (26 * _DAY, _DAY, "a day", "days"),
    (320 * _DAY, 30 * _DAY, "a month", "months"),
    (float("inf"), 365 * _DAY, "a year", "years"),
)
"""The durations up to which a unit is used, the unit in seconds, and its names."""


def time_text(macro: str, now: datetime) -> str | None:
    """Return the value of a macro in lower case, or None if it is not about the time."""
    match macro:
        case "time" | "isotime":
            return f"{now:%H:%M}"
        case "date":
            return f"{now:%B} {now.day}, {now.year}"
        case "isodate":
            return f"{now:%Y-%m-%d}"
        case "weekday":
            return _WEEKDAYS[now.weekday()]
    found = _UTC.fullmatch(macro)
    if found is None or abs(int(found[1])) >= 24:  # noqa: PLR2004 - hours
        return None
    return f"{now.astimezone(timezone(timedelta(hours=int(found[1])))):%H:%M}"


def duration_text(seconds: float | None) -> str:
    """Return a duration in words, such as "5 minutes"; "just now" if there is none."""
    if seconds is None:
        return "just now"
    if seconds < 45:  # noqa: PLR2004 - seconds
        return "a few seconds"
    _, size, one, many = next(unit for unit in _UNITS if seconds < unit[0])
    count = round(seconds / size)
    return one if count <= 1 else f"{count} {many}"
