"""Parses config.json into the dimensions of a model, and rejects models that hermes cannot run."""

from typing import Any, Final, NamedTuple

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.catalogue import DTYPES, WeightFormat
from hermes_cli.models.checkpoint.json_file import whole_number

MAX_LAYERS: Final = 1 << 12
MAX_WIDTH: Final = 1 << 20
MAX_TOKENS: Final = 1 << 32
ADVICE = "choose a chat model, such as openhermes-2 or the starter"
QUANTIZED_ADVICE = "choose its 16-bit weights, which hermes can quantize, or its GGUF"


class Quantization(NamedTuple):
    """The quantization of stored weights. `bits` is the number of bits per weight; `text` is for display."""

    format: WeightFormat
    bits: int
    text: str


class Config(NamedTuple):
    """The dimensions of a language model. A `context_length` of 0 and an empty `dtype` mean unknown.

    `kv_elements` is the number of KV cache elements per token, over all layers. A sliding window does not
    reduce it, because hermes keeps older entries so that a conversation can be rewound.
    """

    architecture: str
    layers: int
    kv_elements: int
    context_length: int
    sliding_window: int
    vocab_size: int
    hidden_size: int
    tied: bool
    has_experts: bool
    dtype: str
    quantization: Quantization | None


def parse(settings: dict[str, Any]) -> Config:
    """Parse the object in config.json.

    Raises ModelUnavailable if the model is not a decoder-only language model, if hermes does not support its
    quantization, or if the number of layers, the number of heads or the width is missing.
    """
    architecture = _architecture(settings)
    layers = whole_number(settings, "num_hidden_layers", "n_layer", "num_layers", limit=MAX_LAYERS)
    hidden = whole_number(settings, "hidden_size", "n_embd", limit=MAX_WIDTH)
    heads = whole_number(settings, "num_attention_heads", "n_head", limit=MAX_WIDTH)
    if not layers or not hidden or not heads:
        raise ModelUnavailable("its config.json does not give the number of layers and heads", ADVICE)
    kv_heads = whole_number(settings, "num_key_value_heads", "num_kv_heads", limit=MAX_WIDTH) or heads
    return Config(
        architecture=architecture,
        layers=layers,
        kv_elements=layers * kv_heads * sum(_head_widths(settings, hidden // heads)),
        context_length=whole_number(settings, "max_position_embeddings", "n_positions", limit=MAX_TOKENS),
        sliding_window=whole_number(settings, "sliding_window", limit=MAX_TOKENS),
        vocab_size=whole_number(settings, "vocab_size", limit=MAX_TOKENS),
        hidden_size=hidden,
        # The default depends on the architecture. Two separate matrices are the larger and safer estimate.
        tied=settings.get("tie_word_embeddings") is True,
        has_experts=whole_number(
            settings, "num_local_experts", "num_experts", "n_routed_experts", limit=MAX_WIDTH
        )
        > 1,
        dtype=_dtype(settings),
        quantization=_quantization(settings.get("quantization_config")),
    )


def _architecture(settings: dict[str, Any]) -> str:
    names = settings.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not isinstance(name, str):
        raise ModelUnavailable("its config.json names no architecture", ADVICE)
    quoted = repr(name[:60])
    if settings.get("is_encoder_decoder") is True:
        raise ModelUnavailable(f"it is an encoder-decoder model ({quoted}), not a chat model", ADVICE)
    if "vision_config" in settings or "audio_config" in settings:
        raise ModelUnavailable(
            f"it needs images or audio ({quoted}), and hermes runs only text models", ADVICE
        )
    if not name.endswith("ForCausalLM"):
        raise ModelUnavailable(
            f"its architecture is {quoted}, which does not generate text (hermes runs …ForCausalLM)", ADVICE
        )
    return name


def _head_widths(settings: dict[str, Any], default: int) -> tuple[int, int]:
    """Return the widths of a key head and a value head, which differ with latent attention."""
    key = whole_number(settings, "head_dim", limit=MAX_WIDTH) or default
    if "qk_nope_head_dim" in settings:
        parts = ("qk_nope_head_dim", "qk_rope_head_dim")
        key = sum(whole_number(settings, part, limit=MAX_WIDTH) for part in parts) or key
    return key, whole_number(settings, "v_head_dim", limit=MAX_WIDTH) or key


def _dtype(settings: dict[str, Any]) -> str:
    value = settings.get("dtype") or settings.get("torch_dtype")
    name = value.removeprefix("torch.") if isinstance(value, str) else ""
    return name if name in DTYPES else ""


def _quantization(config: Any) -> Quantization | None:
    if config is None or config == {}:
        return None
    method = config.get("quant_method") if isinstance(config, dict) else None
    if method in (WeightFormat.GPTQ, WeightFormat.AWQ):
        bits = whole_number(config, "bits", "w_bit", limit=33) or 4
        return Quantization(WeightFormat(method), bits, f"{bits}-bit {method.upper()}")
    if method == WeightFormat.COMPRESSED_TENSORS:
        bits = _compressed_bits(config)
        return Quantization(WeightFormat.COMPRESSED_TENSORS, bits, f"{bits}-bit compressed-tensors")
    if method in (WeightFormat.BITSANDBYTES, "bitsandbytes_4bit", "bitsandbytes_8bit"):
        return _bitsandbytes(config)
    raise ModelUnavailable(
        f"it was quantized by {str(method)[:60]!r}, which hermes does not support", QUANTIZED_ADVICE
    )


def _bitsandbytes(config: dict[str, Any]) -> Quantization:
    if config.get("load_in_4bit"):
        kind = config.get("bnb_4bit_quant_type", "fp4")  # the library's default
        if kind in ("nf4", "fp4"):
            return Quantization(WeightFormat.BITSANDBYTES, 4, f"4-bit {kind}")
    elif config.get("load_in_8bit"):
        return Quantization(WeightFormat.BITSANDBYTES, 8, "8-bit int8")
    raise ModelUnavailable("its bitsandbytes settings are neither 4-bit nor 8-bit", QUANTIZED_ADVICE)


def _compressed_bits(config: dict[str, Any]) -> int:
    """Return the bits per weight of the first group that specifies them, or 8."""
    groups = config.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict) and (bits := whole_number(weights, "num_bits", limit=33)):
            return bits
    return 8
