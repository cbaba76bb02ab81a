"""Tiny models of random weights, one for each architecture, as a folder of weights and as a GGUF.

The GGUF holds the same weights, vocabulary and chat template as the folder, so both engines have to give the
same answers. The names of its tensors come from the `gguf` package; the changes to their values are those of
llama.cpp's convert_hf_to_gguf.py.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from hermes_cli.engines.tokenizer_json import read_vocabulary
from hermes_cli.messages import Message, Role
from tests.gguf_models import chain_matrices
from tests.gguf_vocabulary import add_vocabulary
from tests.prompts.chat_templates import FAMILIES, QWEN_3, Family, tokenizer_json_of

WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_WIDTH = 64, 96, 2, 4, 2, 16
EXPERTS, USED_EXPERTS = 4, 2
CONTEXT = 4096
LATENT, NOPE, ROPE = 32, 16, 8
"""Widths in DeepSeek's attention: the latent, and the parts of a key without and with a rotation."""
THETA = 10_000.0
YARN: Mapping[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": THETA,
    "factor": 4.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": True,
    "original_max_position_embeddings": 1024,
}
"""gpt-oss itself does not round the range of dimensions, but llama.cpp always does."""
BASE: Mapping[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
    "rms_norm_eps": 1e-5,
}

Tensors = dict[str, Any]
"""numpy arrays by name."""


@dataclass(frozen=True)
class Architecture:
    """A transformers class and a llama.cpp architecture, with the vocabulary and template of a family.

    `config` changes BASE, `metadata` adds keys to the GGUF, and `convert` changes the weights for llama.cpp.
    """

    family: Family
    kind: str
    class_name: str
    gguf_name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    convert: Callable[[Tensors], Tensors] = dict


