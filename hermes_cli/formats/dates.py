"""When something was said, as text: seconds since 1970 and back. Nobody's clock is asked."""

import datetime as dt
import re
from typing import Any, Final

_MILLISECONDS: Final = re.compile(r"(?<=[0-9]s)[ ]?[0-9]{1,3}ms$")
# SillyTavern's own ways of writing a time, in the order of its versions, in local time.
_TAVERN: Final = ("%B %d, %Y %I:%M%p", "%Y-%m-%d@%Hh%Mm%Ss", "%Y-%m-%d @%Hh%Mm%Ss")
_MILLISECONDS_SINCE_1970_ABOVE: Final = 1e11
LAST: Final = 253_370_764_800.0
"""The year 9999 begins: beyond it no time can be shown. Seconds since 1970."""


def minute(seconds: float) -> str:
    """Return a time for a person to read, in UTC, so that the same conversation is always the same file."""
    return _utc(seconds).strftime("%Y-%m-%d %H:%M UTC") if seconds else ""


def iso(seconds: float) -> str:
    """Return a time as JavaScript writes it: 2026-01-31T13:05:09.250Z."""
    return _utc(seconds).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def seconds_of(value: Any) -> float:
    """Return what time a chat of SillyTavern's means, or 0 where it cannot be told."""
    try:
        found = _seconds(value)
    except (ValueError, OverflowError, OSError):
        return 0.0
    return found if 0 < found < LAST else 0.0


def _seconds(value: Any) -> float:
    if isinstance(value, str) and not value.isdecimal():
        try:
            return dt.datetime.fromisoformat(value).timestamp()
        except ValueError:
            return _tavern(value)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return 0.0
    number = float(value)
    return number / 1000 if number > _MILLISECONDS_SINCE_1970_ABOVE else number


def _tavern(text: str) -> float:
    text = _MILLISECONDS.sub("", text.strip())
    for form in _TAVERN:
        try:
            return dt.datetime.strptime(text, form).timestamp()  # noqa: DTZ007 - local time is what is meant
        except ValueError:
            continue
    return 0.0


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
