"""Small real models as folders of Hugging Face weights, made once per checkout.

The starter's come from its own GGUF: dequantized by the `gguf` package, with the rows of the query and key
matrices in the order in which Hugging Face's Llama rotates them (source: `LlamaModel.permute` in llama.cpp's
convert_hf_to_gguf.py). The tiny Mistral has OpenHermes 2's vocabulary and random weights.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from hermes_cli.models.gguf.header import walk
from hermes_cli.models.gguf.model import GgufHeader, read_header
from tests.vocab import mistral_tokenizer_json, starter_tokenizer_json

CACHE = Path(__file__).parents[1] / ".cache" / "weights"
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
SMALL_WINDOW = 64
"""The sliding window of the tiny Mistral, in tokens."""


def starter_folder(gguf: Path) -> Path:
    """Return the starter as a folder in bfloat16, and make it if it does not exist."""
    return _made("starter-bf16", lambda folder: _convert(gguf, folder))


def tiny_mistral_folder() -> Path:
    """Return a Mistral of 0.6 million parameters without its embeddings, 32,002 tokens and a small window."""
    return _made("tiny-mistral", _invent)


def _made(name: str, make: Any) -> Path:
    """Make a folder completely or not at all: a test run that is stopped leaves no unfinished one."""
    pytest.importorskip("torch")
    folder = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{name}.lock"):
        if not (folder / "config.json").is_file():
            building = CACHE / f"{name}.building"
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            make(building)
            building.rename(folder)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    header = read_header(gguf)
    heads = header.head_count
    kv_heads: Any = header.metadata["llama.attention.head_count_kv"]
    tensors = {}
    for name, array in _dequantized(header):
        matrix, parts = array, name.split(".")
        if parts[-1] in ("attn_q", "attn_k"):
            matrix = _unpermuted(array, heads if parts[-1] == "attn_q" else kv_heads)
        prefix = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
        tensors[f"{prefix}{NAMES[parts[-1]]}.weight"] = torch.from_numpy(matrix.copy()).bfloat16()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "tokenizer.json").write_text(starter_tokenizer_json(gguf), encoding="utf-8")
    _write(folder / "generation_config.json", {"eos_token_id": header.control_tokens["<|im_end|>"]})
    _write(folder / "config.json", _llama_config(header, heads, kv_heads))


def _dequantized(header: GgufHeader) -> Iterator[tuple[str, Any]]:
    """Yield each tensor's name and its numbers in float32, slowest dimension first."""
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    data = np.memmap(header.path, mode="r")
    start = walk(header.path.read_bytes()).data_start
    for tensor in header.tensors:
        raw = data[start + tensor.offset : start + tensor.offset + tensor.size]
        rows = raw.reshape((*tensor.shape[:0:-1], -1))
        numbers = dequantize(rows, GGMLQuantizationType(tensor.type_id))
        yield tensor.name.removesuffix(".weight"), numbers.reshape(tensor.shape[::-1])


def _unpermuted(array: Any, heads: int) -> Any:
    width = array.shape[0] // heads
    return array.reshape(heads, width // 2, 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)


def _llama_config(header: GgufHeader, heads: int, kv_heads: int) -> dict[str, Any]:
    data = {key.removeprefix("llama."): value for key, value in header.metadata.items()}
    end = header.control_tokens["<|im_end|>"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(header.tokens),
        "hidden_size": data["embedding_length"],
        "intermediate_size": data["feed_forward_length"],
        "num_hidden_layers": data["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": data["context_length"],
        "rms_norm_eps": data["attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_type": "default", "rope_theta": data["rope.freq_base"]},
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
        "eos_token_id": end,
    }


def _invent(folder: Path) -> None:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(20261123)
    model: Any = MistralForCausalLM
    config: Any = MistralConfig
    shape = config(
        vocab_size=32_002,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,  # 32 rows of 8: bitsandbytes' CPU kernels take multiples of 32
        max_position_embeddings=1024,
        sliding_window=SMALL_WINDOW,
        initializer_range=0.2,  # wide enough that the logits differ: a flat model proves nothing
        eos_token_id=32_000,
    )
    model(shape).bfloat16().save_pretrained(folder)
    (folder / "tokenizer.json").write_text(mistral_tokenizer_json(), encoding="utf-8")


def _write(path: Path, table: dict[str, Any]) -> None:
    path.write_text(json.dumps(table, indent=2), encoding="utf-8")
