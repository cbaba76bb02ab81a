"""The gate of rows C5 and C6: the final content of the terminal, with its scrollback.

It is a separate process, since a long screen takes much memory. Takes one JSON object: texts and report, as
for the sides, and exact: whether the stream must leave, cell for cell, the same screen as the whole text at
once (character, colors, bold, italics, underline; pyte does not support dim). The words of the text must be
present in any case. Prints one JSON line, a list with an error text for each text, or an empty string.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyte

from benchmarks.peers.streaming import COLUMNS, ROWS

SCROLLBACK = 100_000
_CONTROL = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]")
_MARKUP = re.compile(r"^ *```\w*$|\]\([^)\s]*\)|^\d+\.|_", re.MULTILINE)
"""Parts of a text that may be absent on a screen: an info string, a link's target, a number of a list."""


def main() -> None:
    """Check every text."""
    ask = json.loads(sys.argv[1])
    texts = json.loads(Path(ask["texts"]).read_text(encoding="utf-8"))
    wrong = []
    for number, text in enumerate(texts):
        stream, picture = (
            (Path(ask["report"]) / f"{number}.{kind}").read_bytes().decode() for kind in ("stream", "picture")
        )
        # A word that arrived in two pieces is whole on the screen, but not in the stream.
        words = missing(text, picture if ask["exact"] else stream)
        wrong.append(words or (difference(stream, picture) if ask["exact"] else ""))
    print(json.dumps(wrong))


def cells(written: str) -> list[list[Any]]:
    r"""Return every cell of the terminal with its scrollback, down to the last row that is not blank.

    Each \n is replaced by \r\n, as a pty does.
    """
    screen = pyte.HistoryScreen(COLUMNS, ROWS, history=SCROLLBACK)
    pyte.Stream(screen).feed(written.replace("\n", "\r\n"))
    rows = [*screen.history.top, *(screen.buffer[y] for y in range(ROWS))]
    shown = [[row[x] for x in range(COLUMNS)] for row in rows]
    while shown and not any(cell.data.strip() for cell in shown[-1]):
        shown.pop()
    return shown


def difference(stream: str, picture: str) -> str:
    """Return the first difference between the two screens, or an empty string."""
    left, expected = cells(stream), cells(picture)
    for number, (one, other) in enumerate(zip(left, expected, strict=False), 1):
        if one != other:
            row, wanted = ("".join(cell.data for cell in cells).rstrip() for cells in (one, other))
            style = " in another style" if row == wanted else ""
            return f"row {number} is {row!r} instead of {wanted!r}{style}"
    return "" if len(left) == len(expected) else f"{len(left)} rows instead of {len(expected)}"


def missing(text: str, written: str) -> str:
    """Return the words that were written less often than they occur in the text, or an empty string."""
    lost = _words(_MARKUP.sub(" ", text)) - _words(_CONTROL.sub("", written).replace("_", " "))
    return f"{lost.total()} words are missing: {', '.join(list(lost)[:5])}" if lost else ""


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


if __name__ == "__main__":
    main()
