"""A text that arrives token by token on a simulated clock: the shared code of the sides of rows C5 and C6.

The sides write to a terminal that stores the bytes at almost no cost.

A side takes one JSON object: texts, a file with a list of texts, and report, a folder for the bytes of each
text: those written while it arrived (`0.stream`) and those of the whole text at once (`0.picture`). It prints
one JSON line, a list with a record for each text.
"""

import gc
import hashlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.answer_text import answers, tokens

COLUMNS, ROWS = 80, 24
TOKEN_S = 0.02
"""Fifty tokens per second. The repaints of a growing text are the same on every machine."""
WARM_UP = 1000
"""Tokens of another answer that are shown before the measurement; they include every kind of block."""


class Sink(io.BytesIO):
    """A terminal that stores what is written to it. `flushes` counts the calls of `flush`."""

    flushes = 0

    def isatty(self) -> bool:
        """Return True, as a terminal does."""
        return True

    def flush(self) -> None:
        """Count the call."""
        self.flushes += 1


class Clock:
    """A simulated clock: seconds since the first token arrived."""

    now = 0.0

    def read(self) -> float:
        """Return the simulated time."""
        return self.now


Show = Callable[[Sink, Clock, Iterator[str]], int]
"""Shows the tokens as they arrive, and returns the number of repaints."""
Picture = Callable[[Sink, str], None]
"""Shows a whole text at once."""


def main(show: Show, picture: Picture) -> None:
    """Show every text both ways, write the bytes to files, and print the records."""
    ask = json.loads(sys.argv[1])
    texts = json.loads(Path(ask["texts"]).read_text(encoding="utf-8"))
    folder = Path(ask["report"])
    folder.mkdir(parents=True, exist_ok=True)
    _streamed(show, tokens(answers(WARM_UP, WARM_UP, seed=2)[0]))
    records = []
    for number, text in enumerate(texts):
        pieces = tokens(text)
        sink, looks, cpu_s = _streamed(show, pieces)
        whole = Sink()
        picture(whole, text)
        (folder / f"{number}.stream").write_bytes(sink.getvalue())
        (folder / f"{number}.picture").write_bytes(whole.getvalue())
        records.append(
            {
                "tokens": len(pieces),
                "cpu_s": cpu_s,
                "looks": looks,
                "written": len(sink.getvalue()),
                "picture": len(whole.getvalue()),
                "digest": hashlib.sha256(sink.getvalue()).hexdigest(),
            }
        )
    print(json.dumps(records))


def _streamed(show: Show, pieces: Sequence[str]) -> tuple[Sink, int, float]:
    """Return the sink, the number of repaints, and the seconds of CPU time of the streaming alone."""
    sink, clock = Sink(), Clock()
    gc.collect()
    began = time.process_time()
    looks = show(sink, clock, _arriving(pieces, clock))
    return sink, looks, time.process_time() - began


def _arriving(pieces: Sequence[str], clock: Clock) -> Iterator[str]:
    for number, piece in enumerate(pieces):
        clock.now = number * TOKEN_S
        yield piece
