"""`hermes ask` as a whole process beside ten lines of xllamacpp, for the rows that compare the two.

The peer answers the same ids, once with the library's defaults and once with hermes' settings, which shows
hermes' own overhead. Gate: every process writes the same text, hermes with a newline at its end.
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
    """Return the results and an error text, which is empty if there is none. Context 0 is the model's own.

    `lean` adds the peer with hermes' settings.
    """
    request = {"prompt": prompt_ids(bench, prompt), "n_predict": tokens}
    write = "benchmarks.peers.llama_cpp:write"
    peer = partial(bench.run_model, write, request=request, context=context)
    flags = ("--context", str(context)) if context else ()
    hermes = partial(ask, bench, prompt, tokens, *flags)
    sides = {"hermes": hermes, "peer": peer}
    if lean:
        sides[LEAN[1]] = partial(peer, **HERMES_PARAMS)
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=warm_up)
    first, *peers = runs.results.values()
    return runs, gate(first, [child for children in peers for child in children])


def ask(bench: Bench, prompt: str, tokens: int, *flags: str) -> Child:
    words = ("ask", prompt, "--max-tokens", str(tokens), *GREEDY, *flags)
    return run_child([bench.programs / "hermes", *words], bench.environment())


def gate(hermes: list[Child], peers: list[Child]) -> str:
    wrong = exit_fault(hermes) or text_fault(peers)
    return wrong or difference("text", peers[0].stdout + b"\n", [child.stdout for child in hermes])


def prompt_ids(bench: Bench, prompt: str, *flags: str) -> list[int]:
    child = run_child([bench.programs / "hermes", "tokens", "--json", prompt, *flags], bench.environment())
    if wrong := exit_fault([child]):
        raise RuntimeError(f"hermes tokens: {wrong}")
    return [token["id"] for token in json.loads(child.stdout)]
