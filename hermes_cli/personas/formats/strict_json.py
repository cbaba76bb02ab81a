"""Parses untrusted JSON with limits of size, depth and count. Of two equal keys the last one counts."""

import json
import math
import re
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError

MAX_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 100
MAX_DIGITS: Final = 100
_STEP: Final = 1 << 16
_HALF: Final = re.compile("[\ud800-\udfff]")
_MAX_BRACKETS: Final = 100_000
_MAX_COMMAS: Final = 250_000
"""Limits of memory: an empty list takes two characters of text and 56 bytes of memory."""
_DAMAGED_HINT: Final = "it is damaged, or was edited by hand: compare it with the file it came from"


class _Refused(ValueError):  # noqa: N818 - reads as what happened
    """A value that JSON's grammar or hermes' limits do not allow."""


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Refused(f"a number of {len(text):,} digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"the number {text[:20]}, which is too large")
    return value


def _constant(text: str) -> float:
    raise _Refused(f"{text}, which is not a number")


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_constant)


def parse(data: bytes, source: Path) -> Any:
    """Return the value of a JSON text. `source` is named in errors.

    Raises PersonaError if the text is not UTF-8, not JSON, too large, too deep, or has a lone surrogate.
    """
    if len(data) > MAX_BYTES:
        raise PersonaError(
            f"{source}: its JSON is larger than {MAX_BYTES >> 20} MiB", "take texts or entries out of it"
        )
    text = decode(data, source)
    if text.count("[") + text.count("{") > _MAX_BRACKETS or text.count(",") > _MAX_COMMAS:
        raise PersonaError(f"{source}: its JSON holds too many values", "no character needs so many")
    try:
        value = _DECODER.decode(text)
        del text  # free the memory, because the value is as large again
        _refuse_unfit(value)
    except json.JSONDecodeError as error:
        what = f"is not JSON: {error.msg.lower()}, line {error.lineno:,}, column {error.colno:,}"
        raise PersonaError(f"{source} {what}", _DAMAGED_HINT) from None
    except _Refused as error:
        raise PersonaError(f"{source} holds {error}", _DAMAGED_HINT) from None
    except RecursionError:
        raise PersonaError(f"{source} is nested too deeply", "no character needs that depth") from None
    return value


def decode(data: bytes, source: Path) -> str:
    """Decode UTF-8 and remove a byte-order mark. Raises PersonaError if the bytes are not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The decoder does not count a byte-order mark.
        start = error.start + len(data) - len(error.object)
        raise PersonaError(
            f"{source} is not UTF-8: byte {start:,} is 0x{data[start]:02x}", "save it as UTF-8 in an editor"
        ) from None


def dump(value: Any) -> bytes:
    """Return a value as indented JSON in UTF-8."""
    return _encoded(json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2), value) + b"\n"


def dump_short(value: Any) -> bytes:
    """Return a value as JSON on one line in UTF-8."""
    return _encoded(json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")), value)


def _encoded(encoder: json.JSONEncoder, value: Any) -> bytes:
    """Encode JSON in pieces, because a str with one emoji takes four bytes for each character."""
    made = bytearray()
    for piece in encoder.iterencode(value):
        for start in range(0, len(piece), _STEP):
            made += piece[start : start + _STEP].encode()
    return bytes(made)


def _refuse_unfit(value: Any) -> None:
    """Check depth and surrogates without recursion. Raises RecursionError and _Refused."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise RecursionError
        below: list[Any] = []
        for one in level:
            if isinstance(one, str):
                _refuse_half_characters(one)
            elif isinstance(one, list):
                below += one
            elif isinstance(one, dict):
                below += one.values()
                below += one.keys()
        level = below


def _refuse_half_characters(text: str) -> None:
    if found := _HALF.search(text):
        half = f"U+{ord(found[0]):04X}"
        raise _Refused(f"a lone surrogate ({half}), which is half of a character")
