"""peak-memory-transformers: peak memory of an answer of 256 tokens, weights in bfloat16.

Measured as in peak-memory, for `hermes ask -m FOLDER --precision bf16`. Peer: a bare loop over `model(...)`
with transformers' DynamicCache, and the same ids and number of tokens. Gate: the same text.
"""

from functools import partial
from pathlib import Path

from benchmarks.measure import MIB, Bench, interleave
from benchmarks.report import Line
from benchmarks.rows.ask_cold import ask, gate, prompt_ids
from benchmarks.rows.decode import CONTEXT, PROMPT
from benchmarks.rows.peak_memory import GOAL, peak_mib
from benchmarks.weights import folder

TOKENS = 256


def measure(bench: Bench) -> list[Line]:
    bench, model = bench.untimed, folder(bench)
    ids = prompt_ids(bench, PROMPT, "-m", model)
    flags = ("-m", model, "--precision", "bf16", "--device", "cpu", "--context", str(CONTEXT))
    settings = {"model": model, "threads": bench.threads, "precision": "bfloat16"}
    loop = "benchmarks.peers.torch_model:loop"
    sides = {
        "hermes": partial(ask, bench, PROMPT, TOKENS, *flags),
        "peer": partial(bench.call, loop, prompt=ids, tokens=TOKENS, **settings),
    }
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=False)
    wrong = gate(runs.results["hermes"], runs.results["peer"])
    size = sum(path.stat().st_size for path in Path(model).glob("*.safetensors")) / MIB
    what = "peak memory beside a bare transformers loop"
    return [runs.line(what, "MiB", peak_mib, goal=GOAL, wrong=wrong, weights=size)]
