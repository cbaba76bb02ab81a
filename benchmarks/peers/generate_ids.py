"""`model.generate` for a list of prompts, nothing reused: the gate of row C3, a peer of row C4.

Takes one JSON object: what `hf.load` takes, `requests`, a file with a list of prompts (ids) and n_predict,
and `report`, a path that gets one record each, as `ids.py` writes it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.hf import generate, load

LIKELY = 8


def main() -> None:
    """Answer every prompt and write the ids down."""
    ask = json.loads(sys.argv[1])
    model = load(ask)
    requests = json.loads(Path(ask["requests"]).read_text(encoding="utf-8"))
    records = [_answer(model, request) for request in requests]
    Path(ask["report"]).write_text(json.dumps(records), encoding="utf-8")


def _answer(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    made = generate(
        model, request["prompt"], request["n_predict"], output_logits=True, return_dict_in_generate=True
    )
    seconds = time.perf_counter() - began
    return {
        "ids": made.sequences[0, len(request["prompt"]) :].tolist(),
        "prefilled": len(request["prompt"]),
        "seconds": seconds,
        "likely": [_likely(logits[0]) for logits in made.logits],
    }


def _likely(logits: torch.Tensor) -> dict[int, float]:
    top = logits.float().log_softmax(-1).topk(LIKELY)
    return dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))


if __name__ == "__main__":
    main()
