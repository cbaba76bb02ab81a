"""The generation options: name, type, default, range and help of each one, and the source of each value.

The flags, the keys of the config file, the environment variables, the options of `/set` and the
documentation's table are generated from `GenerationOptions`. Every engine applies the repetition penalty and
then DRY. At temperature 0 it then decodes greedily; otherwise it applies top-k, top-p, min-p, XTC and
temperature.
"""

import dataclasses
import math
import re
import reprlib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

MAX_CONTEXT = 10_000_000
"""The upper limit of token counts. No context window is larger, so a larger number is a mistake."""

MIN_CONTEXT = 64
"""The lower limit of a context window. No prompt fits in a shorter one, and llama.cpp aborts on one token."""
MAX_SEED = 2**32 - 2
_CONTEXT = re.compile(r"([0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3}){1,2})(k?)", re.IGNORECASE)
CONTEXT_EXAMPLES = "such as 4096 or 4k"
"""How a size of the context window can be written, for error messages and help texts."""


def parse_context(text: str) -> int | None:
    """Return a number of tokens such as `4096`, `4,096` or `4k`, or None for other text. 1k is 1,024."""
    found = _CONTEXT.fullmatch(text.strip())
    return int(found[1].replace(",", "")) * (1024 if found[2] else 1) if found else None


def _option(default: object, help_text: str, low: float = -math.inf, high: float = math.inf) -> Any:
    """Declare an option with its default, help line and inclusive range."""
    return field(default=default, metadata={"help": help_text, "low": low, "high": high})


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """Options for sampling and for ending an answer. None means no limit or no fixed seed."""

    temperature: float = _option(0.8, "Sampling temperature; 0 always takes the likeliest token.", 0, 5)
    top_p: float = _option(0.95, "Sample from the likeliest tokens whose probabilities add up to this.", 0, 1)
    top_k: int = _option(40, "Sample from this many of the likeliest tokens; 0 for all.", 0, 1_000_000)
    min_p: float = _option(0.05, "Exclude tokens less likely than this fraction of the likeliest one.", 0, 1)
    repetition_penalty: float = _option(1.1, "Penalty for tokens that occurred before; 1 for off.", 0.1, 10)
    repetition_range: int = _option(
        512,
        "Number of recent tokens that the repetition penalty covers; 0 for all.",
        0,
        MAX_CONTEXT,
    )
    max_tokens: int | None = _option(None, "Stop after this many tokens.", 1, MAX_CONTEXT)
    seed: int | None = _option(
        None, "Random seed; the same seed gives the same answer, and /regen adds 1.", 0, MAX_SEED
    )
    thinking_budget: int | None = _option(
        None,
        "Let the model reason for this many tokens before it answers; 0 for no reasoning.",
        0,
        MAX_CONTEXT,
    )
    stop: tuple[str, ...] = _option((), "Stop before this text; repeatable.")
    dry_multiplier: float = _option(
        0.0, "Strength of the DRY penalty for repeated sequences; 0 for off.", 0, 100
    )
    dry_base: float = _option(1.75, "Growth of the DRY penalty with the length of the repetition.", 1, 8)
    dry_allowed_length: int = _option(2, "Longest repetition without a DRY penalty, in tokens.", 1, 1000)
    xtc_probability: float = _option(
        0.0, "Probability that XTC excludes the likeliest tokens; 0 for off.", 0, 1
    )
    xtc_threshold: float = _option(0.1, "Probability above which XTC excludes a token.", 0, 1)
    loop_guard: int = _option(
        512, "Stop an answer that repeats itself for this many tokens; 0 for off.", 0, 1_000_000
    )
    ban: tuple[str, ...] = _option((), "Never generate this text; repeatable.")

    def for_attempt(self, number: int) -> "GenerationOptions":
        """Return the options of another answer to the same turn: a fixed seed is increased by `number`."""
        if self.seed is None or not number:
            return self
        return dataclasses.replace(self, seed=(self.seed + number) % (MAX_SEED + 1))


