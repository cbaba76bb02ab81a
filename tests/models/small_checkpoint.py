"""Write small folders of Hugging Face weights with the `safetensors` package, the format's own writer.

The tensors have the names and the relative shapes of a Mistral and are filled with zeros.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

HIDDEN, MLP, LAYERS, KV, VOCABULARY = 32, 64, 2, 16, 48
CONFIG: dict[str, Any] = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "num_hidden_layers": LAYERS,
    "hidden_size": HIDDEN,
    "intermediate_size": MLP,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "sliding_window": 512,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
}
LINEAR = LAYERS * (2 * HIDDEN * HIDDEN + 2 * KV * HIDDEN + 3 * MLP * HIDDEN)
PARAMETERS = LINEAR + 2 * VOCABULARY * HIDDEN + (2 * LAYERS + 1) * HIDDEN
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": 1, "content": "<|im_start|>"}, {"id": 2, "content": "<|im_end|>"}],
    "model": {"vocab": {"a": 0}},
}
Shapes = Mapping[str, tuple[str, Sequence[int]]]


def shapes(dtype: str = "float16") -> dict[str, tuple[str, Sequence[int]]]:
    """Return the name, type and shape of every tensor of the small Mistral."""
    shape_of: dict[str, Sequence[int]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    for i in range(LAYERS):
        block = f"model.layers.{i}"
        shape_of |= {f"{block}.self_attn.{n}_proj.weight": (HIDDEN, HIDDEN) for n in "qo"}
        shape_of |= {f"{block}.self_attn.{n}_proj.weight": (KV, HIDDEN) for n in "kv"}
        shape_of |= {f"{block}.mlp.{n}_proj.weight": (MLP, HIDDEN) for n in ("gate", "up")}
        shape_of[f"{block}.mlp.down_proj.weight"] = (HIDDEN, MLP)
        shape_of |= {f"{block}.{n}_layernorm.weight": (HIDDEN,) for n in ("input", "post_attention")}
    return {name: (dtype, shape) for name, shape in shape_of.items()}


def safetensors_bytes(tensors: Shapes) -> bytes:
    """Return a safetensors file of zeros."""
    zeros = {name: np.zeros(tuple(shape), dtype) for name, (dtype, shape) in tensors.items()}
    return bytes(save(zeros, {"format": "pt"}))


def with_header(content: bytes, header: bytes) -> bytes:
    """Return a safetensors file with another header, its length included."""
    length = int.from_bytes(content[:8], "little")
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def in_bfloat16(content: bytes) -> bytes:
    """Return a file whose 16-bit floats are labelled bfloat16, a type that numpy does not have."""
    length = int.from_bytes(content[:8], "little")
    return with_header(content, content[8 : 8 + length].replace(b'"F16"', b'"BF16"'))


def checkpoint_files(
    *, shards: int = 1, tensors: Shapes | None = None, tokenizer: Any = TOKENIZER, **config: Any
) -> dict[str, bytes]:
    """Return the files of a complete folder by name; `config` changes keys of its config.json."""
    settings = {key: value for key, value in (CONFIG | config).items() if value is not ...}
    files = {"config.json": json.dumps(settings).encode(), "tokenizer.json": json.dumps(tokenizer).encode()}
    weights = dict(shapes() if tensors is None else tensors)
    if shards == 1:
        return files | {"model.safetensors": safetensors_bytes(weights)}
    weight_map: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {tensor: weights[tensor] for tensor in sorted(weights)[number::shards]}
        files[name] = safetensors_bytes(part)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": weight_map}
    return files | {"model.safetensors.index.json": json.dumps(index).encode()}


def write_checkpoint(folder: Path, files: Mapping[str, bytes] | None = None) -> Path:
    """Write the files of a checkpoint, by default a complete one, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (checkpoint_files() if files is None else files).items():
        (folder / name).write_bytes(content)
    return folder


def put_in_cache(cache: Path, repo: str, files: dict[str, bytes], commit: str = "c1") -> Path:
    """Lay files out as the Hugging Face cache does; return the snapshot's folder."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for sub in (folder / "blobs", folder / "refs", snapshot):
        sub.mkdir(parents=True, exist_ok=True)
    (folder / "refs/main").write_text(commit, encoding="utf-8")
    for name, content in files.items():
        blob = folder / "blobs" / f"blob-{abs(hash(content))}"
        blob.write_bytes(content)
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot
