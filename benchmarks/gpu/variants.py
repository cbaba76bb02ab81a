"""Variants of hermes' decode loop, each beside the loop itself: `python -m benchmarks.gpu --variants`.

gpu-compile: parts of a step, or whole decoder layers, compiled by `torch.compile`.
gpu-attention: the attention of a captured step by each backend of torch, and by matrix products. Packed by
groups, one query has one block for each key head, which leaves most of a GPU idle.
gpu-nf4: NF4 whose scales are not quantized again, beside NF4 with double quantization.

A variant changes the model only while it decodes. On a CPU, a step is recorded as a function call, and
nothing is fused. Gate: on a small model in float32, the ids are those of the loop. A kernel for 16 bits only
is checked by hermes' own comparison of a captured step with an ordinary one, in bfloat16.
"""

import copy
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from benchmarks.gpu.rows import GATE_TOKENS, Run, alternate, prompt_ids, unsteady, without_graphs
from benchmarks.gpu.sides import SEVEN_B, SMALL, Decoded, Side, hermes_side, random_model
from benchmarks.measure import difference
from benchmarks.report import Line
from hermes_cli.engines.transformers.attention import packed_sdpa
from hermes_cli.engines.transformers.cuda_graphs import Replay, cuda_capture
from hermes_cli.engines.transformers.kv_cache import StaticLayer
from hermes_cli.engines.transformers.torch_errors import free_memory
from hermes_cli.errors import first_line

Variant = Callable[[Any], AbstractContextManager[None]]
"""Changes a model inside a `with` statement."""
Attend = Callable[..., torch.Tensor]
"""Attention of (1, key heads, rows, width) over keys and values, with a mask (1, 1, 1, keys) and a scale."""


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    backend = "inductor" if torch.cuda.is_available() else "aot_eager"  # the dry run needs no C++ compiler
    return torch.compile(function, fullgraph=True, dynamic=False, backend=backend)


def _compiled_for_one_token(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        states = next(one for one in arguments if isinstance(one, torch.Tensor))
        return (_compiled(function) if states.shape[-2] == 1 else function)(*arguments)

    return call


@contextmanager
def compiled_parts(model: Any) -> Iterator[None]:
    layer = model.get_decoder().layers[0]
    norm, mlp, module = type(layer.input_layernorm), type(layer.mlp), sys.modules[type(layer).__module__]
    rotary: Any = vars(module)["apply_rotary_pos_emb"]
    with (
        patch.object(norm, "forward", _compiled_for_one_token(norm.forward)),
        patch.object(mlp, "forward", _compiled_for_one_token(mlp.forward)),
        patch.object(module, "apply_rotary_pos_emb", _compiled_for_one_token(rotary)),
    ):
        yield


@contextmanager
def compiled_layers(model: Any) -> Iterator[None]:
    """Compile the layers of captured steps, once for all: each gets a cache in which it is the only layer."""
    layers = list(model.get_decoder().layers)
    numbers, kind = {layer: number for number, layer in enumerate(layers)}, type(layers[0])
    forward = kind.forward

    def call(layer: Any, states: torch.Tensor, **settings: Any) -> Any:
        own = settings["past_key_values"].layers[numbers[layer]]
        settings["past_key_values"] = Cache(layers=[own])
        return (_compiled(forward) if isinstance(own, StaticLayer) else forward)(layer, states, **settings)

    # In a compiled step, transformers' sdpa copies keys and values for each query head.
    with attention(_sdpa)(model), patch.object(kind, "forward", call):
        for layer in layers:
            layer.self_attn.layer_idx = 0
        try:
            yield
        finally:
            for layer, number in numbers.items():
                layer.self_attn.layer_idx = number


def attention(attend: Attend) -> Variant:
    """Return the variant that computes the attention of captured steps with `attend`, packed by groups."""

    def forward(  # noqa: PLR0917 - called by transformers
        module: Any,
        query: torch.Tensor,
        key: Any,
        value: Any,
        mask: Any,
        scaling: Any = None,
        **settings: Any,
    ) -> tuple[torch.Tensor, None]:
        if mask is None or query.shape[2] > 1:
            return packed_sdpa(module, query, key, value, mask, scaling=scaling, **settings)
        packed = query.reshape(1, key.shape[1], -1, query.shape[-1])
        return attend(packed, key, value, mask, scaling).reshape(1, 1, query.shape[1], -1), None

    @contextmanager
    def changed(model: Any) -> Iterator[None]:
        name = model.config._attn_implementation  # noqa: SLF001 - there is no public name
        ALL_ATTENTION_FUNCTIONS[name] = forward  # in front of the registered function
        try:
            yield
        finally:
            del ALL_ATTENTION_FUNCTIONS[name]

    return changed


def _sdpa(query: Any, key: Any, value: Any, mask: Any, scale: float) -> torch.Tensor:
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def _with_backend(backend: SDPBackend, *arguments: Any) -> torch.Tensor:
    with sdpa_kernel(backend):
        return _sdpa(*arguments)


def _matrix_products(query: Any, key: Any, value: Any, mask: Any, scale: float) -> torch.Tensor:
    scores = (query @ key.mT).float() * scale
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).to(value.dtype)
    return weights @ value  # type: ignore[no-any-return]


