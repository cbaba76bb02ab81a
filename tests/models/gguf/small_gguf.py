"""Write small GGUF files with the `gguf` package, ggml's own writer: the reference for our reader."""

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

TOKENS = [
    "<unk>",
    "a",
    "b",
    "ab",
    "  ",
    "<|im_start|>",
    "<|im_end|>",
    "<tool_call>",
    "[INST]",
    "<|endoftext|>",
]
TYPES = [2, 1, 1, 1, 4, 4, 3, 4, 4, 3]


def write_small(
    path: Path,
    *,
    title: str = "Small",
    tokens: Sequence[str] = TOKENS,
    types: Sequence[int] = TYPES,
    width: int = 32,
    heads_kv: int | list[int] = 2,
    context: int = 1024,
    blocks: int = 2,
    file_type: int | None = 3,
    template: str = "{{ messages }}",
    licence: str = "",
) -> None:
    """Write a llama model with `blocks` layers whose only weights are two width x width matrices."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(title)
    if licence:
        writer.add_license(licence)
    writer.add_context_length(context)
    writer.add_block_count(blocks)
    writer.add_embedding_length(width)
    writer.add_head_count(4)
    writer.add_head_count_kv(heads_kv)
    if file_type is not None:
        writer.add_file_type(file_type)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(list(tokens))
    writer.add_token_types(list(types))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(6)
    if template:
        writer.add_chat_template(template)
    rng = np.random.default_rng(0)
    writer.add_tensor("token_embd.weight", rng.random((width, width), dtype=np.float32))
    half = rng.random((width, width), dtype=np.float32).astype(np.float16)
    writer.add_tensor(f"blk.{blocks - 1}.attn_q.weight", half)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
