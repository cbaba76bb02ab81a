"""The models and the sides of the rows of a GPU: hermes' decode loop, and `generate`."""

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, MistralConfig

from benchmarks.hermes import GREEDY, plan
from benchmarks.peers.torch_model import generate
from hermes_cli.engines.transformers.cuda_graphs import Capture, cuda_capture
from hermes_cli.engines.transformers.decode import Decoder, TokenGenerator
from hermes_cli.engines.transformers.sampling import History, Sampler
from hermes_cli.models.plan.planner import Plan
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.prompts.chatml import IM_END, IM_START

SEVEN_B: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
    "sliding_window": 4096,
}
"""Source: config.json of mistralai/Mistral-7B-v0.1."""
SMALL: dict[str, Any] = {
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


@dataclass(frozen=True, slots=True)
class Decoded:
    """An answer: its ids, the seconds at which they arrived, and why hermes used no CUDA graphs, if so."""

    ids: list[int]
    times: list[float]
    no_graphs_reason: str = ""

    @property
    def speed(self) -> float:
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])

    @property
    def longest_s(self) -> float:
        return max(later - before for before, later in itertools.pairwise(self.times))


Side = Callable[[list[int], int], Decoded]
"""Generates greedily after a prompt, which is evaluated again."""


def hermes_side(model: Any, device: torch.device, limit: int, capture: Capture | None = None) -> Side:
    """Return hermes' Decoder and Sampler over a loaded model, used as in its engine."""
    decoder = Decoder(model, device, limit, capture or cuda_capture(device))

    def decode(prompt: list[int], tokens: int) -> Decoded:
        decoder.rewind(0)
        synchronize(device)
        began, times, history = time.perf_counter(), list[float](), History(prompt)
        for _ in decoder.prefill(prompt[:-1]):
            pass
        ids = TokenGenerator(decoder, Sampler(GREEDY, device), history, tokens)
        for _ in range(tokens):
            history.append(ids.next())
            times.append(time.perf_counter() - began)
        return Decoded(history.ids[len(prompt) :], times, ids.no_graphs_reason)

    return decode


def generate_side(model: Any, device: torch.device, **settings: Any) -> Side:
    """Return `model.generate`. The settings choose the cache, and thereby whether it compiles."""

    def decode(prompt: list[int], tokens: int) -> Decoded:
        synchronize(device)
        began, times = time.perf_counter(), list[float]()
        settings["min_new_tokens"] = tokens
        ids = generate(model, prompt, tokens, lambda _: times.append(time.perf_counter() - began), **settings)
        return Decoded(ids, times[1:])  # the first one is the prompt's

    return decode


def profile_table(task: Callable[[], object]) -> str:
    on_gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as seen:
        task()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table: str = seen.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=60)
    return table


def random_model(sizes: Mapping[str, float], device: torch.device, dtype: torch.dtype) -> Any:
    """Return a Mistral with random weights, which are never on another device."""
    make: Any = MistralConfig
    config = make(vocab_size=32_002, eos_token_id=None, bos_token_id=None, pad_token_id=0, **sizes)
    torch.manual_seed(20261123)
    loader: Any = AutoModelForCausalLM
    with torch.device(device):
        return loader.from_config(config, dtype=dtype, attn_implementation="sdpa").eval()


def save(model: Any, folder: Path) -> None:
    """Save the weights, and a tokenizer of the two ChatML tokens, without which hermes plans no model."""
    model.save_pretrained(str(folder), max_shard_size="1GB")
    added = [{"id": 32_000 + n, "content": token} for n, token in enumerate((IM_END, IM_START))]
    tokenizer = {"added_tokens": added, "model": {"type": "BPE", "vocab": {}, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def plan_for(folder: Path, device: torch.device, dtype: str, precision: str = "auto") -> Plan:
    """Return hermes' plan for a folder and a device, but with this dtype."""
    return replace(plan(folder, PlanRequest(precision=precision, device=str(device))), dtype=dtype)


def bytes_per_token(model: Any, context: int) -> int:
    """Return the bytes read per token: all weights but the input embedding, and the KV cache."""
    weights = sum(p.nbytes for p in model.parameters()) - model.get_input_embeddings().weight.nbytes
    config = model.config
    width = config.head_dim or config.hidden_size // config.num_attention_heads
    held = min(context, config.sliding_window or context)
    states = 2 * config.num_hidden_layers * config.num_key_value_heads * width * held
    return int(weights + states * torch.finfo(model.dtype).bits // 8)


def copy_bandwidth(device: torch.device) -> float:
    size, seconds = 1 << (22 if device.type == "cpu" else 30), []
    source, target = torch.zeros((2, size), dtype=torch.uint8, device=device)
    for _ in range(COPIES):
        synchronize(device)
        began = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size / min(seconds)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
