"""Converts other programs' sampling options.

An unknown option or an invalid value is left out with a remark.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Final

from hermes_cli.options import MAX_CONTEXT, MIN_CONTEXT, OptionError, check_value
from hermes_cli.personas.formats.import_result import Remarks

_OTHER_NAMES: Final = {
    "temperature": ("temp",),
    "top_p": ("toppsampling",),
    "top_k": ("topksampling",),
    "min_p": ("minpsampling",),
    "repetition_penalty": ("repeat_penalty", "repeatpenalty", "rep_pen"),
    "repetition_range": ("rep_pen_range", "repetition_penalty_range", "repeat_last_n"),
    "max_tokens": ("num_predict", "n_predict", "maxpredictedtokens"),
    "seed": (),
    "stop": ("stopstrings",),
}
_NAMES: Final = {name: option for option, others in _OTHER_NAMES.items() for name in (option, *others)}
CONTEXT: Final = "num_ctx"
"""The size of the context window, which is a field of a persona and not one of its options."""
MAX_STOPS: Final = 50
_NO_LIMIT: Final = {"max_tokens", "seed"}
"""For these options, a negative number means that the option is not set."""


def options(pairs: Iterable[tuple[str, Any]], remarks: Remarks) -> MappingProxyType[str, Any]:
    """Convert pairs of names and values. Values of `stop` accumulate; of other options, the last one is used.

    A repetition range of -1 means the whole context. So does 0, except that a `repeat_last_n` of 0 turns the
    repetition penalty off (source: "Ollama Model File Reference").
    """
    options, stops, penalty_is_off = dict[str, Any](), list[str](), False
    for name, value in pairs:
        if name.lower() == CONTEXT:
            continue
        known = _NAMES.get(name.lower())
        if known is None:
            remarks.add(f"the option '{name[:60]}' is left out: hermes has no such option")
            continue
        number = _number(value) if known != "stop" else value
        if known == "repetition_range":
            penalty_is_off = name.lower() == "repeat_last_n" and number == 0
            number = 0 if number == -1 else number
        if known in _NO_LIMIT and isinstance(number, int | float) and number < 0:
            continue
        try:
            checked = check_value(known, number)
        except (OptionError, ValueError, OverflowError) as error:
            remarks.add(f"the option '{name[:60]}' is left out: {error}")
            continue
        if known == "stop":
            stops += checked
        else:
            options[known] = checked
    if penalty_is_off:
        options["repetition_penalty"] = 1.0
    if len(stops) > MAX_STOPS:
        remarks.add(f"only the first {MAX_STOPS} of {len(stops):,} stop strings are used")
    return MappingProxyType(options | ({"stop": tuple(stops[:MAX_STOPS])} if stops else {}))


def context_size(pairs: Iterable[tuple[str, Any]], remarks: Remarks) -> int | None:
    """Return the size of the context window in tokens, from the last `num_ctx`, or None."""
    size = None
    for number in (_number(value) for name, value in pairs if name.lower() == CONTEXT):
        if isinstance(number, int) and MIN_CONTEXT <= number <= MAX_CONTEXT:
            size = number
        else:
            limits = f"it can be {MIN_CONTEXT} to {MAX_CONTEXT:,} tokens"
            remarks.add(f"the option '{CONTEXT}' is left out: {limits}")
    return size


def _number(value: Any) -> Any:
    """Convert a string, as in a Modelfile, to a number if possible. Return other values unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return value
