"""The generation options: their defaults, ranges and help texts, and the source of each value.

The table `FIELDS` declares the types, the ranges, the help texts, and the names that the command line, the
config file, the environment and `/set` use. Every engine applies the options in this order: repetition
penalty, DRY, then greedy decoding at temperature 0, or else top-k, top-p, min-p, XTC, temperature.
"""

import dataclasses
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_CONTEXT = 10_000_000
"""Upper limit for a number of tokens. No context window is larger, so a number above it is a typing error."""


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """The options of sampling and of the end of an answer. None means no limit, or no fixed seed."""

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    repetition_penalty: float = 1.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    loop_guard: int = 512
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ban: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OptionField:
    """An option: its type, its closed range, and one line of help."""

    name: str
    kind: type
    help: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def range_text(self) -> str:
        """The range in words, for error messages."""
        if self.kind is str:
            return "text"
        if math.isinf(self.high):
            return f"{self.low:,.12g} or more"
        return f"{self.low:,.12g} to {self.high:,.12g}"


FIELDS: dict[str, OptionField] = {
    f.name: f
    for f in (
        OptionField("temperature", float, "Sampling temperature; 0 always takes the likeliest token.", 0, 5),
        OptionField(
            "top_p", float, "Sample from the likeliest tokens whose probabilities add up to this.", 0, 1
        ),
        OptionField("top_k", int, "Sample from this many of the likeliest tokens; 0 for all.", 0, 1_000_000),
        OptionField("min_p", float, "Exclude tokens less likely than this share of the likeliest one.", 0, 1),
        OptionField(
            "repetition_penalty", float, "Penalty for tokens that occurred before; 1 for off.", 0.1, 10
        ),
        OptionField(
            "dry_multiplier",
            float,
            "Strength of the DRY penalty for repeated sequences; 0 for off.",
            0,
            100,
        ),
        OptionField("dry_base", float, "Growth of the DRY penalty with the length of the repetition.", 1, 8),
        OptionField(
            "dry_allowed_length", int, "Longest repetition without a DRY penalty, in tokens.", 1, 1000
        ),
        OptionField(
            "xtc_probability", float, "Probability that XTC excludes the likeliest tokens; 0 for off.", 0, 1
        ),
        OptionField("xtc_threshold", float, "Probability above which XTC excludes a token.", 0, 1),
        OptionField(
            "loop_guard",
            int,
            "Stop an answer that repeats itself for this many tokens; 0 for off.",
            0,
            10**6,
        ),
        OptionField("max_tokens", int, "Stop after this many tokens.", 1, MAX_CONTEXT),
        OptionField(
            "seed", int, "Seed of the random numbers; the same seed gives the same answer.", 0, 2**32 - 2
        ),
        OptionField("stop", str, "Stop before this text; repeatable."),
        OptionField("ban", str, "Never generate this text; repeatable."),
    )
}


class OptionError(ValueError):
    """A value that an option cannot take. The caller adds the file or flag that contains it."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or "" if none is near."""
    import difflib  # noqa: PLC0415 - only errors need it

    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def check_value(name: str, value: Any) -> Any:
    """Return the value of option `name`, converted to the option's type.

    Raises OptionError for an unknown name, a wrong type, or a number out of range.
    """
    name = name.replace("-", "_")
    known = FIELDS.get(name)
    if known is None:
        raise OptionError(f"there is no option {_shown(name)}{suggestion(name, FIELDS)}")
    if known.kind is str:
        return _check_texts(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{name} takes a number, not {_shown(value)}")
    if not known.low <= value <= known.high:  # also rejects NaN
        raise OptionError(f"{name} is {_shown(value)}; it can be {known.range_text}")
    if known.kind is int and value != int(value):
        raise OptionError(f"{name} takes a whole number, not {value}")
    return known.kind(value)


def _shown(value: Any) -> str:
    """Return the value for an error message, cut to a readable length."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python converts no integer of more than 4,300 digits to text
        return "a number of thousands of digits"


def check_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked options of a TOML table, with `_` for `-` in their names.

    Raises OptionError as `check_value` does, and for an option that is given in both spellings.
    """
    result: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in result:
            raise OptionError(f"'{name}' is there twice; take one of them out")
        result[name] = check_value(name, value)
    return result


def _check_texts(name: str, value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
    if texts is None or not all(isinstance(t, str) for t in texts):
        raise OptionError(f"{name} takes a text or a list of texts, not {_shown(value)}")
    if not all(texts):
        raise OptionError(f"{name} holds an empty text, which every answer holds before it begins")
    return texts


def parse_text(name: str, text: str) -> Any:
    """Return the value of option `name` from a text, as typed in a shell or after `/set`.

    Raises OptionError as `check_value` does.
    """
    name = name.replace("-", "_")
    known = FIELDS.get(name)
    if known is None or known.kind is str:
        return check_value(name, text)
    try:
        return check_value(name, int(text) if known.kind is int else float(text))
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        kind = "whole number" if known.kind is int else "number"
        raise OptionError(f"{name} takes a {kind}, not {_shown(text)}") from None


@dataclass(frozen=True, slots=True)
class Sourced:
    """Options, with the source of each value that is not a default."""

    options: GenerationOptions = field(default_factory=GenerationOptions)
    sources: Mapping[str, str] = field(default_factory=dict)

    def with_layer(self, values: Mapping[str, Any], source: str) -> "Sourced":
        """Return these options overridden by `values`, which must be checked already."""
        if not values:
            return self
        options = dataclasses.replace(self.options, **values)
        return Sourced(options, {**self.sources, **dict.fromkeys(values, source)})

    def source(self, name: str) -> str:
        """Return the source of the value of option `name`, such as "environment"."""
        return self.sources.get(name, "default")


def value_text(value: Any) -> str:
    """Return the value of an option as text for display."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ", ".join(repr(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
