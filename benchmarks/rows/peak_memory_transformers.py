"""peak-memory-transformers: peak memory of an answer of 256 tokens, weights in bfloat16.

Measured as in peak-memory, for `hermes ask -m FOLDER --precision bf16`. Peer: a bare loop over `model(...)`
with transformers' DynamicCache, and the same ids and number of tokens. Gate: the same text.
"""

from functools import partial
from pathlib import Path

from benchmarks.measure import Bench, interleave
from benchmarks.process import run_child
from benchmarks.report import Line
from benchmarks.rows.ask_cold import GREEDY, gate, prompt_ids
from benchmarks.rows.decode import CONTEXT, PROMPT
from benchmarks.rows.peak_memory import GOAL, over_weights, peak_mib
from benchmarks.weights import folder

TOKENS = 256


def measure(bench: Bench) -> list[Line]:
    """Measure the row and return its line."""
    bench = bench.untimed
    model = folder(bench)
    ids = prompt_ids(bench, PROMPT, "-m", model)
    how = (*GREEDY, "--precision", "bf16", "--device", "cpu", "--context", str(CONTEXT), "-m", model)
    command = [bench.programs / "hermes", "ask", PROMPT, "--max-tokens", str(TOKENS), *how]
    settings = {"model": model, "threads": bench.threads, "precision": "bfloat16"}
    loop = "benchmarks.peers.torch_model:loop"
    sides = {
        "hermes": partial(run_child, command, bench.environment()),
        "peer": partial(bench.call, loop, prompt=ids, tokens=TOKENS, **settings),
    }
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=False)
    wrong = gate(runs.results["hermes"], runs.results["peer"])
    detail = over_weights(runs, sum(path.stat().st_size for path in Path(model).glob("*.safetensors")))
    what = "peak memory beside a bare transformers loop"
    return [runs.line(what, "MiB", peak_mib, goal=GOAL, wrong=wrong, **detail)]