def _flash_by_length(query: Any, key: Any, value: Any, mask: Any, scale: float) -> torch.Tensor:
    """Flash attention takes no mask, but the number of keys; it splits them over the GPU."""
    from torch.nn.attention.varlen import varlen_attn  # torch 2.10

    span, bounds = key.shape[2], partial(torch.arange, device=key.device, dtype=torch.int32)
    key, value = key[0].transpose(0, 1), value[0].transpose(0, 1)
    used = mask.sum(-1, dtype=torch.int32).flatten()  # right before the sliding window is full
    heads = query.reshape(1, -1, query.shape[-1])
    settings: dict[str, Any] = {"scale": scale, "enable_gqa": True, "seqused_k": used}
    ends = bounds(0, 2), bounds(0, 2 * span, span)
    return varlen_attn(heads, key, value, *ends, 1, span, **settings)  # type: ignore[return-value]


def _quantize_in_place(model: Any) -> None:
    """Replace the linear layers with NF4 ones, with double quantization, without a file of weights."""
    bnb: Any = import_module("bitsandbytes.nn")  # not typed

    for module in list(model.get_decoder().modules()):
        for name, linear in list(module.named_children()):
            if type(linear) is torch.nn.Linear:
                settings: dict[str, Any] = {"compress_statistics": True, "quant_type": "nf4"}
                sizes, weight = (linear.in_features, linear.out_features), linear.weight.data
                layer = bnb.Linear4bit(
                    *sizes, bias=False, compute_dtype=model.dtype, device="meta", **settings
                )
                layer.weight = bnb.Params4bit(weight, requires_grad=False, **settings).to(weight.device)
                setattr(module, name, layer.eval())


@contextmanager
def single_quantization(model: Any) -> Iterator[None]:
    """Use scales in float32 that equal the quantized ones."""
    states = _single_states(model)
    nested = [weight.quant_state for weight, _ in states]
    try:
        for weight, single in states:
            weight.quant_state = single
        yield
    finally:
        for (weight, _), state in zip(states, nested, strict=True):
            weight.quant_state = state


@cache  # a captured step keeps using the scales
def _single_states(model: Any) -> list[tuple[Any, Any]]:
    from bitsandbytes.functional import dequantize_blockwise

    states = []
    for weight in (one for one in model.parameters() if hasattr(one, "quant_state")):
        if not weight.quant_state.nested:
            raise ValueError("bitsandbytes has packed the weights for this CPU, without double quantization")
        single = copy.copy(weight.quant_state)
        single.absmax = (dequantize_blockwise(single.absmax, single.state2) + single.offset).float()
        single.nested, single.state2, single.offset = False, None, None
        states.append((weight, single))
    return states


