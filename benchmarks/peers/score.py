"""How likely the library's own model finds given answers: the gate of rows C2, C3 and C4.

One forward pass over a prompt and its answer, with no cache and nothing of hermes in it. Takes one JSON
object: what `hf.load` takes, `requests`, a file with a list of prompt (ids), ids (the answer's) and ended
(whether the end of the turn was said behind them), and `report`, a path that gets a list of gaps a request.
A gap is how many nats an id is less likely than the likeliest one at its place; 0 is the greedy choice.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.hf import load


def main() -> None:
    """Read every answer and write its gaps down."""
    ask = json.loads(sys.argv[1])
    model = load(ask)
    requests = json.loads(Path(ask["requests"]).read_text(encoding="utf-8"))
    Path(ask["report"]).write_text(json.dumps([gaps(model, one) for one in requests]), encoding="utf-8")


@torch.inference_mode()
def gaps(model: Any, request: dict[str, Any]) -> list[float]:
    """Return the gaps of one answer: nats, one an id, and one for its end where it ended."""
    said = [*request["ids"], *([model.generation_config.eos_token_id] if request["ended"] else [])]
    if not said:
        return []
    whole = torch.tensor([[*request["prompt"], *said]])
    logits = model(whole, use_cache=False, logits_to_keep=len(said) + 1).logits[0, :-1].float()
    chosen = logits[torch.arange(len(said)), torch.tensor(said)]
    found: list[float] = (logits.amax(-1) - chosen).tolist()
    return found


if __name__ == "__main__":
    main()
