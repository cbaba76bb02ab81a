"""The defaults of all lorebooks, which the [lore] table of the config file sets."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

MAX_SCAN_DEPTH: Final = 1000
_LIMITS: Final = {"share": 100, "constant_share": 100, "scan_depth": MAX_SCAN_DEPTH}


class LoreSettings(NamedTuple):
    """How lore entries are matched, and how much of the context window they may use.

    A lorebook or an entry can override these values, which are the defaults of SillyTavern. `share` is the
    percentage of the context window for the entries that a key fires, and `constant_share` that for the
    constant ones. `scan_depth` is the number of recent messages to scan. If `names` is true, the name of the
    speaker is scanned too. If `recursive` is true, the text of an active entry can fire others.
    """

    share: int = 25
    constant_share: int = 50
    scan_depth: int = 2
    whole_words: bool = True
    recursive: bool = True
    names: bool = True

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Return the settings in a table of the config file.

        Raises ValueError with a sentence about a value that is invalid. Unknown keys must be rejected before.
        """
        for key, value in table.items():
            limit = _LIMITS.get(key)
            if limit is None and not isinstance(value, bool):
                raise ValueError(f"{key} takes true or false, not {value!r}")
            if limit is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ValueError(f"{key} takes a whole number, not {value!r}")
            if limit is not None and not 0 <= value <= limit:
                raise ValueError(f"{key} is {value:,}; it can be 0 to {limit:,}")
        return cls(**table)


def parse_text(name: str, text: str) -> int | bool:
    """Return the value of a setting from text. Raises ValueError as `LoreSettings.from_table` does."""
    value: Any = {"true": True, "false": False}.get(text.lower(), text)
    if value is text and text.isascii() and text.removeprefix("-").isdigit():
        value = int(text[:10])
    parsed: int | bool = getattr(LoreSettings.from_table({name: value}), name)
    return parsed


NAMES: Final = LoreSettings._fields
