"""The likelihood of given answers under the library's own model: the gate of rows C2, C3 and C4.

It is one forward pass over a prompt and its answer, without a cache and without code of hermes. Takes one
JSON object: the keys of `hf.load`, `requests`, a file with a list of prompt (ids), ids (of the answer) and
ended (whether the end of the turn was generated after them), and `report`, the path for a list of gaps per
request. A gap is how many nats an id is less likely than the likeliest one at its position; 0 is the greedy
choice.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.hf import load


def main() -> None:
    """Evaluate every answer and write its gaps to the report."""
    ask = json.loads(sys.argv[1])
    model = load(ask)
    requests = json.loads(Path(ask["requests"]).read_text(encoding="utf-8"))
    Path(ask["report"]).write_text(json.dumps([gaps(model, one) for one in requests]), encoding="utf-8")


@torch.inference_mode()
def gaps(model: Any, request: dict[str, Any]) -> list[float]:
    """Return the gaps of one answer in nats: one per id, and one for the end if it ended."""
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
