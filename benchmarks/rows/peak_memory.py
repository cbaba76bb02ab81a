"""peak-memory: peak memory of an answer of 512 tokens in a context of 2,048.

Measured: the largest resident size of the whole process, as the kernel reports it for a child that has ended;
it includes the weights, which are mapped from the file, and whose size is recorded. Peer and gate: see
`ask.py`.

peak-memory-transformers: the same for 256 tokens on the transformers engine, weights in bfloat16. Peer: a
bare loop over `model(...)` with transformers' DynamicCache, and the same ids.
"""

from functools import partial
from pathlib import Path

from benchmarks.ask import CONTEXT, LEAN, PROMPT, ask, gate, prompt_ids, run_sides
from benchmarks.measure import MIB, Bench, Child, interleave
from benchmarks.report import Goal, Line
from benchmarks.weights import folder

GOAL = Goal("≤", 1.1)
TOKENS, TORCH_TOKENS = 512, 256


def measure(bench: Bench) -> list[Line]:
    runs, wrong = run_sides(bench.untimed, PROMPT, TOKENS, CONTEXT, warm_up=False)
    what, size = "peak memory beside the bare engine", bench.model.stat().st_size / MIB
    return [
        runs.line(what, "MiB", _peak_mib, goal=GOAL, wrong=wrong, weights=size),
        runs.line(f"{what} with hermes' settings", "MiB", _peak_mib, LEAN, wrong=wrong),
    ]


def measure_transformers(bench: Bench) -> list[Line]:
    bench, model = bench.untimed, folder(bench)
    ids = prompt_ids(bench, PROMPT, "-m", model)
    flags = ("-m", model, "--precision", "bf16", "--device", "cpu", "--context", str(CONTEXT))
    loop = partial(bench.run_model, "benchmarks.peers.torch_model:loop", model=model, precision="bfloat16")
    sides = {
        "hermes": partial(ask, bench, PROMPT, TORCH_TOKENS, *flags),
        "peer": partial(loop, prompt=ids, tokens=TORCH_TOKENS),
    }
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=False)
    wrong = gate(runs.results["hermes"], runs.results["peer"])
    size = sum(path.stat().st_size for path in Path(model).glob("*.safetensors")) / MIB
    what = "peak memory beside a bare transformers loop"
    return [runs.line(what, "MiB", _peak_mib, goal=GOAL, wrong=wrong, weights=size)]


def _peak_mib(child: Child) -> float:
    return child.max_rss / MIB
