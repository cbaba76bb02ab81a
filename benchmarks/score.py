"""The gate for answers of the transformers engine: the library's own model.

In one pass over the same ids, without a cache, every id that hermes chose is as likely as the likeliest one,
within NEAR_TIE. That checks every token of an answer, whereas a comparison with `generate`'s ids is
meaningless after the first near tie that fell the other way.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import Bench

Gaps = Sequence[Sequence[float]]
NEAR_TIE = {"float32": 0.001, "bfloat16": 0.25}
"""Nats: the difference in rounding between ids evaluated singly and together. bfloat16 has eight binary
digits, so a logit of 16 to 32 is a multiple of 0.125."""


def score(bench: Bench, model: str, precision: str, answers: Sequence[dict[str, Any]]) -> Gaps:
    """Return the gaps of answers, each with prompt, ids and ended: see `peers/torch_model.py`."""
    settings = {"model": model, "threads": bench.threads, "precision": precision}
    gaps: Gaps = bench.call("benchmarks.peers.torch_model:score", answers=answers, **settings).value
    return gaps


def unlikely(gaps: Gaps, precision: str) -> str:
    """Return an error text if the library's own model would have chosen another id."""
    for answer, places in enumerate(gaps, 1):
        for place, gap in enumerate(places, 1):
            if not gap <= NEAR_TIE[precision]:  # nan is not
                return (
                    f"answer {answer}, token {place}: {gap:.4f} nats less likely than the library's choice, "
                    f"not {NEAR_TIE[precision]} or less"
                )
    return ""


def widest(gaps: Gaps) -> float:
    """Return the largest gap."""
    return max((gap for places in gaps for gap in places), default=0.0)
