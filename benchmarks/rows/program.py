"""`hermes ask` as a whole process beside ten lines of xllamacpp: the shared code of C9 and C10."""

import json
import sys
from pathlib import Path

from benchmarks.measure import Bench, Child, Turns, ended_well, run_child, same, turns_about
from benchmarks.rows.c1 import PEERS

GREEDY = ("--temperature", "0", "--repetition-penalty", "1", "--loop-guard", "0")
"""The peers' defaults. 512 tokens of a toy model may well be a loop, which hermes would stop."""
MODEL_CONTEXT = 0
UNHURRIED = {"OMP_WAIT_POLICY": "passive"}
HERMES_PARAMS = {"warmup": False, "fit_params": False, "n_batch": 128, "n_ubatch": 128, "cache_ram_mib": 0}
"""hermes' settings for speed and size; the lean peer has them, too, and so shows hermes' own overhead."""


def compare(
    bench: Bench, prompt: str, tokens: int, *, context: int | None = None, timed: bool = True
) -> tuple[Turns[Child], str]:
    """Run all three in alternation; return their results and an error text, which is empty if there is none.

    If not `timed`, no repeat waits for a quiet machine and no thread spins.
    """
    hermes, environment = bench.programs / "hermes", bench.environment(**({} if timed else UNHURRIED))
    size = ("--context", str(context)) if context else ()
    ours: list[str | Path] = [hermes, "ask", prompt, "--max-tokens", str(tokens), *GREEDY, *size]
    ids = prompt_ids(bench, prompt)
    ask = {
        "model": str(bench.model),
        "threads": bench.threads,
        "n_ctx": context or MODEL_CONTEXT,
        "request": {"prompt": ids, "n_predict": tokens},
    }
    theirs: list[str | Path] = [sys.executable, PEERS / "bare.py", json.dumps(ask)]
    lean: list[str | Path] = [sys.executable, PEERS / "bare.py", json.dumps({**ask, "params": HERMES_PARAMS})]
    sides = {
        "hermes": lambda: run_child(ours, environment),
        "peer": lambda: run_child(theirs, environment),
        "lean peer": lambda: run_child(lean, environment),
    }
    patience_s = bench.patience_s if timed else 0
    turns = turns_about(sides, bench.repeats, warm_up=timed, patience_s=patience_s)
    return turns, gate(turns)


def gate(turns: Turns[Child]) -> str:
    """Return an error text if hermes' text is not the peer's text and one newline."""
    wrong = ended_well(child for given in turns.results.values() for child in given)
    expected = turns.results["peer"][0].stdout
    others = [c.stdout for side, given in turns.results.items() if side != "hermes" for c in given]
    wrong = wrong or same("text of the peer", expected, others)
    return wrong or same("text", expected + b"\n", [c.stdout for c in turns.results["hermes"]])


def prompt_ids(bench: Bench, prompt: str, *flags: str) -> list[int]:
    """Return the ids that `hermes ask` sends for the prompt, with the same flags."""
    child = run_child([bench.programs / "hermes", "tokens", "--json", prompt, *flags], bench.environment())
    if wrong := ended_well([child]):
        raise RuntimeError(f"hermes tokens: {wrong}")
    return [token["id"] for token in json.loads(child.stdout)]