def _permuted(tensors: Tensors) -> Tensors:
    """Return the weights in the order in which llama.cpp rotates the query and key heads of a Llama."""

    def permuted(name: str, array: Any) -> Any:
        if not name.endswith(("q_proj.weight", "k_proj.weight")):
            return array
        heads = HEADS if "q_proj" in name else KV_HEADS
        rows = array.reshape(heads, 2, array.shape[0] // heads // 2, array.shape[1])
        return rows.swapaxes(1, 2).reshape(array.shape)

    return {name: permuted(name, array) for name, array in tensors.items()}


def _norms_plus_one(tensors: Tensors) -> Tensors:
    """Return the weights with Gemma's norms, which multiply with one plus the weight."""
    return {name: array + 1 if "norm" in name else array for name, array in tensors.items()}


def _latent_attention(tensors: Tensors) -> Tensors:
    """Return DeepSeek's weights with the experts of a layer in one tensor, and keys and values separate."""
    import numpy as np

    changed, experts = Tensors(), dict[str, list[Any]]()
    for name, array in tensors.items():
        if ".experts." in name:
            layer, _, rest = name.partition(".experts.")
            experts.setdefault(f"{layer}.experts.{rest.partition('.')[2]}", []).append(array)
        elif "kv_b_proj" in name:
            rows = array.reshape(HEADS, NOPE + HEAD_WIDTH, LATENT)
            changed[name.replace("kv_b_proj", "k_b_proj")] = rows[:, :NOPE].swapaxes(1, 2)
            changed[name.replace("kv_b_proj", "v_b_proj")] = rows[:, NOPE:]
        else:
            changed[name.replace("e_score_correction_bias", "e_score_correction.bias")] = array
    return changed | {name: np.stack(arrays) for name, arrays in experts.items()}


def _split_experts(tensors: Tensors) -> Tensors:
    """Return gpt-oss' weights with separate gate and up matrices, which transformers interleaves."""
    changed = Tensors()
    for name, array in tensors.items():
        base, is_bias = name.removesuffix("_bias"), name.endswith("_bias")
        suffix = ".bias" if is_bias else ".weight"
        if "gate_up_proj" in name:
            matrix = array if is_bias else array.swapaxes(1, 2)
            changed[base.replace("gate_up_proj", "gate_proj") + suffix] = matrix[:, ::2]
            changed[base.replace("gate_up_proj", "up_proj") + suffix] = matrix[:, 1::2]
        elif "experts.down_proj" in name:
            changed[base + suffix] = array if is_bias else array.swapaxes(1, 2)
        else:
            changed[f"{name}.weight" if name.endswith("sinks") else name] = array
    return changed


LLAMA: Mapping[str, Any] = {"rope.dimension_count": HEAD_WIDTH}
HEAD_WIDTHS: Mapping[str, Any] = {
    "attention.key_length": HEAD_WIDTH,
    "attention.value_length": HEAD_WIDTH,
}
EXPERT_COUNTS: Mapping[str, Any] = {
    "expert_count": EXPERTS,
    "expert_used_count": USED_EXPERTS,
    "expert_feed_forward_length": HIDDEN,
}
ARCHITECTURES = {
    "llama": Architecture(
        FAMILIES["llama-3"], "llama-bpe", "LlamaForCausalLM", "llama", metadata=LLAMA, convert=_permuted
    ),
    "mistral": Architecture(
        *(FAMILIES["mistral-v3"], "sentencepiece-bpe", "MistralForCausalLM", "llama"),
        {"sliding_window": None},
        LLAMA,
        _permuted,
    ),
    "gemma3": Architecture(
        *(FAMILIES["gemma"], "sentencepiece-bpe", "Gemma3ForCausalLM", "gemma3"),
        {
            "head_dim": HEAD_WIDTH,
            "query_pre_attn_scalar": HEAD_WIDTH,
            "sliding_window": 512,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": THETA},
                "full_attention": {"rope_type": "default", "rope_theta": THETA},
            },
        },
        {**HEAD_WIDTHS, "attention.sliding_window": 512},
        _norms_plus_one,
    ),
    "gemma2": Architecture(
        *(FAMILIES["gemma"], "sentencepiece-bpe", "Gemma2ForCausalLM", "gemma2"),
        {
            "head_dim": HEAD_WIDTH,
            "query_pre_attn_scalar": HEAD_WIDTH,
            "sliding_window": 512,
            "tie_word_embeddings": True,
        },
        {
            **HEAD_WIDTHS,
            "attention.sliding_window": 512,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
        _norms_plus_one,
    ),
    "phi3": Architecture(
        *(FAMILIES["phi-3"], "sentencepiece-bpe", "Phi3ForCausalLM", "phi3"),
        {"pad_token_id": None},
        LLAMA,
    ),
    "qwen3": Architecture(
        QWEN_3, "qwen2", "Qwen3ForCausalLM", "qwen3", {"head_dim": HEAD_WIDTH}, HEAD_WIDTHS
    ),
    "deepseek2": Architecture(
        *(FAMILIES["deepseek-v3"], "deepseek-v3", "DeepseekV3ForCausalLM", "deepseek2"),
        {
            "num_key_value_heads": HEADS,
            "q_lora_rank": LATENT,
            "kv_lora_rank": LATENT,
            "qk_nope_head_dim": NOPE,
            "qk_rope_head_dim": ROPE,
            "v_head_dim": HEAD_WIDTH,
            "n_routed_experts": EXPERTS,
            "num_experts_per_tok": USED_EXPERTS,
            "n_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "moe_intermediate_size": HIDDEN,
            "routed_scaling_factor": 2.5,
        },
        {
            **EXPERT_COUNTS,
            "attention.head_count_kv": 1,
            "attention.q_lora_rank": LATENT,
            "attention.kv_lora_rank": LATENT,
            "attention.key_length": LATENT + ROPE,
            "attention.value_length": LATENT,
            "attention.key_length_mla": NOPE + ROPE,
            "attention.value_length_mla": HEAD_WIDTH,
            "rope.dimension_count": ROPE,
            "leading_dense_block_count": 1,
            "expert_shared_count": 1,
            "expert_weights_scale": 2.5,
            "expert_weights_norm": True,
            "expert_gating_func": 2,
        },
        _latent_attention,
    ),
    "gpt-oss": Architecture(
        *(FAMILIES["gpt-oss"], "gpt-4o", "GptOssForCausalLM", "gpt-oss"),
        {
            "head_dim": HEAD_WIDTH,
            "num_local_experts": EXPERTS,
            "num_experts_per_tok": USED_EXPERTS,
            "sliding_window": 128,
            "rope_parameters": YARN,
        },
        {
            **EXPERT_COUNTS,
            **HEAD_WIDTHS,
            "attention.sliding_window": 128,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 1024,
        },
        _split_experts,
    ),
}


FORMS = ("folder", "gguf")
ANSWERS: Mapping[str, Sequence[str]] = {
    "llama": ("Ġsmall", "Ġday", "<|eot_id|>"),
    "mistral": ("▁small", "▁day", "</s>"),
    "gemma3": ("▁small", "▁day", "<end_of_turn>"),
    "phi3": ("▁small", "▁day", "<|end|>"),
    "qwen3": ("<think>", "Ġgood", "</think>", "Ġsmall", "Ġday", "<|im_end|>"),
    "deepseek2": ("<think>", "Ġgood", "</think>", "Ġsmall", "Ġday", "</s>"),
    "gpt-oss": (
        *("<|channel|>", "an", "al", "ysis", "<|message|>", "Ġgood", "<|end|>"),
        *("Ġsmall", "Ġday", "<|return|>"),
    ),
}
"""The tokens of an answer. Gemma 2, whose embeddings are tied, has none: it would repeat the last token."""


def write_model(root: Path, name: str, form: str, answer: Sequence[str] = ()) -> Path:
    """Write a model in one of FORMS, and return its path; see `write_folder` for the answer."""
    folder = root / "folder"
    if not folder.exists():
        folder.mkdir()
        write_folder(folder, name, answer)
    return folder if form == "folder" else write_gguf(folder, root / "model.gguf", name)


def write_folder(folder: Path, name: str, answer: Sequence[str] = ()) -> Path:
    """Write the weights, the tokenizer and the template of an architecture into a folder, and return it.

    With the tokens of an `answer`, the blocks of the model add nothing to its embeddings, and the last token
    of a prompt and each one of the answer have one successor. This needs embeddings that are not tied.
    """
    import torch
    import transformers

    model = ARCHITECTURES[name]
    family = model.family
    tokenizer = tokenizer_json_of(model.family, model.kind)
    ids = _ids(json.loads(tokenizer))
    kind: Any = getattr(transformers, model.class_name)
    torch.manual_seed(20261129)
    size = {"vocab_size": max(ids.values()) + 1, "eos_token_id": ids[family.eos], "bos_token_id": None}
    network = kind(kind.config_class(**{**BASE, **size, **model.config})).float()
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    settings = {
        "bos_token": family.bos,
        "eos_token": family.eos,
        "tokenizer_class": "PreTrainedTokenizerFast",  # that of Gemma would change the vocabulary
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(family.template, encoding="utf-8")
    if answer:
        last = read_vocabulary(folder).prompt_tokens([Message(Role.USER, "Hi")])[-1].id
        _chain(network, [last, *(ids[token] for token in answer)])
    network.save_pretrained(folder)
    return folder


def _chain(network: Any, ids: Sequence[int]) -> None:
    """Let each of the ids be followed by the next one."""
    import torch

    vocabulary, width = network.lm_head.weight.shape
    matrices = chain_matrices(vocabulary, width, dict(pairwise(ids)))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                parameter.zero_()
        for module, matrix in zip((network.get_input_embeddings(), network.lm_head), matrices, strict=True):
            module.weight.copy_(torch.from_numpy(matrix))


def _ids(spec: Mapping[str, Any]) -> dict[str, int]:
    ids: dict[str, int] = dict(spec["model"]["vocab"])
    return ids | {token["content"]: token["id"] for token in spec["added_tokens"]}


def write_gguf(folder: Path, path: Path, name: str) -> Path:
    """Write the model of `write_folder` as a GGUF, and return its path."""
    import gguf
    from safetensors.numpy import load_file

    model = ARCHITECTURES[name]
    writer: Any = gguf.GGUFWriter(path, model.gguf_name)
    writer.add_name(f"tiny {model.gguf_name}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    metadata = {
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": HIDDEN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": BASE["rms_norm_eps"],
        "rope.freq_base": THETA,
    }
    for key, value in {**metadata, **model.metadata}.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}.get(type(value))
        (add or writer.add_string)(f"{model.gguf_name}.{key}", value)
    add_vocabulary(writer, folder, model.family, model.kind)
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == model.gguf_name)
    names = gguf.get_tensor_name_map(architecture, LAYERS)
    for tensor, array in model.convert(load_file(folder / "model.safetensors")).items():
        target = names.get_name(tensor, try_suffixes=(".weight", ".bias"))
        assert target is not None, tensor
        writer.add_tensor(target, array.astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
