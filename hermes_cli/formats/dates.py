"""Converts Unix times (seconds since 1970) to text and back."""

import datetime as dt
import re
from typing import Any, Final

from hermes_cli.store.records import LAST_TIME

_MILLISECONDS: Final = re.compile(r"(?<=[0-9]s)[ ]?[0-9]{1,3}ms$")
# The date formats that versions of SillyTavern have used, all in local time.
_TAVERN: Final = ("%B %d, %Y %I:%M%p", "%Y-%m-%d@%Hh%Mm%Ss", "%Y-%m-%d @%Hh%Mm%Ss")
_MILLISECONDS_SINCE_1970_ABOVE: Final = 1e11


def minute(seconds: float) -> str:
    """Format a time to the minute in UTC, so that exports are reproducible. Return "" for 0."""
    return _utc(seconds).strftime("%Y-%m-%d %H:%M UTC") if seconds else ""


def iso(seconds: float) -> str:
    """Format a time in JavaScript's ISO format, such as 2026-01-31T13:05:09.250Z."""
    return _utc(seconds).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def seconds_of(value: Any) -> float:
    """Parse a date from a SillyTavern chat. Return 0 if it cannot be parsed."""
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError, OSError):
        return 0.0
    return seconds if 0 < seconds < LAST_TIME else 0.0


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
            return dt.datetime.strptime(text, form).timestamp()  # noqa: DTZ007 - SillyTavern writes local time
        except ValueError:
            continue
    return 0.0


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
