"""decode: tokens per second while an answer is decoded and its text is written to a pipe.

Measured: (tokens - 1) over the time from the first piece of text to the last, at the reader of the pipe.
Peer: a bare xllamacpp loop with the same ids, threads and number of tokens, greedy, and the library's
defaults. Each side is a separate process in each repeat. Gate: hermes generates the same ids as the bare
engine, and every run of both writes the same text.

decode-busy is the same with 16 tokens while another process keeps one CPU busy. It has no goal and takes
minutes. It is the reason why hermes sets how llama.cpp's threads wait for each other: by default they spin,
and so occupy the CPU that the thread they wait for needs.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.hermes import open_session, send
from benchmarks.measure import Bench, Child, difference, interleave, text_fault
from benchmarks.report import Goal, Line
from hermes_cli.screen.terminal import Terminal

GOAL = Goal("≥", 0.97)
PROMPT = "Write a long story about a lighthouse keeper and her dog."
CONTEXT = 2048


def answer(prompt: str, tokens: int, **engine: Any) -> dict[str, Any]:
    """Answer through a session and a terminal on standard output, and return the record of the turn."""
    session = open_session(tokens=tokens, **engine)
    answered = send(session, prompt, show=Terminal.from_process(os.environ).write)
    session.engine.close()
    return answered


def measure(bench: Bench) -> list[Line]:
    return [_line(bench, "decode beside a bare xllamacpp loop", 128, GOAL)]


def measure_busy(bench: Bench) -> list[Line]:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        return [_line(bench, "decode, one other process busy", 16, None)]
    finally:
        busy.kill()
        busy.wait()


def _line(bench: Bench, measure: str, tokens: int, goal: Goal | None) -> Line:
    hermes = partial(bench.run_model, answer, prompt=PROMPT, tokens=tokens, context=CONTEXT)
    record = hermes().value
    request = {"prompt": record["prompt"], "n_predict": tokens}
    llama_cpp = "benchmarks.peers.llama_cpp"
    peer = partial(bench.run_model, f"{llama_cpp}:write", request=request, context=CONTEXT)
    (bare,) = bench.run_model(f"{llama_cpp}:answer", requests=[request], context=CONTEXT).value
    wrong = difference("list of ids", bare["ids"], [record["generated"]])
    patience_s = bench.patience_s if goal else 0
    runs = interleave({"hermes": hermes, "peer": peer}, bench.repeats, patience_s, warm_up=bool(goal))
    return runs.line(measure, "tok/s", speed(tokens), goal=goal, wrong=wrong or text_fault(runs.all))


def speed(tokens: int) -> Callable[[Child], float]:
    return lambda child: (tokens - 1) / child.text_s if child.text_s else 0.0
