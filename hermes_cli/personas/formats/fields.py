"""Reads values of untrusted tables as the expected types. Unusable values are left out with a remark.

Published cards contain null for a string, a number for a name and "4" for 4. Values are converted if
possible, so that no single mistake makes a card unusable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from hermes_cli.personas.formats.import_result import Remarks

T = TypeVar("T")
_EMPTY: Final[Mapping[str, Any]] = {}
_LONGEST_NUMBER: Final = 15
_LONGEST_LINE: Final = 10_000
_KINDS: Final[dict[type, str]] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, slots=True)
class Fields:
    """A table, and the Remarks to add to. `where` is the prefix of its keys in remarks."""

    table: Mapping[str, Any]
    remarks: Remarks
    where: str = ""

    def text(self, key: str) -> str:
        """Return a string without NUL characters. A number is converted to its digits."""
        value = self.table.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        return self._clean(value) if isinstance(value, str) else self._none(key, value, "a text", "")

    def line(self, key: str) -> str:
        """Return a string as one line, cut to _LONGEST_LINE characters."""
        text = self.text(key)
        if len(text) > _LONGEST_LINE:
            self.remarks.add(f"'{self.where}{key}' is cut: it has {len(text):,} characters")
        return " ".join(text[:_LONGEST_LINE].split())

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings. A single string is split at commas, because some programs write that."""
        value = self.table.get(key)
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        if not isinstance(value, list):
            return self._none(key, value, "a list of texts", ())
        texts = [one if isinstance(one, str) else str(one) for one in value if _is_text(one)]
        if len(texts) < len(value):
            self.remarks.add(f"'{self.where}{key}' holds more than texts; the rest is left out")
        return tuple(self._clean(text) for text in texts)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean. A number is true if it is not 0."""
        found = self.flag_or_none(key)
        return default if found is None else found

    def flag_or_none(self, key: str) -> bool | None:
        """Return a boolean, or None if the value is missing or unusable."""
        value = self.table.get(key)
        if isinstance(value, bool | int | float):
            return bool(value)
        if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
            return value.strip().lower() == "true"
        return self._none(key, value, "true or false", None)

    def number(self, key: str, low: float, high: float) -> float | None:
        """Return a number from `low` to `high`, or None if the value is missing or unusable."""
        value = self.table.get(key)
        number = _number(value)
        if number is None:
            return self._none(key, value, "a number", None)
        if not low <= number <= high:
            self.remarks.add(
                f"'{self.where}{key}' is out of the range {low:,.0f} to {high:,.0f}; it is left out"
            )
            return None
        return number

    def whole(self, key: str, low: int, high: int) -> int | None:
        """Return an integer from `low` to `high`, or None if the value is missing or unusable."""
        number = self.number(key, low, high)
        return None if number is None else int(number)

    def inner(self, key: str) -> "Fields":
        """Return the table under a key, or an empty one if there is none."""
        value = self.table.get(key)
        table = value if isinstance(value, dict) else self._none(key, value, "a table", _EMPTY)
        return Fields(table, self.remarks, f"{self.where}{key}.")

    def tables(self, key: str) -> list[dict[str, Any]]:
        """Return the tables in a list, or in a table of tables."""
        value = self.table.get(key)
        if isinstance(value, dict):
            value = list(value.values())
        if not isinstance(value, list):
            return self._none(key, value, "a list of tables", [])
        tables = [one for one in value if isinstance(one, dict)]
        if len(tables) < len(value):
            self.remarks.add(f"'{self.where}{key}' holds more than tables; the rest is left out")
        return tables

    def _clean(self, text: str) -> str:
        if "\0" in text:
            self.remarks.add("NUL characters are taken out of its texts")
            return text.replace("\0", "")
        return text

    def _none(self, key: str, value: Any, wanted: str, default: T) -> T:
        if value is not None:
            kind = _KINDS.get(type(value), "something else")
            self.remarks.add(f"'{self.where}{key}' is {kind}, not {wanted}; it is left out")
        return default


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer may be too large for a float. 1e30 is out of every range here.
    return max(min(value, 1e30), -1e30)
