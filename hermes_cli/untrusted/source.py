"""Reads files with a size limit, and decodes and checks text. The caller chooses the type of the errors."""

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hermes_cli.errors import HermesError, access_hint

BOM: Final = "\ufeff"
"""The byte-order mark, which some Windows editors write at the start of a file."""
_OPEN_STREAMS: Final = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Where paths of open streams begin. Shells name the pipe of `<(command)` this way."""

_UNENCODABLE: Final = re.compile("[\ud800-\udfff]")
"""Surrogates, which stand for the bytes of a path that are not UTF-8."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file or text of unknown origin: its name for error messages, and the type of its errors.

    `missing_hint` is the hint if there is no such file. `hint`, if any, replaces all other hints, except for
    that about permissions.
    """

    name: str
    error_type: Callable[[str, str], HermesError]
    missing_hint: str = "check the name"
    hint: str = ""

    def error(self, reason: str, hint: str = "", line: int = 0, column: int = 0) -> HermesError:
        """Return an error with the source's name and `reason`. A line or column of 0 is unknown."""
        place = (f", line {line:,}" if line else "") + (f", column {column:,}" if column else "")
        return self.error_type(f"{self.name} {reason}{place}", self.hint or hint)


def is_file(path: Path) -> bool:
    """Return whether there is a regular file. Raises PermissionError if that cannot be found out."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False


def read_start(path: Path, size: int, source: Source, *, allow_pipe: bool = False) -> bytes:
    """Return the first `size` bytes of a regular file, or, with `allow_pipe`, of an open stream.

    Raises `source.error` if the file is missing or unreadable.
    """
    may_wait = allow_pipe and str(path).startswith(_OPEN_STREAMS)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise source.error("is a folder", "name a file in it")
        if not (may_wait or stat.S_ISREG(mode)):  # opening a pipe would wait for a writer
            raise source.error("is not a regular file", "copy it into one")
        # /proc/kmsg seems to be regular, but reading it would wait for the next message of the kernel.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if may_wait else os.O_NONBLOCK))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            data: bytes | None = file.read(size)
    except FileNotFoundError:
        raise source.error_type(f"there is no file {path}", source.missing_hint) from None
    except OSError as problem:
        hint = access_hint(problem, source.hint)
        raise source.error_type(f"{source.name} cannot be read: {problem.strerror}", hint) from None
    except ValueError:  # a NUL in the path
        raise source.error_type(f"{str(path)!r} is not a path", source.missing_hint) from None
    if data is None:  # the read would wait
        raise source.error("is not a regular file", "copy it into one")
    return data


def read_bytes(path: Path, limit: int, source: Source, *, allow_pipe: bool = False) -> bytes:
    """Read a file of at most `limit` bytes. Raises `source.error`."""
    return check_size(read_start(path, limit + 1, source, allow_pipe=allow_pipe), limit, source)


def read_text(path: Path, limit: int, source: Source) -> str:
    """Read a UTF-8 file of at most `limit` bytes, without NUL. Raises `source.error`."""
    return check_text(decode(read_bytes(path, limit, source), source), source)


def check_size(data: bytes, limit: int, source: Source) -> bytes:
    """Return `data`. Raises `source.error` if it is longer than `limit` bytes."""
    if len(data) > limit:
        shown = f"{limit >> 20} MiB" if limit >> 20 else f"{limit >> 10} KiB"
        raise source.error(f"is larger than {shown}", "shorten it or split it")
    return data


def decode(data: bytes, source: Source) -> str:
    """Decode UTF-8; a byte-order mark is kept. Raises `source.error`, which names the first invalid byte."""
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        raise source.error(
            f"is not UTF-8: byte {problem.start:,} is 0x{data[problem.start]:02x}",
            _decoding_advice(data),
            data.count(b"\n", 0, problem.start) + 1 if b"\n" in data else 0,
        ) from None


def _decoding_advice(data: bytes) -> str:
    """Return the advice for bytes that are not UTF-8: convert text, but not other data."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "convert it with: iconv -f utf-16 -t utf-8"
    if b"\0" in data:
        return "it is damaged, or not text"
    return "convert it, for example with: iconv -f latin1 -t utf-8"


def valid_text(name: str) -> str:
    """Return a file name as text that can be encoded: U+FFFD replaces each byte that is not UTF-8."""
    return _UNENCODABLE.sub("\ufffd", name)


def line_feeds(text: str) -> str:
    r"""Return `text` with LF for each CR LF and CR, because a model takes \r for a character of the text."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_text(text: str, source: Source) -> str:
    """Return `text`. Raises `source.error` if it contains NUL or a lone surrogate."""
    if "\0" in text:
        position = text.index("\0")
        raise source.error(f"contains a NUL character at position {position:,}", "it is damaged, or not text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise source.error("is not UTF-8", "check the terminal's encoding") from None
    return text
