"""The operators, methods, filters and globals of chat templates, each with a limit on its result.

Chat templates come from strangers. What is not listed here is an error.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

from hermes_cli.prompts.template_budget import CALL, STEP, Budget, InvalidTemplate

MAX_INTEGER_BITS: Final = 64
MAX_INDENT: Final = 16
MAX_DATE_FORMAT: Final = 100
SPLIT: Final = 64
"""Units of a part of a split text: a small string takes about as many bytes."""

METHODS: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset(
        (
            *(
                "strip",
                "lstrip",
                "rstrip",
                "split",
                "rsplit",
                "splitlines",
                "partition",
                "rpartition",
                "replace",
            ),
            *("startswith", "endswith", "find", "rfind", "index", "count", "removeprefix", "removesuffix"),
            *("upper", "lower", "title", "capitalize", "join", "format"),
            *("isdigit", "isalpha", "isalnum", "isspace", "isupper", "islower", "isnumeric"),
        )
    ),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("index", "count")),
    tuple: frozenset(("index", "count")),
}
LOOP_ATTRIBUTES: Final = frozenset(
    (
        *("index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0"),
        *("previtem", "nextitem", "cycle", "changed"),
    )
)
ITERATING: Final = frozenset(
    ("join", "list", "map", "max", "min", "reject", "rejectattr", "select", "selectattr", "sort", "unique")
)
"""The filters that iterate over their value."""
READING: Final = frozenset(("max", "min", "sort", "unique"))
"""The filters that compare the items of their value."""
FILTERS: Final = ITERATING | {
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "format", "indent", "int"),
    *("items", "last", "length", "lower", "replace", "reverse", "safe", "string", "title", "tojson", "trim"),
    *("upper",),
}

TEXT_FILTERS: Final = frozenset(
    (
        *(
            "capitalize",
            "dictsort",
            "float",
            "indent",
            "int",
            "lower",
            "replace",
            "reverse",
            "string",
            "title",
        ),
        *("trim", "upper"),
    )
)
"""The filters that read their value as a whole."""
COMPARING: Final = frozenset(
    (
        *("==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", ">=", "ge", "<", "lt", "lessthan"),
        *("<=", "le", "in", "lower", "upper"),
    )
)
"""The tests that read their value."""

_PERCENT_FIELD: Final = re.compile(r"%(?![sd%])")
_BRACE_FIELD: Final = re.compile(r"\{(?!\w*\})")
_DATE_FIELD: Final = re.compile(r"%(?![-#]?[A-Za-z%])")


def binary(budget: Budget, operator: str, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Return the result of an operator of a template."""
    if operator == "%" and isinstance(left, str):
        return percent_format(budget, left, right)
    if operator == "+" and not (_is_number(left) and _is_number(right)):
        budget.charge(_size(left) + _size(right))
    if operator == "*":
        if isinstance(left, int) and not isinstance(right, int | float):
            left, right = right, left
        if isinstance(left, str | list | tuple) and isinstance(right, int):
            budget.charge(_size(left) * max(right, 0))
    if operator == "**":
        _check_power(left, right)
    result = function(left, right)
    if isinstance(result, int) and result.bit_length() > MAX_INTEGER_BITS:
        raise InvalidTemplate("computes a number that is too large")
    return result


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _size(value: Any) -> int:
    """Return the units of a copy of a value."""
    if isinstance(value, str):
        return 1 + len(value)
    return 1 + STEP * len(value) if isinstance(value, list | tuple) else 1


def _check_power(base: Any, exponent: Any) -> None:
    is_integer = isinstance(base, int) and isinstance(exponent, int)
    if is_integer and max(base.bit_length(), 1) * abs(exponent) > MAX_INTEGER_BITS:
        raise InvalidTemplate("computes a number that is too large")