class OptionField(NamedTuple):
    """An option: its type (`str` for a list of strings), default, inclusive range and help line."""

    name: str
    kind: type
    default: Any
    help: str
    low: float
    high: float

    @property
    def range_text(self) -> str:
        """The range as text for error messages."""
        if self.kind is str:
            return "text"
        return f"{self.low:,.12g} to {self.high:,.12g}"


def field_type(annotation: Any) -> type:
    """Return the type in the annotation of a field, such as `int | None` or `tuple[str, ...]`."""
    return next(
        kind for kind in (bool, float, int, str) if kind in (annotation, *typing.get_args(annotation))
    )


FIELDS: dict[str, OptionField] = {
    f.name: OptionField(f.name, field_type(f.type), f.default, **f.metadata)
    for f in dataclasses.fields(GenerationOptions)
}


class OptionError(ValueError):
    """An invalid option name or value. The caller adds the name of the file or flag that contains it."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known word, or "" if none is close."""
    close = closest(word, known)
    return f"; did you mean '{close}'?" if close else ""


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most similar to `word`, or an empty string if none is close."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), "")


def check_value(name: str, value: Any) -> Any:
    """Return the value of option `name`, converted to the option's type.

    Raises OptionError for an unknown name, a wrong type, or a number out of range.
    """
    name = name.replace("-", "_")
    known = FIELDS.get(name)
    if known is None:
        raise OptionError(f"there is no option {_abbreviated(name)}{suggestion(name, FIELDS)}")
    if known.kind is str:
        return _check_texts(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{name} takes a number, not {_abbreviated(value)}")
    if not known.low <= value <= known.high:  # also rejects NaN
        shown = f"{value:.12g}" if isinstance(value, float) else _abbreviated(value)
        raise OptionError(f"{name} cannot be {shown}; it can be {known.range_text}")
    if known.kind is int and value != int(value):
        raise OptionError(f"{name} takes a whole number, not {value}")
    return known.kind(value)


def _abbreviated(value: Any) -> str:
    """Return the value for an error message, abbreviated if it is long."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not convert integers of more than 4,300 digits to strings
        return "a number of thousands of digits"


def check_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options in a TOML table, and return them with `-` in their names replaced by `_`.

    Raises OptionError as `check_value` does, or if an option is given with both spellings.
    """
    result: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in result:
            raise OptionError(f"'{name}' is given twice; remove one of them")
        result[name] = check_value(name, value)
    return result


def _check_texts(name: str, value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
    if texts is None or not all(isinstance(t, str) for t in texts):
        raise OptionError(f"{name} takes a string or a list of strings, not {_abbreviated(value)}")
    if not all(texts):
        raise OptionError(f"{name} contains an empty string, which occurs in every answer")
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        raise OptionError(f"{name} is not UTF-8 text")  # a byte of the command line or the environment
    return texts


def parse_text(name: str, text: str) -> Any:
    """Parse the value of option `name`, as typed in a shell or after `/set`.

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
        raise OptionError(f"{name} takes a {kind}, not {_abbreviated(text)}") from None


class LayeredOptions(NamedTuple):
    """The options in effect, and the source of each value that is not a default."""

    options: GenerationOptions = GenerationOptions()
    sources: Mapping[str, str] = MappingProxyType({})

    def with_layer(self, values: Mapping[str, Any], source: str) -> "LayeredOptions":
        """Return these options overridden by `values`, which must already be checked."""
        if not values:
            return self
        options = dataclasses.replace(self.options, **values)
        return LayeredOptions(options, {**self.sources, **dict.fromkeys(values, source)})

    def source(self, name: str) -> str:
        """Return where the value of option `name` comes from, such as "environment"."""
        return self.sources.get(name, "default")


def value_text(value: Any) -> str:
    """Format the value of an option for display."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ", ".join(repr(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
