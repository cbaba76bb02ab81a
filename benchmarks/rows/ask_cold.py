"""ask-cold: `hermes ask "hi"` from its start to its exit, with the starter on the disk.

Measured: wall time of the whole process, 16 tokens, greedy. Peer: ten lines of xllamacpp with the same ids,
once with the library's defaults and once with hermes' settings, which shows hermes' own overhead. Gate: the
same text.
"""

import json
from functools import partial

from benchmarks.measure import (
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

GOAL = Goal("≤", 1.1)
GREEDY = ("--temperature", "0", "--repetition-penalty", "1", "--loop-guard", "0")
"""The peers' defaults. 512 tokens of a toy model may well be a loop, which hermes would stop."""
HERMES_PARAMS = {"warmup": False, "fit_params": False, "n_batch": 128, "n_ubatch": 128, "cache_ram_mib": 0}
"""hermes' settings for speed and size."""


def measure(bench: Bench) -> list[Line]:
    runs, wrong = run_sides(bench, "hi", 16)
    what = 'wall time of hermes ask "hi", cold, beside ten lines of xllamacpp'
    sides = ("hermes", "peer with hermes' settings")
    return [
        runs.line(what, "s", lambda c: c.wall_s, wrong=wrong),
        runs.line(f"{what} with hermes' settings", "s", lambda c: c.wall_s, sides, goal=GOAL, wrong=wrong),
    ]


def run_sides(bench: Bench, prompt: str, tokens: int, context: int = 0) -> tuple[Repeats[Child], str]:
    """Run hermes and both peers in alternation; return the results and an error text, empty if none.

    A context of 0 is the model's own.
    """
    request = {"prompt": prompt_ids(bench, prompt), "n_predict": tokens}
    flags = ("--context", str(context)) if context else ()
    write = "benchmarks.peers.llama_cpp:write"
    peer = partial(bench.run_model, write, request=request, context=context)
    sides = {
        "hermes": partial(ask, bench, prompt, tokens, *flags),
        "peer": peer,
        "peer with hermes' settings": partial(peer, **HERMES_PARAMS),
    }
    runs = interleave(sides, bench.repeats, bench.patience_s)
    hermes, *peers = runs.results.values()
    return runs, gate(hermes, [child for children in peers for child in children])


def ask(bench: Bench, prompt: str, tokens: int, *flags: str) -> Child:
    words = ("ask", prompt, "--max-tokens", str(tokens), *GREEDY, *flags)
    return run_child([bench.programs / "hermes", *words], bench.environment())


def gate(hermes: list[Child], peers: list[Child]) -> str:
    """Return an error text if hermes' text is not the peers' text and one newline."""
    wrong = exit_fault(hermes) or text_fault(peers)
    return wrong or difference("text", peers[0].stdout + b"\n", [child.stdout for child in hermes])


def prompt_ids(bench: Bench, prompt: str, *flags: str) -> list[int]:
    child = run_child([bench.programs / "hermes", "tokens", "--json", prompt, *flags], bench.environment())
    if wrong := exit_fault([child]):
        raise RuntimeError(f"hermes tokens: {wrong}")
    return [token["id"] for token in json.loads(child.stdout)]
