"""A text that comes token by token, on a clock that is not the machine's: what the sides of C5 and C6 share.

It knows the terminal that they write to, which keeps the bytes and costs next to nothing, and how the account
is taken. It refuses to know how a text is shown.

A side takes one JSON object: texts, a file with a list of texts, and report, a folder that gets for each of
them what was written as it came (`0.stream`) and the picture of the whole of it (`0.picture`). It prints one
JSON line, a list with a record for each text.
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
"""Fifty tokens a second. The looks at a growing text are the same ones on every machine."""
WARM_UP = 1000
"""Tokens of another answer that are shown before the clock runs: every kind of block is among them."""


class Sink(io.BytesIO):
    """A terminal that keeps what is written to it. `flushes` counts how often it was to be seen."""

    flushes = 0

    def isatty(self) -> bool:
        """Say that it is one."""
        return True

    def flush(self) -> None:
        """Count."""
        self.flushes += 1


class Clock:
    """Seconds since the first token came."""

    now = 0.0

    def read(self) -> float:
        """Return the time."""
        return self.now


Show = Callable[[Sink, Clock, Iterator[str]], int]
"""Shows the tokens as they come, and returns how many looks there were."""
Picture = Callable[[Sink, str], None]
"""Shows a whole text at once."""


def main(show: Show, picture: Picture) -> None:
    """Show every text both ways, write down what was written, and print the account."""
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
    """Return what was written, the looks, and the seconds of processor time of the streaming alone."""
    sink, clock = Sink(), Clock()
    gc.collect()
    began = time.process_time()
    looks = show(sink, clock, _arriving(pieces, clock))
    return sink, looks, time.process_time() - began


def _arriving(pieces: Sequence[str], clock: Clock) -> Iterator[str]:
    for number, piece in enumerate(pieces):
        clock.now = number * TOKEN_S
        yield piece
