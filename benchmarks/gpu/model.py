"""A Mistral 7B with random weights, made on the device, and small models for gates and dry runs."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, MistralConfig

from hermes_cli.models.plan import Plan

SEVEN_B = {
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
    "sliding_window": 4096,
}
"""Source: config.json of mistralai/Mistral-7B-v0.1."""
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "sliding_window": 64,
    "initializer_range": 0.2,  # so wide that the logits differ; equal ones prove nothing
}
COPIES = 10


def random_model(sizes: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Any:
    """Return a Mistral of these sizes, whose weights are never on another device."""
    make: Any = MistralConfig
    config = make(vocab_size=32_002, eos_token_id=None, bos_token_id=None, pad_token_id=0, **sizes)
    torch.manual_seed(20261123)
    loader: Any = AutoModelForCausalLM
    with torch.device(device):
        return loader.from_config(config, dtype=dtype, attn_implementation="sdpa").eval()


def save(model: Any, folder: Path) -> None:
    """Write the weights, a shard at a time, since each shard moves through the CPU's memory."""
    model.save_pretrained(str(folder), max_shard_size="1GB")


def plan_for(folder: Path, device: torch.device, dtype: str, quantization: str = "") -> Plan:
    """Return a plan that makes hermes load a folder with exactly these settings."""
    return Plan(
        model=folder.name,
        engine="transformers",
        path=folder,
        precision=quantization or dtype,
        device=str(device),
        context_size=SEVEN_B["sliding_window"],
        threads=torch.get_num_threads(),
        weight_bytes=0,
        kv_bytes=0,
        headroom_bytes=0,
        memory_available=0,
        reason="a benchmark",
        devices=(str(device),),
        dtype=dtype,
        quantisation=quantization,
    )


def bytes_per_token(model: Any, context: int) -> int:
    """Return the bytes read per token: all weights but the input embedding, and the KV cache."""
    weights = sum(p.nbytes for p in model.parameters()) - model.get_input_embeddings().weight.nbytes
    config = model.config
    width = config.head_dim or config.hidden_size // config.num_attention_heads
    held = min(context, config.sliding_window or context)
    states = 2 * config.num_hidden_layers * config.num_key_value_heads * width * held
    return int(weights + states * torch.finfo(model.dtype).bits // 8)


def copy_bandwidth(device: torch.device, size: int) -> float:
    """Return the bytes read and written per second while `size` bytes are copied, in the best round."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(COPIES):
        synchronize(device)
        began = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size / min(seconds)


def synchronize(device: torch.device) -> None:
    """Wait until the GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
