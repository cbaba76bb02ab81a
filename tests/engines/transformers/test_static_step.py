"""Tests of the step that a GPU captures: it reads nothing from the host, for every kind of layer."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, MistralConfig, Qwen2Config

from hermes_cli.engines.transformers.cuda_graphs import StaticStep
from hermes_cli.engines.transformers.decode import Decoder, TokenGenerator
from hermes_cli.engines.transformers.kv_cache import new_cache
from hermes_cli.engines.transformers.sampling import History, Sampler, SamplingParams
from hermes_cli.options import GenerationOptions
from tests.engines.transformers.conftest import CPU
from tests.engines.transformers.test_cuda_graphs import FakeCapture

SHAPE: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
MIXED = ["sliding_attention", "full_attention"] * 2
CONFIGS = {
    "Llama": LlamaConfig(**SHAPE),
    "Mistral": MistralConfig(**SHAPE, sliding_window=24),
    "Qwen 2, mixed": Qwen2Config(**SHAPE, sliding_window=24, use_sliding_window=True, layer_types=MIXED),
    "Gemma 3, mixed": Gemma3TextConfig(**SHAPE, head_dim=16, sliding_window=24, layer_types=MIXED),
}
IDS = torch.randint(1, 320, (40,), generator=torch.Generator().manual_seed(1)).tolist()


def random_model(config: Any, device: str, dtype: torch.dtype = torch.float32) -> Any:
    """Return a small model of random weights; on the device `meta` it has shapes only."""
    torch.manual_seed(1)
    loader: Any = AutoModelForCausalLM
    with torch.device(device):
        return loader.from_config(config, dtype=dtype, attn_implementation="sdpa").eval()


class DeviceRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
    """Record the devices of all tensors in a computation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.devices: set[str] = set()
        self.count = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += 1
        self.devices |= {
            leaf.device.type for leaf in tree_leaves((args, kwargs, result)) if torch.is_tensor(leaf)
        }
        return result


SAMPLED = GenerationOptions(xtc_probability=0.5, repetition_penalty=1.2, repetition_range=64)


@pytest.mark.parametrize("options", [SAMPLED, GenerationOptions(temperature=0, top_k=0, repetition_range=0)])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_captured_step_reads_nothing_from_the_host(config: Any, options: GenerationOptions) -> None:
    """A captured step uses tensors of the device `meta` only, which has no values to read."""
    model = random_model(config, "meta", torch.bfloat16)
    cache = new_cache(config, 1024, preallocate=True)
    for layer in cache.layers:
        states = torch.empty((1, 2, 0, 16), device="meta", dtype=torch.bfloat16)
        layer.lazy_initialization(states, states)
    step = StaticStep(model, cache, 320, 1024)
    with DeviceRecorder() as recorder:
        step.run(512, SamplingParams.from_options(options))
    assert recorder.count > 100
    assert recorder.devices == {"meta"}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("counted", [0, 1, 8])
def test_captured_steps_give_the_ids_of_eager_steps(config: Any, counted: int) -> None:
    """The captured step gives the ids of one step at a time, also for models that mix kinds of attention."""
    model = random_model(config, "cpu", torch.float64)  # see test_cuda_graphs.py
    answers = []
    options = GenerationOptions(seed=3, temperature=2, repetition_penalty=2, repetition_range=counted)
    for capture in (None, FakeCapture()):
        decoder = Decoder(model, CPU, 128, capture)
        for _ in decoder.prefill(IDS[:-1]):
            pass
        history = History(IDS)
        ids = TokenGenerator(decoder, Sampler(options, CPU), history, 60)
        for _ in range(60):
            history.append(ids.next())
        assert ids.no_graphs_reason == ""
        answers.append(history.ids)
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 10
    assert capture is not None
    assert capture.replays >= 58
