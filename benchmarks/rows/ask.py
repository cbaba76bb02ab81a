"""decode, ask-cold, peak-memory: `hermes ask` as a whole process beside ten lines of xllamacpp.

The peer answers the same ids, once with the library's defaults and once with hermes' settings, which shows
hermes' own overhead. Gate: every process writes the same text, hermes with a newline at its end.

decode: (tokens - 1) over the time from the first piece of text to the last, at the reader of the pipe. Second
gate: an answer that `hermes ask --log` saves has exactly the bare engine's ids.
decode-busy is the same while another process keeps one CPU busy. It has no goal and takes minutes. It is the
reason why hermes sets how llama.cpp's threads wait for each other: by default they spin.
ask-cold: wall time of `hermes ask "hi"` from its start to its exit, 16 tokens.
peak-memory: the largest resident size of the whole process, with the mapped weights, whose size is recorded.
peak-memory-transformers: the same on the transformers engine in bfloat16, beside a bare loop over the model.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.measure import (
    MIB,
    PROGRAMS,
    Bench,
    Child,
    Repeats,
    difference,
    exit_fault,
    interleave,
    run_child,
    text_fault,
)
from benchmarks.report import Goal, Line
from benchmarks.weights import folder
from hermes_cli.store.store import Store

SPEED, COLD, MEMORY = Goal("≥", 0.97), Goal("≤", 1.1), Goal("≤", 1.1)
TOKENS, BUSY_TOKENS, COLD_TOKENS, MEMORY_TOKENS, TORCH_TOKENS = 128, 16, 16, 512, 256
PROMPT = "Write a long story about a lighthouse keeper and her dog."
CONTEXT = 2048
GREEDY = ("--temperature", "0", "--repetition-penalty", "1", "--loop-guard", "0")
"""The peers' defaults. 512 tokens of a toy model may well be a loop, which hermes would stop."""
HERMES_PARAMS = {"warmup": False, "fit_params": False, "n_batch": 128, "n_ubatch": 128, "cache_ram_mib": 0}
"""hermes' settings for speed and size."""
LEAN = ("hermes", "peer with hermes' settings")


def run_sides(
    bench: Bench, prompt: str, tokens: int, context: int = 0, *, lean: bool = True, warm_up: bool = True
) -> tuple[Repeats[Child], str]:
    """Return the results and the gate's error text. `lean` adds the peer with hermes' settings."""
    request = {"prompt": prompt_ids(bench, prompt), "n_predict": tokens}
    write = "benchmarks.peers.llama_cpp:write"
    peer = partial(bench.run_model, write, request=request, context=context)
    flags = ("--context", str(context)) if context else ()
    sides = {"hermes": partial(ask, bench, prompt, tokens, *flags), "peer": peer}
    if lean:
        sides[LEAN[1]] = partial(peer, **HERMES_PARAMS)
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=warm_up)
    first, *peers = runs.results.values()
    return runs, gate(first, [child for children in peers for child in children])


def ask(bench: Bench, prompt: str, tokens: int, *flags: str) -> Child:
    words = ("ask", prompt, "--max-tokens", str(tokens), *GREEDY, *flags)
    return run_child([PROGRAMS / "hermes", *words], bench.environment())


def gate(hermes: list[Child], peers: list[Child]) -> str:
    wrong = exit_fault(hermes) or text_fault(peers)
    return wrong or difference("text", peers[0].stdout + b"\n", [child.stdout for child in hermes])


def prompt_ids(bench: Bench, prompt: str, *flags: str) -> list[int]:
    child = run_child([PROGRAMS / "hermes", "tokens", "--json", prompt, *flags], bench.environment())
    if wrong := exit_fault([child]):
        raise RuntimeError(f"hermes tokens: {wrong}")
    return [token["id"] for token in json.loads(child.stdout)]


def measure_decode(bench: Bench) -> list[Line]:
    wrong_ids = ids_fault(bench, PROMPT, TOKENS)
    runs, wrong = run_sides(bench, PROMPT, TOKENS, CONTEXT, lean=False)
    what = "decode beside a bare xllamacpp loop"
    return [runs.line(what, "tok/s", speed(TOKENS), goal=SPEED, wrong=wrong or wrong_ids)]


def ids_fault(bench: Bench, prompt: str, tokens: int) -> str:
    """Return an error text if the ids of a saved answer are not the bare engine's, or not `tokens` many."""
    bench, home = bench.untimed, bench.scratch / "logged"
    saving = replace(bench, variables={**bench.variables, "OPENHERMES_HOME": str(home)})
    flags = ("--log", "-m", str(bench.model), "--context", str(CONTEXT))
    if wrong := exit_fault([ask(saving, prompt, tokens, *flags)]):
        return wrong
    requests = [{"prompt": prompt_ids(bench, prompt), "n_predict": tokens}]
    answer = "benchmarks.peers.llama_cpp:answer"
    (bare,) = bench.run_model(answer, requests=requests, context=CONTEXT).value
    with closing(Store(home / "data" / "conversations.db")) as store:
        (conversation,) = store.conversations(1)
        turn_ids = store.path(conversation.leaf)[-1].generation.turn_ids
    # The ids of a turn begin with those that open it.
    return difference("list of ids", bare["ids"], [[*turn_ids.ids[-tokens:]] if turn_ids else []])


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


def measure_cold(bench: Bench) -> list[Line]:
    runs, wrong = run_sides(bench, "hi", COLD_TOKENS)
    what = 'wall time of hermes ask "hi", cold, beside ten lines of xllamacpp'
    return [
        runs.line(what, "s", lambda c: c.wall_s, wrong=wrong),
        runs.line(f"{what} with hermes' settings", "s", lambda c: c.wall_s, LEAN, goal=COLD, wrong=wrong),
    ]


def measure_memory(bench: Bench) -> list[Line]:
    runs, wrong = run_sides(bench.untimed, PROMPT, MEMORY_TOKENS, CONTEXT, warm_up=False)
    what, size = "peak memory beside the bare engine", bench.model.stat().st_size / MIB
    return [
        runs.line(what, "MiB", peak_mib, goal=MEMORY, wrong=wrong, weights=size),
        runs.line(f"{what} with hermes' settings", "MiB", peak_mib, LEAN, wrong=wrong),
    ]


def measure_memory_transformers(bench: Bench) -> list[Line]:
    bench, model = bench.untimed, folder(bench)
    flags = ("-m", model, "--precision", "bf16", "--device", "cpu", "--context", str(CONTEXT))
    settings = {"model": model, "precision": "bfloat16", "tokens": TORCH_TOKENS}
    prompt = prompt_ids(bench, PROMPT, "-m", model)
    sides = {
        "hermes": partial(ask, bench, PROMPT, TORCH_TOKENS, *flags),
        "peer": partial(bench.run_model, "benchmarks.peers.torch_model:loop", prompt=prompt, **settings),
    }
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=False)
    wrong = gate(*runs.results.values())
    what = "peak memory beside a bare transformers loop"
    size = sum(path.stat().st_size for path in Path(model).glob("*.safetensors")) / MIB
    return [runs.line(what, "MiB", peak_mib, goal=MEMORY, wrong=wrong, weights=size)]


def peak_mib(child: Child) -> float:
    return child.max_rss / MIB
