"""The models of the transformers engine's rows, and the gate for their answers: the library's own model.

In one pass over the same ids, without a cache, every id that hermes chose is as likely as the likeliest one,
within NEAR_TIE. A comparison with `generate`'s ids would check nothing after the first near tie.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench

NEEDED = ("torch", "transformers", "accelerate", "bitsandbytes", "gguf", "mistral_common")
"""The packages that the engine and `tests/weights.py` import."""
Gaps = Sequence[Sequence[float]]
NEAR_TIE = {"float32": 0.001, "bfloat16": 0.25}
"""Nats: the difference in rounding between ids evaluated singly and together."""


def folder(bench: Bench, name: str = "starter") -> str:
    """Return the folder of a model in bfloat16, `starter` or `tiny mistral`, made in a child."""
    path: str = bench.call(make, name=name, gguf=str(bench.model)).value
    return path


def make(name: str, gguf: str) -> str:
    from tests.weights import starter_folder, tiny_mistral_folder

    return str(starter_folder(Path(gguf)) if name == "starter" else tiny_mistral_folder())


def score(bench: Bench, model: str, precision: str, answers: Sequence[dict[str, Any]]) -> Gaps:
    """Return the gaps of answers, each with prompt, ids and ended: see `peers/torch_model.py`."""
    settings = {"model": model, "precision": precision}
    gaps: Gaps = bench.run_model("benchmarks.peers.torch_model:score", answers=answers, **settings).value
    return gaps


def unlikely(gaps: Gaps, precision: str) -> str:
    """Return an error text if the library's own model would have chosen another id."""
    most = NEAR_TIE[precision]
    for answer, places in enumerate(gaps, 1):
        for place, gap in enumerate(places, 1):
            if not gap <= most:  # nan is not
                return f"answer {answer}, token {place}: {gap:.4f} nats less likely than the library's choice"
    return ""
