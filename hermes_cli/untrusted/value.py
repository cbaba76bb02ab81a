"""Typed access to parsed data. A Policy determines how invalid values are handled."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, Final, TypeVar

from hermes_cli.options import suggestion
from hermes_cli.untrusted.json_parser import UnfitNumber

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
ValuePath = tuple[str | int, ...]
MAX_INTEGER: Final = 2**63 - 1
SHOWN: Final = 60
"""The maximum number of characters of a key or string in a message."""
_LONGEST_NUMBER: Final = 15
_LONGEST_LINE: Final = 10_000
_KINDS: Final[dict[type, str]] = {
    str: "a string",
    bytes: "binary data",
    bool: "true or false",
    int: "a number",
    float: "a number",
    UnfitNumber: "a number that is too large or not finite",
    list: "a list",
    type(None): "null",
}


class Policy(ABC):
    """How invalid values are handled. If `converts` is true, types are converted, such as "4" to 4."""

    converts: ClassVar[bool] = False
    table_name: ClassVar[str] = "a table"

    @abstractmethod
    def reject(self, path: ValuePath, reason: str, hint: str = "") -> None:
        """Raise an error about the value at `path`, or record a remark."""

    def reject_type(self, path: ValuePath, value: Any, wanted: str) -> None:
        """Reject a value whose type is not `wanted`."""
        name = self.table_name if isinstance(value, dict) else _KINDS.get(type(value), "a date or time")
        self.reject(path, f"is {name}, not {wanted}", self.type_hint(path, wanted))

    def type_hint(self, path: ValuePath, wanted: str) -> str:  # noqa: ARG002 - used by overriding methods
        """Return an example of a value of the type `wanted`, or an empty string."""
        return ""

    def clean(self, path: ValuePath, text: str) -> str:  # noqa: ARG002 - used by overriding methods
        """Return a string without characters that cannot be stored, or reject it."""
        return text


@dataclass(slots=True)
class Value:
    """A parsed value, checked on access. `path` contains the keys and indexes that lead to it.

    If `is_optional` is true and the value is None, methods return a default. They also do so for an invalid
    value if the policy does not raise an error.
    """

    value: Any
    policy: Policy
    path: ValuePath = ()
    is_optional: bool = False

    def reject(self, reason: str, hint: str = "") -> None:
        """Raise an error about this value, or record a remark, depending on the policy."""
        self.policy.reject(self.path, reason, hint)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def __getitem__(self, key: str) -> "Value":
        """Return a required value of a table."""
        if not isinstance(self.value, dict):
            self.policy.reject_type(self.path, self.value, self.policy.table_name)
        elif key not in self.value:
            self.reject(f"has no '{key}'")
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return Value(value, self.policy, (*self.path, key))

    def get(self, key: str) -> "Value":
        """Return an optional value of a table."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return Value(value, self.policy, (*self.path, key), is_optional=True)

    def items(self) -> list["Value"]:
        """Return the values of a list."""
        values = self.value if isinstance(self.value, list) else self._mismatch("a list", [])
        return [Value(value, self.policy, (*self.path, n)) for n, value in enumerate(values)]

    def table(self) -> "Value":
        """Return this value, or an empty table if it is not a table."""
        if isinstance(self.value, dict):
            return self
        value = self._mismatch(self.policy.table_name, dict[str, Any]())
        return Value(value, self.policy, self.path, self.is_optional)

    def tables(self) -> list["Value"]:
        """Return the tables in a list. A policy that converts also accepts a table of tables."""
        values = list(self.value.values()) if self._converts(dict) else self.value
        tables = replace(self, value=values).items()
        if self.policy.converts:
            usable = [table for table in tables if isinstance(table.value, dict)]
            if len(usable) < len(tables):
                self.reject("has values that are not tables")
            return usable
        return [table.table() for table in tables]

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Reject the first key that is not in `known`."""
        for key in self.value:
            if key not in known:
                hint = f"the keys are {', '.join(known)}"
                self.get(key).reject(f"is not a known key{suggestion(key[:SHOWN], known)}", hint)

    def text(self, default: str = "") -> str:
        """Return a string."""
        if self._converts(int, float):
            return str(self.value)
        if not isinstance(self.value, str):
            return self._mismatch("a string", default)
        return self.policy.clean(self.path, self.value)

    def filled(self) -> str:
        """Return a string, and reject it if it is blank."""
        text = self.text()
        if self.value is not None and not text.strip():
            self.reject("is empty", "fill it in, or remove the line")
        return text

    def line(self) -> str:
        """Return a one-line string. Others are rejected, or joined and cut if the policy converts."""
        if not self.policy.converts:
            text = self.filled()
            if len(text.splitlines()) > 1:
                self.reject("has more than one line", "a name must be one line")
            return text
        text = self.text()
        if len(text) > _LONGEST_LINE:
            self.reject(f"has {len(text) - _LONGEST_LINE:,} characters after the first {_LONGEST_LINE:,}")
        return " ".join(text[:_LONGEST_LINE].split())

    def texts(self) -> tuple[str, ...]:
        """Return a list of strings, and reject blank ones.

        If the policy converts, a string is split at commas, numbers become strings, values of other types
        are skipped, and blank strings are accepted.
        """
        if self._converts(str):
            return replace(self, value=[part.strip() for part in self.value.split(",")]).texts()
        if not isinstance(self.value, list):
            return self._mismatch("a list of strings", ())
        if not self.policy.converts:
            return tuple(item.filled() for item in self.items())
        usable = [
            str(value)
            for value in self.value
            if isinstance(value, str | int | float) and not isinstance(value, bool)
        ]
        if len(usable) < len(self.value):
            self.reject("has values that are not strings")
        # A Value for each string would take most of the time, because a lorebook can have 250,000 keys.
        clean, path = self.policy.clean, self.path
        return tuple([clean(path, text) for text in usable])

    def one_of(self, kind: type[E], default: E | None = None) -> E:
        """Return the member of `kind` with this value."""
        word = self.text(default or "")
        if word not in list(kind):
            near = suggestion(word[:SHOWN], kind)
            self.reject(f"is '{word[:SHOWN]}', which is none of {', '.join(kind)}{near}")
        return kind(word)

    def boolean(self, *, default: bool = False) -> bool:
        """Return a boolean."""
        found = self.boolean_or_none()
        return default if found is None else found

    def boolean_or_none(self) -> bool | None:
        """Return a boolean, or None if there is none."""
        if isinstance(self.value, bool):
            return self.value
        if self._converts(int, float):
            return bool(self.value)
        if self._converts(str) and self.value.strip().lower() in {"true", "false"}:
            return bool(self.value.strip().lower() == "true")
        return self._mismatch("true or false", None)

    def number(self, low: float, high: float, default: float = 0.0) -> float:
        """Return a number from `low` to `high`."""
        number = self._number("a number")
        return float(number) if self._is_in_range(number, low, high) else default

    def integer(self, low: int = 0, high: int = MAX_INTEGER, default: int = 0) -> int:
        """Return an integer from `low` to `high`."""
        found = self.integer_or_none(low, high)
        return default if found is None else found

    def integer_or_none(self, low: int = 0, high: int = MAX_INTEGER) -> int | None:
        """Return an integer from `low` to `high`, or None if there is none."""
        if isinstance(self.value, float) and not self.policy.converts:
            return self._mismatch("a whole number", None)
        number = self._number("a whole number")
        return int(number) if self._is_in_range(number, low, high) else None

    def _number(self, wanted: str) -> Any:
        value = self.value
        if self._converts(str) and len(value) <= _LONGEST_NUMBER:
            try:
                return float(value)
            except ValueError:
                return self._mismatch(wanted, None)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number else self._mismatch(wanted, None)

    def _is_in_range(self, number: Any, low: float, high: float) -> bool:
        if number is None:
            return False
        if not low <= number <= high:  # NaN is in no range
            self.reject(f"is out of the range {low:,} to {high:,}")
            return False
        return True

    def _converts(self, *kinds: type) -> bool:
        return self.policy.converts and isinstance(self.value, kinds) and not isinstance(self.value, bool)

    def _mismatch(self, wanted: str, default: T) -> T:
        if not (self.is_optional and self.value is None):
            self.policy.reject_type(self.path, self.value, wanted)
        return default