GATE_PROMPT = prompt_ids(24)
WRONG_LOGITS = "logits differ"
"""A part of hermes' reason if a captured step has other logits than an ordinary one."""
COMPILED: Mapping[str, Variant] = {
    "RMSNorm, MLP and rotary compiled": compiled_parts,
    "whole layers compiled": compiled_layers,
}
BACKENDS = {
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
ATTENTION: Mapping[str, Variant] = {
    **{f"sdpa by {name}": attention(partial(_with_backend, one)) for name, one in BACKENDS.items()},
    "matrix products": attention(_matrix_products),
    "flash by length": attention(_flash_by_length),
}
NF4: Mapping[str, Variant] = {"without double quantization": single_quantization}


def measure(run: Run) -> list[Line]:
    model = random_model(SMALL if run.device.type == "cpu" else SEVEN_B, run.device, torch.bfloat16)
    small = [random_model(SMALL, run.device, dtype) for dtype in (torch.float32, torch.bfloat16)]
    rows = {"gpu-compile": COMPILED, "gpu-attention": ATTENTION}
    try:
        lines = _lines(run, model, small, rows, "bf16")
        for one in (model, *small):
            _quantize_in_place(one)
        free_memory(run.device)
        return [*lines, *_lines(run, model, small, {"gpu-nf4": NF4}, "NF4")]
    finally:
        _compiled.cache_clear()
        _single_states.cache_clear()
        torch.compiler.reset()


def _lines(
    run: Run, model: Any, small: list[Any], rows: Mapping[str, Mapping[str, Variant]], precision: str
) -> list[Line]:
    variants = {name: variant for row in rows.values() for name, variant in row.items()}
    expected = _side(small[0], run.device, 256, nullcontext)(GATE_PROMPT, GATE_TOKENS).ids
    gates = {name: _gate(run, small, variant, expected) for name, variant in variants.items()}
    limit, lines = max(run.contexts) + run.tokens, list[Line]()
    sides = {name: _side(model, run.device, limit, variant) for name, variant in variants.items()}
    sides = {"hermes": _side(model, run.device, limit, nullcontext), **sides}
    for context in run.contexts:
        prompt = prompt_ids(context)
        skipped = {
            name: gates[name].skipped or _attempt(sides[name], prompt, run.tokens)[1] for name in variants
        }
        runs = alternate(run, prompt, {name: one for name, one in sides.items() if not skipped.get(name)})
        for row, name in ((row, name) for row, names in rows.items() for name in names):
            gate, reason = gates[name], skipped[name]
            how = f"{precision}, after {context:,} tokens{without_graphs(runs)}"
            what = f"decode, {how}, {name}{gate.measure}"
            line = replace(gate, measure=what, skipped=reason)
            if not reason:
                wrong, names = gate.wrong or unsteady(runs), (name, "hermes")
                line = runs.line(f"{what}, beside the loop", "tok/s", lambda d: d.speed, names, wrong=wrong)
                line = replace(line, skipped=runs.results[name][-1].no_graphs_reason)
            lines.append(replace(line, row=row))
    return lines


def _gate(run: Run, small: list[Any], variant: Variant, expected: list[int]) -> Line:
    """Return a line with the result of the gate, and a note on it as its measure."""
    full, half = (_side(model, run.device, 256, variant) for model in small)
    decoded, refused = _attempt(full, GATE_PROMPT, GATE_TOKENS)
    wrong = refused if WRONG_LOGITS in refused else ""
    if refused and not wrong:
        _, reason = _attempt(half, GATE_PROMPT, 8)
        if WRONG_LOGITS not in reason:
            return Line("" if reason else " (not in float32: ids not compared)", "", 0, 0, skipped=reason)
        wrong = reason
    return Line("", "", 0, 0, wrong=wrong or difference("list of ids", expected, [decoded]))


def _side(model: Any, device: torch.device, limit: int, variant: Variant) -> Side:
    record = cuda_capture(device) or (lambda step: step)

    def capture(step: Callable[[], None]) -> Replay:
        step()  # compiles, which may wait for the GPU; a capture must not
        return record(step)

    decode = hermes_side(model, device, limit, capture)

    def side(prompt: list[int], tokens: int) -> Decoded:
        with warnings.catch_warnings(), variant(model):
            warnings.simplefilter("ignore")  # torch warns about each backend that it cannot use
            return decode(prompt, tokens)

    return side


def _attempt(side: Side, prompt: list[int], tokens: int) -> tuple[list[int], str]:
    """Return the ids, and the reason why this torch or GPU cannot record the steps, or ""."""
    try:
        decoded = side(prompt, tokens)
    except Exception as error:  # noqa: BLE001 - the other variants are still measured
        return [], first_line(error)
    return decoded.ids, decoded.no_graphs_reason
