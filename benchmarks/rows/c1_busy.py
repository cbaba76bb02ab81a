"""C1-busy: row C1 again while another process keeps one CPU busy. It has no goal and takes minutes.

It is the reason why hermes sets how llama.cpp's threads wait for each other: by default they spin, and so
occupy the CPU that the thread they wait for needs.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measure import Bench, Line, ended_well, same, turns_about
from benchmarks.rows.c1 import decoders, speed

TOKENS = 16


def measure(bench: Bench) -> list[Line]:
    """Measure the row and return its line."""
    sides, wrong = decoders(bench, TOKENS)
    with _busy_processor():
        turns = turns_about(sides, bench.repeats, warm_up=False, patience_s=0)
    children = [child for given in turns.results.values() for child in given]
    wrong = wrong or ended_well(children) or same("text", children[-1].stdout, [c.stdout for c in children])
    hermes, peer = turns.median("hermes", speed(TOKENS)), turns.median("peer", speed(TOKENS))
    what = "decode, one other process busy"
    return [Line("C1-busy", what, "tok/s", hermes, peer, None, wrong, turns.record(speed(TOKENS)))]


@contextlib.contextmanager
def _busy_processor() -> Iterator[None]:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()