def percent_format(budget: Budget, text: str, values: Any) -> str:
    """Return `text % values`. Only %s and %d are supported: a width could make the text huge."""
    if _PERCENT_FIELD.search(text.replace("%%", "")):
        raise InvalidTemplate("uses a format that is not supported")
    budget.read(values, weight=8 * (1 + text.count("%")))
    budget.charge(len(text))
    return str(text % values)


def call_method(budget: Budget, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method of METHODS."""
    budget.read((args, kwargs))
    owner, name = method.__self__, method.__name__
    if not isinstance(owner, str):
        budget.read(owner)
        return method(*args, **kwargs)
    if name == "join":
        return budget.join(owner, args[0])
    budget.charge(len(owner))
    if name == "format":
        if _BRACE_FIELD.search(owner.replace("{{", "").replace("}}", "")):
            raise InvalidTemplate("uses a format that is not supported")
        budget.read((args, kwargs), weight=8 * (1 + owner.count("{")))
    elif name == "replace":
        budget.charge(_replaced(owner, *args[:2]))
    elif name in ("split", "rsplit"):
        budget.charge(SPLIT * _parts(owner, *args, **kwargs))
    elif name == "splitlines":
        budget.charge(SPLIT * len(owner.splitlines()) if len(owner) < SPLIT else SPLIT * len(owner))
    elif name in ("upper", "lower", "title", "capitalize"):
        budget.charge(2 * len(owner))  # the upper case of a character can have three
    return method(*args, **kwargs)


def _parts(text: str, sep: Any = None, maxsplit: Any = -1) -> int:
    """Return the largest number of parts of a split text."""
    most = text.count(sep) if isinstance(sep, str) and sep else len(text) // 2
    return 1 + (min(most, maxsplit) if isinstance(maxsplit, int) and maxsplit >= 0 else most)


def _replaced(text: str, old: Any, new: Any) -> int:
    """Return the number of characters that a replacement adds."""
    return text.count(old) * len(new) if isinstance(old, str) and isinstance(new, str) else 0


def tojson(
    budget: Budget,
    value: Any,
    *,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return a value as JSON, as transformers' filter does."""
    if isinstance(indent, str) or (indent or 0) > MAX_INDENT or sum(map(len, separators or ())) > MAX_INDENT:
        raise InvalidTemplate("uses a format that is not supported")
    budget.read(value, weight=8 * (1 + (indent or 0)))
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def check_filter(
    budget: Budget, name: str, value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Charge for a filter's result. Raises InvalidTemplate if it could be too large."""
    budget.charge(CALL)
    budget.read((args, kwargs))
    if name in TEXT_FILTERS:
        budget.read(value, weight=32)
    if name == "replace":
        budget.charge(_replaced(value, *args[:2]) if isinstance(value, str) and len(args) > 1 else 0)
    if name == "indent":
        width = args[0] if args else kwargs.get("width", 4)
        if not isinstance(width, int) or width > MAX_INDENT:
            raise InvalidTemplate("uses a format that is not supported")
        budget.charge((1 + str(value).count("\n")) * width)


def strftime_now(form: str) -> str:
    """Return the date and time in a format of strftime. Widths, which could be huge, are an error."""
    if len(form) > MAX_DATE_FORMAT or _DATE_FIELD.search(form):
        raise InvalidTemplate("uses a format that is not supported")
    return datetime.now().strftime(form)  # noqa: DTZ005 - the user's own time


def new_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """Return a dict, without dict's other methods."""
    return dict(*args, **kwargs)


class TemplateNamespace(Namespace):
    """A namespace without private names."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError(f"the name {name[:60]!r} is not allowed")


def join_texts(budget: Budget, values: Iterable[Any], separator: Any = "", attribute: Any = None) -> str:
    """Return the values as one text."""
    if attribute is not None:
        raise InvalidTemplate("uses a format that is not supported")
    return budget.join(str(separator), (text_of(budget, value) for value in values))


def text_of(budget: Budget, value: Any) -> str:
    """Return the text of a value."""
    if isinstance(value, str):
        return value
    budget.read(value, weight=8)
    return str(value)
