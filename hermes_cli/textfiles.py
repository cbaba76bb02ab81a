"""Reads small UTF-8 text and TOML files, with a size limit.

The caller chooses the type of the errors, which name the file and the position of a mistake.
"""

import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import ConfigError

MAX_BYTES: Final = 1 << 20
_MAX_TOML_WORK: Final = 100_000_000  # about a second
_PROSE: Final = re.compile(
    r"""
    \# [^\n]*+
    | "{3} (?: [^"\\]++ | \\. | "(?!"") )*+ "{0,5}
    | '{3} (?: [^']++ | '(?!'') )*+ '{0,5}
    | " (?: [^"\\\n]++ | \\. )*+ "?
    | ' [^'\n]*+ '?
    """,
    re.DOTALL | re.VERBOSE,
)
_AT_END: Final = "(at end of document)"
_BOM: Final = "\ufeff"


def read_text(
    path: Path, error: type[ConfigError], missing_hint: str = "check the name", max_bytes: int = MAX_BYTES
) -> str:
    """Return the text of a file of at most `max_bytes`.

    Raises `error` if the file is missing, not a regular file, too large, or not UTF-8 text.
    """
    data = read_bytes(path, error, missing_hint, max_bytes)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(
            f"{path} is not UTF-8: byte {problem.start} is 0x{data[problem.start]:02x}",
            "save it as UTF-8 in an editor",
        ) from None
    if "\0" in text:
        raise error(
            f"{path} holds a NUL character at byte {data.index(0)}", "it is not a text file, or a damaged one"
        )
    return text


def read_bytes(path: Path, error: type[ConfigError], missing_hint: str, max_bytes: int) -> bytes:
    """Return the contents of a file of at most `max_bytes`.

    Raises `error` if the file is missing, not a regular file, or too large.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise error(f"{path} is a folder", "name a file in it")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for a writer
            raise error(f"{path} is not an ordinary file", "copy it into one")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise error(f"there is no file {path}", missing_hint) from None
    except OSError as problem:
        hint = "look at its permissions" if isinstance(problem, PermissionError) else ""
        raise error(f"{path} cannot be read: {problem.strerror}", hint) from None
    except ValueError:  # a NUL in the path
        raise error(f"{str(path)!r} is not a path", missing_hint) from None
    if len(data) > max_bytes:
        raise error(f"{path} is larger than {max_bytes >> 20} MiB", "shorten it")
    return data


def parse_toml(text: str, path: Path, error: type[ConfigError]) -> dict[str, Any]:
    """Return the TOML table in the text of `path`. Raises `error` with line and column."""
    # Editors on Windows write a byte-order mark, which TOML 1.0 does not allow.
    text = text.removeprefix(_BOM)
    if _toml_work(text) > _MAX_TOML_WORK:
        raise error(f"{path}: a line of it holds too many dots", "break the line, or shorten it")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        line = text.count("\n") + 1
        column = len(text) - text.rfind("\n")
        place = str(problem).replace(_AT_END, f"(at line {line}, column {column}, the end of the file)")
        raise error(
            f"{path} is not valid TOML: {place}",
            "texts stand in quotes, long ones between three; the format is at https://toml.io",
        ) from None
    except (RecursionError, ValueError) as problem:
        what = "it is nested too deeply" if isinstance(problem, RecursionError) else "a number is too long"
        raise error(f"{path}: {what}", "neither depth nor large numbers are needed here") from None


def _toml_work(text: str) -> int:
    """Return an upper bound for tomllib's work on dotted keys, from the dots outside of texts and comments.

    The work grows with the square of a key's length, and with the length of a table header times the lines
    below it. Without a limit, 1 MB of "a.a.a" would take half an hour.
    """
    lines = _PROSE.sub("", text).split("\n")
    headers = max((line.count(".") for line in lines if line.lstrip(" \t").startswith("[")), default=0)
    return sum(line.count(".") ** 2 for line in lines) + 10 * headers * len(lines)
