"""decode: tokens per second while `hermes ask` decodes an answer and writes its text to a pipe.

Measured: (tokens - 1) over the time from the first piece of text to the last, at the reader of the pipe.
Peer and gate: see `ask.py`.

decode-busy is the same with 16 tokens while another process keeps one CPU busy. It has no goal and takes
minutes. It is the reason why hermes sets how llama.cpp's threads wait for each other: by default they spin,
and so occupy the CPU that the thread they wait for needs.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from benchmarks.ask import CONTEXT, PROMPT, run_sides
from benchmarks.measure import Bench, Child
from benchmarks.report import Goal, Line

GOAL = Goal("≥", 0.97)
TOKENS, BUSY_TOKENS = 128, 16


def measure(bench: Bench) -> list[Line]:
    runs, wrong = run_sides(bench, PROMPT, TOKENS, CONTEXT, lean=False)
    what = "decode beside a bare xllamacpp loop"
    return [runs.line(what, "tok/s", speed(TOKENS), goal=GOAL, wrong=wrong)]


def measure_busy(bench: Bench) -> list[Line]:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        bench = replace(bench, patience_s=0)
        runs, wrong = run_sides(bench, PROMPT, BUSY_TOKENS, CONTEXT, lean=False, warm_up=False)
    finally:
        busy.kill()
        busy.wait()
    return [runs.line("decode, one other process busy", "tok/s", speed(BUSY_TOKENS), wrong=wrong)]


def speed(tokens: int) -> Callable[[Child], float]:
    return lambda child: (tokens - 1) / child.text_s if child.text_s else 0.0
