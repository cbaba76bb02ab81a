"""A bare transformers loop: `model(...)` with its DynamicCache, greedy. The peer of row C10.

The prompt's last id is evaluated alone, as in hermes: equal shapes round equally, so that the two texts are
the same even at near ties.

Takes one JSON object: the keys of `hf.load`, prompt (ids), and n_predict.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedTokenizerFast

from benchmarks.peers.hf import load

ask = json.loads(sys.argv[1])
model = load(ask)
make: Any = PreTrainedTokenizerFast
tokenizer = make(tokenizer_file=str(Path(ask["model"]) / "tokenizer.json"))
ids: list[int] = []
cache, new = DynamicCache(), torch.tensor([ask["prompt"][-1:]])
with torch.inference_mode():
    model(torch.tensor([ask["prompt"][:-1]]), past_key_values=cache, logits_to_keep=1)
    while len(ids) < ask["n_predict"]:
        logits = model(new, past_key_values=cache, logits_to_keep=1).logits
        ids.append(int(logits[0, -1].argmax()))
        new = torch.tensor([ids[-1:]])
sys.stdout.write(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
