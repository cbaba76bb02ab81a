"""The quality lost with fewer bits: a real text read with hermes' loading and decode step at each precision.

Takes one JSON object: model, threads, n_ctx, precisions (the first is the reference), text (a file of which
`tokens` ids are read), and report, the path for the result of each precision: the mean KL divergence of the
next token's distribution from the reference in nats, the share of equal first choices, and the text's
perplexity.
"""

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.ours.engines import plan
from hermes_cli.engines.tokenizer_json import read_vocabulary
from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.engines.transformers.loading import load_model


def main() -> None:
    """Read the text at each precision and write the comparison to the report."""
    ask = json.loads(sys.argv[1])
    text = Path(ask["text"]).read_text(encoding="utf-8")
    ids = read_vocabulary(Path(ask["model"])).chatml.encode_text(text)[: ask["tokens"]]
    first = _read(ask, ask["precisions"][0], ids)
    report: dict[str, Any] = {
        how: compared(first, first if how == ask["precisions"][0] else _read(ask, how, ids), ids)
        for how in ask["precisions"]
    }
    report["text"] = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "tokens": len(ids)}
    Path(ask["report"]).write_text(json.dumps(report), encoding="utf-8")


def _read(ask: dict[str, Any], precision: str, ids: list[int]) -> torch.Tensor:
    """Return the log probabilities after each id, (ids, vocabulary), one id at a time as in decoding."""
    model, device = load_model(plan({**ask, "precision": precision}))
    decoder = Decoder(model, device, ask["n_ctx"])
    return torch.stack([decoder.decode(token).log_softmax(-1) for token in ids])


def compared(reference: torch.Tensor, other: torch.Tensor, ids: list[int]) -> dict[str, float]:
    """Return the comparison of a reading with the reference: KL(reference ‖ other), agreement, perplexity."""
    divergence = (reference.exp() * (reference - other)).sum(-1).mean()
    same = (reference.argmax(-1) == other.argmax(-1)).float().mean()
    loss = functional.nll_loss(other[:-1], torch.tensor(ids[1:]))
    return {
        "kl": round(float(divergence), 6),
        "same first choice": round(float(same), 4),
        "perplexity": round(math.exp(float(loss)), 3),
    }


if __name__ == "__main__":
    main()
