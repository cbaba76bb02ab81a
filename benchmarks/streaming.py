"""A text that arrives token by token on a simulated clock, and the check of the screen that it leaves.

The sides write to a terminal that stores the bytes at almost no cost.
"""

import gc
import hashlib
import io
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyte

from benchmarks.answer_text import answers, tokens

COLUMNS, ROWS = 80, 24
TOKEN_S = 0.02
"""Fifty tokens per second. The repaints of a growing text are the same on every machine."""
WARM_UP = 1000
"""Tokens of another answer that are shown before the measurement; they include every kind of block."""
_CONTROL = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]")
_MARKUP = re.compile(r"^ *```\w*$|\]\([^)\s]*\)|^\d+\.|_", re.MULTILINE)
"""Parts of a text that may be absent on a screen: an info string, a link's target, a number of a list."""


class Sink(io.BytesIO):
    """A terminal that stores what is written to it. `flushes` counts the calls of `flush`."""

    flushes = 0

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.flushes += 1


@dataclass(slots=True)
class Clock:
    """A simulated clock: seconds since the first token arrived."""

    now: float = 0.0


Show = Callable[[Sink, Clock, Iterator[str]], int]
"""Shows the tokens as they arrive, and returns the number of repaints."""
Picture = Callable[[Sink, str], None]
"""Shows a whole text at once."""


def stream(show: Show, picture: Picture, texts: Sequence[str], *, exact: bool) -> list[dict[str, Any]]:
    """Show every text both ways, and return a record of each, with its fault (see `screen_fault`)."""
    show_tokens(show, tokens(answers(WARM_UP, WARM_UP, seed=2)[0]))
    records = []
    for text in texts:
        sink, repaints, cpu_s = show_tokens(show, tokens(text))
        whole = Sink()
        picture(whole, text)
        written, shown = sink.getvalue(), whole.getvalue()
        record = {
            "tokens": len(tokens(text)),
            "cpu_s": cpu_s,
            "repaints": repaints,
            "written": len(written),
            "picture": len(shown),
            "digest": hashlib.sha256(written).hexdigest(),
            "fault": screen_fault(text, written.decode(), shown.decode(), exact=exact),
        }
        records.append(record)
    return records


def show_tokens(show: Show, pieces: Sequence[str]) -> tuple[Sink, int, float]:
    """Return the sink, the number of repaints, and the seconds of CPU time of the streaming alone."""
    sink, clock = Sink(), Clock()

    def arriving() -> Iterator[str]:
        for number, piece in enumerate(pieces):
            clock.now = number * TOKEN_S
            yield piece

    gc.collect()
    began = time.process_time()
    repaints = show(sink, clock, arriving())
    return sink, repaints, time.process_time() - began


def screen_fault(text: str, stream: str, picture: str, *, exact: bool) -> str:
    """Return an error text if words are missing or, if `exact`, the stream left another screen."""
    # A word that arrived in two pieces is whole on the screen, but not in the stream.
    if exact:
        return missing_words(text, picture) or screen_difference(stream, picture)
    return missing_words(text, stream)


def cells(written: str) -> list[list[Any]]:
    """Return every cell of the terminal with its scrollback, down to the last row that is not blank."""
    screen = pyte.HistoryScreen(COLUMNS, ROWS, history=100_000)
    pyte.Stream(screen).feed(written.replace("\n", "\r\n"))  # as a pty does
    rows = [*screen.history.top, *(screen.buffer[y] for y in range(ROWS))]
    shown = [[row[x] for x in range(COLUMNS)] for row in rows]
    while shown and not any(cell.data.strip() for cell in shown[-1]):
        shown.pop()
    return shown


def screen_difference(stream: str, picture: str) -> str:
    left, expected = cells(stream), cells(picture)
    for number, (one, other) in enumerate(zip(left, expected, strict=False), 1):
        if one != other:
            row, wanted = ("".join(cell.data for cell in cells).rstrip() for cells in (one, other))
            style = " in another style" if row == wanted else ""
            return f"row {number} is {row!r} instead of {wanted!r}{style}"
    return "" if len(left) == len(expected) else f"{len(left)} rows instead of {len(expected)}"


def missing_words(text: str, written: str) -> str:
    """Return the words that were written less often than they occur in the text, or an empty string."""
    expected, found = _MARKUP.sub(" ", text), _CONTROL.sub("", written).replace("_", " ")
    lost = Counter(re.findall(r"\w+", expected)) - Counter(re.findall(r"\w+", found))
    return f"{lost.total()} words are missing: {', '.join(list(lost)[:5])}" if lost else ""
