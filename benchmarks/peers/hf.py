"""The transformers model of the peers: `from_pretrained` on the CPU, as in the library's documentation."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def load(ask: Mapping[str, Any]) -> Any:
    """Return the model. `ask` has the keys model, threads and precision, which is a torch dtype or `nf4`."""
    torch.set_num_threads(ask["threads"])
    loader: Any = AutoModelForCausalLM
    config: Any = BitsAndBytesConfig
    settings: dict[str, Any] = {"dtype": ask["precision"]}
    if ask["precision"] == "nf4":
        settings = {
            "dtype": torch.bfloat16,
            "quantization_config": config(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
            ),
        }
    return loader.from_pretrained(ask["model"], device_map={"": "cpu"}, **settings).eval()


def generate(model: Any, prompt: list[int], tokens: int, **settings: Any) -> Any:
    """Return the result of `model.generate`, greedily, for one prompt of ids."""
    ids = torch.tensor([prompt])
    return model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        **settings,
    )
