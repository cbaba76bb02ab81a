"""ask-cold: `hermes ask "hi"` from its start to its exit, with the starter on the disk.

Measured: wall time of the whole process, 16 tokens, greedy. Peer: ten lines of xllamacpp with the same ids,
once with the library's defaults and once with hermes' settings, which shows hermes' own overhead. Gate: the
same text.
"""

import json
from functools import partial

from benchmarks.measure import Bench, Repeats, interleave
from benchmarks.process import Child, difference, exit_fault, run_child, text_fault
from benchmarks.report import Goal, Line

GOAL = Goal("≤", 1.1)
PROMPT = "hi"
TOKENS = 16
GREEDY = ("--temperature", "0", "--repetition-penalty", "1", "--loop-guard", "0")
"""The peers' defaults. 512 tokens of a toy model may well be a loop, which hermes would stop."""
HERMES_PARAMS = {"warmup": False, "fit_params": False, "n_batch": 128, "n_ubatch": 128, "cache_ram_mib": 0}
"""hermes' settings for speed and size."""


def measure(bench: Bench) -> list[Line]:
    """Return a line for the library's defaults, and one for hermes' settings."""
    runs, wrong = run_sides(bench, PROMPT, TOKENS, warm_up=True)
    what = 'wall time of hermes ask "hi", cold, beside ten lines of xllamacpp'
    same = f"{what} with hermes' settings"
    return [
        runs.line(what, "s", lambda c: c.wall_s, wrong=wrong),
        runs.line(same, "s", lambda c: c.wall_s, ("hermes", "lean peer"), goal=GOAL, wrong=wrong),
    ]


def run_sides(
    bench: Bench, prompt: str, tokens: int, *, context: int = 0, warm_up: bool = False
) -> tuple[Repeats[Child], str]:
    """Run hermes and both peers in alternation; return the results and an error text, empty if none.

    A context of 0 is the model's own.
    """
    size = ("--context", str(context)) if context else ()
    words = ("ask", prompt, "--max-tokens", str(tokens), *GREEDY, *size)
    request = {"prompt": prompt_ids(bench, prompt), "n_predict": tokens}
    settings = {"model": str(bench.model), "threads": bench.threads, "context": context, "request": request}
    peer = partial(bench.call, "benchmarks.peers.llama_cpp:write", **settings)
    sides = {
        "hermes": partial(run_child, [bench.programs / "hermes", *words], bench.environment()),
        "peer": peer,
        "lean peer": partial(peer, **HERMES_PARAMS),
    }
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=warm_up)
    hermes, peers = runs.results["hermes"], [*runs.results["peer"], *runs.results["lean peer"]]
    return runs, gate(hermes, peers)


def gate(hermes: list[Child], peers: list[Child]) -> str:
    """Return an error text if hermes' text is not the peers' text and one newline."""
    wrong = exit_fault(hermes) or text_fault(peers)
    return wrong or difference("text", peers[0].stdout + b"\n", [child.stdout for child in hermes])


def prompt_ids(bench: Bench, prompt: str, *flags: str) -> list[int]:
    """Return the ids that `hermes ask` sends for the prompt, with the same flags."""
    child = run_child([bench.programs / "hermes", "tokens", "--json", prompt, *flags], bench.environment())
    if wrong := exit_fault([child]):
        raise RuntimeError(f"hermes tokens: {wrong}")
    return [token["id"] for token in json.loads(child.stdout)]
