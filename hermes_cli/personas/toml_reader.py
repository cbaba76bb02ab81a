"""Checks the types and ranges of the values in a TOML table, with error messages in TOML's terms."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes_cli.errors import PersonaError
from hermes_cli.options import suggestion

SHOWN = 60


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file: its values, the file, and its name in errors, such as `lore 3`.

    Every method raises PersonaError for an invalid value.
    """

    values: Mapping[str, Any]
    source: Path
    name: str = ""

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Raise PersonaError if the table has a key that is not in `known`."""
        for key in self.values:
            if key not in known:
                where = f" in {self.name}" if self.name else ""
                short = key[:SHOWN]
                raise PersonaError(
                    f"{self.source}: there is no key '{short}'{where}{suggestion(short, known)}",
                    f"the keys are {', '.join(known)}",
                )

    def text(self, key: str, default: str = "") -> str:
        """Return a string."""
        return self._text(self.values[key], key) if key in self.values else default

    def filled(self, key: str, default: str = "") -> str:
        """Return a string that is not blank."""
        text = self.text(key, default)
        if key in self.values and not text.strip():
            raise self._error(key, "is empty", "fill it in, or take the line out")
        return text

    def line(self, key: str, default: str = "") -> str:
        """Return a name: a string of one line that is not blank."""
        text = self.filled(key, default)
        if len(text.splitlines()) > 1:
            raise self._error(key, "is more than one line", "a name is one line")
        return text

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, none of which is blank."""
        value = self.values.get(key, [])
        hint = f'write {key} = ["...", "..."]'
        if not isinstance(value, list):
            raise self._error(key, f"is {kind(value)}; it takes a list of texts", hint)
        found = tuple(self._text(one, key, hint) for one in value)
        if not all(one.strip() for one in found):
            raise self._error(key, "holds an empty text", "fill it in, or take it out")
        return found

    def flag(self, key: str, default: bool | None) -> bool | None:  # noqa: FBT001 - the default has the value's type
        """Return a boolean."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._error(key, f"is {kind(value)}; it is true or false", f"write {key} = true")
        return value

    def whole(self, key: str, default: int | None, low: int, high: int) -> int | None:
        """Return an integer from `low` to `high`."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._error(key, f"is {kind(value)}; it takes a whole number", f"write {key} = {low}")
        if not low <= value <= high:
            raise self._error(key, f"is out of range; it can be {low:,} to {high:,}", "change it")
        return int(value)

    def percent(self, key: str, default: float) -> float:
        """Return a number from 0 to 100."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(key, f"is {kind(value)}; it takes a number", f"write {key} = 50")
        if not 0 <= value <= 100:  # noqa: PLR2004 - percent; NaN is in no range
            raise self._error(key, "is out of range; it can be 0 to 100", "change it")
        return float(value)

    def choice(self, key: str, default: str, known: Collection[str]) -> str:
        """Return a string that is in `known`."""
        word = self.text(key, default)
        if word not in known:
            hint = f"it can be {', '.join(known)}"
            raise self._error(key, f"is '{word[:SHOWN]}'{suggestion(word[:SHOWN], known)}", hint)
        return word

    def inner(self, key: str, name: str) -> "Table":
        """Return the table under a key. `name` is its name in errors."""
        value = self.values[key]
        if not isinstance(value, dict):
            raise self._error(key, f"is {kind(value)}; it takes a table", f"write [{key}]")
        return Table(value, self.source, name)

    def tables(self, key: str, name: str, hint: str) -> list["Table"]:
        """Return the tables in a list. `name` and a number are the name of each in errors."""
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self._error(key, f"is {kind(value)}; it takes tables", hint)
        for number, one in enumerate(value, 1):
            if not isinstance(one, dict):
                raise PersonaError(f"{self.source}: {name} {number} is {kind(one)}; it takes a table", hint)
        return [Table(one, self.source, f"{name} {number}") for number, one in enumerate(value, 1)]

    def lacks(self, key: str, hint: str) -> PersonaError:
        """Return the error for a missing key."""
        return PersonaError(f"{self.source}: {self.name or 'it'} has no '{key}'", hint)

    def _text(self, value: Any, key: str, hint: str = "") -> str:
        if not isinstance(value, str):
            raise self._error(key, f"is {kind(value)}; it takes a text", hint or f'write {key} = "..."')
        if "\0" in value:
            raise self._error(key, "holds a NUL character", "take it out; no text needs one")
        return value

    def _error(self, key: str, what: str, hint: str) -> PersonaError:
        where = f" in {self.name}" if self.name else ""
        return PersonaError(f"{self.source}: '{key}'{where} {what}", hint)


def kind(value: Any) -> str:
    """Return the name of a value's type in error messages."""
    kinds = {
        bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"
    }  # fmt: skip
    return kinds.get(type(value), "a date or time")
