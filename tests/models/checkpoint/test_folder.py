"""Reading a folder of Hugging Face weights, and refusing unusable ones."""

import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models import checkpoint
from hermes_cli.models.catalogue import WeightFormat
from hermes_cli.models.facts import facts_of_checkpoint
from tests.models.small_checkpoint import (
    HIDDEN,
    LAYERS,
    LINEAR,
    PARAMETERS,
    VOCABULARY,
    checkpoint_files,
    in_bfloat16,
    put_in_cache,
    shapes,
    write_checkpoint,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("shards", [1, 3])
def test_architecture_sizes_and_types_are_read_from_the_files(tmp_path: Path, shards: int) -> None:
    """The architecture, the sizes and the types are those of the files.

    By hand: a key and a value for each of 2 KV heads, 8 wide, in 2 layers: 2 * 2 * 2 * 8 = 64 a token.
    """
    folder = checkpoint.read(write_checkpoint(tmp_path, checkpoint_files(shards=shards)))
    weights, config = folder.weights, folder.config
    assert (config.architecture, config.layers, config.kv_elements) == ("MistralForCausalLM", 2, 64)
    assert (config.context_length, config.sliding_window, config.vocab_size) == (1024, 512, 48)
    assert (weights.parameters, weights.linear_parameters) == (PARAMETERS, LINEAR) == (21_664, 18_432)
    assert (weights.stored_bytes, len(weights.files)) == (2 * PARAMETERS, shards)
    assert (folder.format, folder.precision, folder.bits, folder.chatml_problem) == (
        WeightFormat.SAFETENSORS,
        "fp16",
        16,
        None,
    )
    facts = facts_of_checkpoint("m", folder, "o/n")
    assert (facts.kv_bytes_per_token, facts.layers, facts.dtype) == (128, LAYERS, "float16")


def test_the_type_of_the_weights_is_used_if_the_config_names_none(tmp_path: Path) -> None:
    """If the config names no type, that of the weights is used."""
    files = checkpoint_files(torch_dtype=...)
    files["model.safetensors"] = in_bfloat16(files["model.safetensors"])
    folder = checkpoint.read(write_checkpoint(tmp_path, files))
    assert (folder.dtype, folder.precision) == ("bfloat16", "bf16")


def test_configs_of_newer_and_older_transformers_are_read(tmp_path: Path) -> None:
    """Configs of newer and older releases of transformers are understood."""
    files = checkpoint_files(
        torch_dtype=..., dtype="float32", head_dim=16, num_key_value_heads=..., max_position_embeddings=...
    )
    folder = checkpoint.read(write_checkpoint(tmp_path, files))
    assert (folder.precision, folder.bits, folder.config.context_length) == ("fp32", 32, 0)
    assert folder.config.kv_elements == 2 * LAYERS * 4 * 16  # as many as query heads


def test_tied_embeddings_count_once(tmp_path: Path) -> None:
    """A head that is saved beside the embeddings that it is tied to counts once."""
    folder = checkpoint.read(write_checkpoint(tmp_path, checkpoint_files(tie_word_embeddings=True)))
    assert folder.weights.parameters == PARAMETERS - VOCABULARY * HIDDEN


@pytest.mark.parametrize("key", ["num_local_experts", "num_experts", "n_routed_experts"])
def test_experts_are_not_counted_as_linear(tmp_path: Path, key: str) -> None:
    """Expert weights, which bitsandbytes leaves in 16 bits, do not count as linear.

    The keys are those of Mixtral and gpt-oss, of Qwen 3 and of DeepSeek.
    """
    extra = {"model.layers.0.block_sparse_moe.experts.0.w1.weight": ("float16", (64, 32))}
    files = checkpoint_files(tensors=shapes() | extra, **{key: 8})
    weights = checkpoint.read(write_checkpoint(tmp_path, files)).weights
    assert (weights.parameters, weights.linear_parameters) == (PARAMETERS + 2048, LINEAR)


def test_the_commit_is_read_from_a_snapshot_in_the_cache(tmp_path: Path) -> None:
    """The commit is read from a snapshot in the cache, and is None elsewhere."""
    snapshot = write_checkpoint(tmp_path / "models--o--n" / "snapshots" / COMMIT)
    assert checkpoint.read(snapshot).revision == COMMIT
    assert checkpoint.read(write_checkpoint(tmp_path / "snapshots" / COMMIT)).revision is None


QUANTISED: dict[str, tuple[dict[str, Any], WeightFormat, str, int]] = {
    "gptq": ({"quant_method": "gptq", "bits": 4}, WeightFormat.GPTQ, "4-bit GPTQ", 4),
    "gptq 8": ({"quant_method": "gptq", "bits": 8}, WeightFormat.GPTQ, "8-bit GPTQ", 8),
    "awq": ({"quant_method": "awq", "w_bit": 4}, WeightFormat.AWQ, "4-bit AWQ", 4),
    "nf4": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        WeightFormat.BITSANDBYTES,
        "4-bit nf4",
        4,
    ),
    "fp4": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        WeightFormat.BITSANDBYTES,
        "4-bit fp4",
        4,
    ),
    "int8": (
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        WeightFormat.BITSANDBYTES,
        "8-bit int8",
        8,
    ),
    "compressed": (
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
        WeightFormat.COMPRESSED_TENSORS,
        "4-bit compressed-tensors",
        4,
    ),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_a_quantized_checkpoint_has_the_precision_of_its_config(tmp_path: Path, name: str) -> None:
    """A quantized checkpoint has the format, precision and bits of its config."""
    settings, fmt, precision, bits = QUANTISED[name]
    folder = checkpoint.read(write_checkpoint(tmp_path, checkpoint_files(quantization_config=settings)))
    assert (folder.format, folder.precision, folder.bits) == (fmt, precision, bits)


def test_packed_weights_count_as_the_weights_that_they_encode(tmp_path: Path) -> None:
    """Packed weights count as the number of weights that they encode.

    By hand: 1,024 weights in 512 bytes, and 1,024 in 128 words of 32 bits; scales are not counted.
    """
    block = "model.layers.0.self_attn.q_proj"
    nf4 = {
        f"{block}.weight": ("uint8", (512, 1)),
        f"{block}.weight.absmax": ("uint8", (16,)),
        f"{block}.weight.quant_state.bitsandbytes__nf4": ("uint8", (90,)),
        "model.norm.weight": ("float16", (32,)),
    }
    packed = {
        f"{block}.qweight": ("int32", (4, 32)),
        f"{block}.qzeros": ("int32", (1, 4)),
        f"{block}.scales": ("float16", (1, 32)),
        f"{block}.g_idx": ("int32", (32,)),
        "model.norm.weight": ("float16", (32,)),
    }
    for tensors, name in ((nf4, "nf4"), (packed, "gptq")):
        settings = QUANTISED[name][0]
        files = checkpoint_files(tensors=tensors, num_hidden_layers=1, quantization_config=settings)
        weights = checkpoint.read(write_checkpoint(tmp_path / name, files)).weights
        assert (weights.parameters, weights.linear_parameters) == (1024 + 32, 1024)


class Bomb:
    """An object whose pickle runs a command when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


def test_pickled_weights_are_measured_and_never_read(tmp_path: Path) -> None:
    """Pickled weights are measured by size and never unpickled; a truncated file is refused."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(tmp_path / "trace")).ljust(2 * PARAMETERS))
    files = checkpoint_files()
    del files["model.safetensors"]
    folder = checkpoint.read(write_checkpoint(tmp_path, files | {"pytorch_model.bin": content.getvalue()}))
    assert (folder.format, folder.weights.is_pickled) == (WeightFormat.PICKLE, True)
    assert folder.weights.parameters == len(content.getvalue()) // 2
    assert folder.weights.linear_parameters == folder.weights.parameters - 2 * VOCABULARY * HIDDEN
    assert not (tmp_path / "trace").exists()
    write_checkpoint(tmp_path, {"pytorch_model.bin": content.getvalue()[:-30]})
    with pytest.raises(ModelUnavailable, match="truncated"):
        checkpoint.read(tmp_path)


def _index(weight_map: object) -> bytes:
    return json.dumps({"weight_map": weight_map}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model-00002-of-00003.safetensors": None}, "1 of its 3 weight files are missing"),
        (
            {"model-00002-of-00003.safetensors": b""},
            "model-00002-of-00003.safetensors is truncated, or not a safetensors file",
        ),
        ({"model.safetensors.index.json": b"[1]"}, "index.json is not a JSON object"),
        ({"model.safetensors.index.json": _index({})}, "lists no weights"),
        ({"model.safetensors.index.json": _index({"a": "../x.safetensors"})}, "files that are not weights"),
        ({"model.safetensors.index.json": _index({"a": "/etc/passwd"})}, "files that are not weights"),
        (
            {"model.safetensors.index.json": _index({"gone.weight": "model-00001-of-00003.safetensors"})},
            "1 of its tensors are missing",
        ),
        ({"config.json": b"{"}, "config.json is not JSON"),
        ({"config.json": b"[" * 200_000}, "nested too deeply"),
        ({"config.json": b'{"a":' * 101 + b"1" + b"}" * 101}, "nested too deeply"),
        ({"config.json": b" " * (17 << 20)}, "larger than 16 MiB"),
        (
            {"tokenizer_config.json": b"?"},
            "tokenizer_config.json is not JSON: expecting value, line 1, column 1",
        ),
        ({"adapter_config.json": b"{}"}, "contains an adapter"),
    ],
)
def test_an_incomplete_or_malformed_folder_is_refused(
    tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    """An incomplete or malformed folder is refused with its reason and a hint."""
    files: dict[str, bytes | None] = {**checkpoint_files(shards=3), **change}
    write_checkpoint(tmp_path, {name: content for name, content in files.items() if content is not None})
    with pytest.raises(ModelUnavailable) as caught:
        checkpoint.read(tmp_path)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "encoder-decoder"),
        ({"architectures": ["LlavaForConditionalGeneration"], "vision_config": {}}, "images or audio"),
        ({"architectures": ["BertForMaskedLM"]}, "does not generate text"),
        ({"architectures": ["Evil\x1b[31mLM"]}, r"Evil\\x1b"),
        ({"architectures": None}, "names no architecture"),
        ({"num_hidden_layers": "many"}, "the number of layers"),
        ({"num_hidden_layers": 10**9}, "the number of layers"),
        ({"num_attention_heads": True}, "the number of layers"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantized by 'fp8'"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "neither 4-bit nor 8-bit"),
        ({"quantization_config": [1]}, "quantized by 'None'"),
    ],
)
def test_a_model_of_an_unsupported_kind_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    """A model of an unsupported kind is refused with its reason."""
    with pytest.raises(ModelUnavailable, match=message):
        checkpoint.read(write_checkpoint(tmp_path, checkpoint_files(**config)))


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil.Model"}}, "'auto_map' of its config.json"),
        ("config.json", {"text_config": {"auto_map": {"AutoModel": "x"}}}, "'auto_map'"),
        ("config.json", {"custom_pipelines": {"x": {}}}, "'custom_pipelines'"),
        ("config.json", {"_attn_implementation": "owner/kernel"}, "'_attn_implementation'"),
        ("config.json", {"_attn_implementation_internal": "o/k"}, "'_attn_implementation_internal'"),
        ("config.json", {"a": [{"attn_implementation": "paged|o/k"}]}, "'attn_implementation'"),
        ("config.json", {"attn_implementation": {"text_config": "o/k"}}, "'attn_implementation'"),
        ("config.json", {"attn_implementation": {"": {"": "sdpa"}}}, "'attn_implementation'"),
        ("config.json", {"experts_implementation": "o/k"}, "'experts_implementation'"),
        ("config.json", {"transformers_weights": "x.bin"}, "'transformers_weights'"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["e.T", None]}}, "tokenizer_config.json"),
        ("generation_config.json", {"auto_map": {"x": "y"}}, "generation_config.json"),
    ],
)
def test_a_config_that_requests_code_is_refused(
    tmp_path: Path, file: str, settings: Any, message: str
) -> None:
    """A config that requests code is refused with the key that does so."""
    files = checkpoint_files(**settings) if file == "config.json" else checkpoint_files()
    write_checkpoint(
        tmp_path, files if file == "config.json" else files | {file: json.dumps(settings).encode()}
    )
    with pytest.raises(ModelUnavailable, match=r"hermes never (runs|loads)") as caught:
        checkpoint.read(tmp_path)
    assert message in caught.value.message
    assert "openhermes-2" in caught.value.hint


@pytest.mark.parametrize(
    "value", [None, "eager", "sdpa", "flash_attention_2", "flex_attention", {"": "sdpa"}]
)
def test_the_attention_implementations_of_transformers_are_accepted(tmp_path: Path, value: Any) -> None:
    """The attention implementations of transformers itself are accepted."""
    assert checkpoint.read(
        write_checkpoint(tmp_path, checkpoint_files(attn_implementation=value, auto_map={}))
    )


OLDER: dict[str, Any] = {"tokenizer.model": []}
ADDED = [{"content": "<|im_start|>"}, {"content": "<|im_end|>"}]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"tokenizer.json": {"added_tokens": ADDED}}, ""),
        ({"tokenizer.json": {"added_tokens": ADDED[:1]}}, "no <|im_end|> token"),
        ({"tokenizer.json": {"model": {}, "added_tokens": ADDED}}, ""),
        ({"tokenizer.json": {"added_tokens": [{"content": "x" * 3_000_000}, *ADDED]}}, ""),
        ({"tokenizer.json": {"added_tokens": "<|im_start|>"}}, "no <|im_start|> and no <|im_end|> token"),
        ({"tokenizer.json": []}, "is not a JSON object"),
        ({"tokenizer.json": {"added_tokens": [1, {"content": 2}]}}, "no <|im_start|> and"),
        (OLDER | {"added_tokens.json": {"<|im_end|>": 32000, "<|im_start|>": 32001}}, ""),
        (OLDER | {"tokenizer_config.json": {"added_tokens_decoder": {"1": ADDED[0], "2": ADDED[1]}}}, ""),
        (OLDER | {"added_tokens.json": {}, "tokenizer_config.json": {"added_tokens_decoder": []}}, "no <|im"),
        ({"tokenizer.model": ["<|im_start|>", "<|im_end|>"]}, ""),
        ({"added_tokens.json": {"<|im_end|>": 32000, "<|im_start|>": 32001}}, "contains neither a tokenizer"),
        ({}, "contains neither a tokenizer.json nor a tokenizer.model"),
    ],
)
def test_the_tokenizer_needs_both_chatml_tokens(tmp_path: Path, files: dict[str, Any], problem: str) -> None:
    """A folder without a tokenizer, or whose tokenizer lacks a ChatML token, has a problem and no format."""
    folder = checkpoint_files()
    del folder["tokenizer.json"]
    encoded = {name: json.dumps(content).encode() for name, content in files.items()}
    found = checkpoint.read(write_checkpoint(tmp_path, folder | encoded))
    assert (found.chatml_problem is None) == (not problem)
    assert problem in str(found.chatml_problem)
    if problem:
        with pytest.raises(ModelUnavailable, match=re.escape(problem)):
            facts_of_checkpoint("m", found).templates.choose()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """The message names the link and its target."""
    folder = write_checkpoint(tmp_path / "model")
    (folder / name).rename(tmp_path / "other")
    (folder / name).symlink_to("../other")
    with pytest.raises(
        ModelUnavailable, match=f"its '{name}' is a symbolic link to '{tmp_path}/other'"
    ) as caught:
        checkpoint.read(folder)
    assert "copy the file into the folder" in caught.value.hint


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    """It is an error of the model."""
    folder = write_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors"):
        checkpoint.read(folder)


def test_a_link_inside_the_folder_and_a_link_to_the_folder_are_accepted(tmp_path: Path) -> None:
    """Users link models on purpose."""
    folder = write_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "weights")
    (folder / "model.safetensors").symlink_to("weights")
    (tmp_path / "linked").symlink_to(folder)
    for path in (folder, tmp_path / "linked"):
        assert checkpoint.read(path).weights.parameters == PARAMETERS


def test_a_snapshot_links_only_to_the_blobs_of_its_repository(tmp_path: Path) -> None:
    """Its blobs may be on another disk. A blob that is itself a link to another place is refused."""
    files = checkpoint_files()
    snapshot = put_in_cache(tmp_path / "cache", "o/n", files, COMMIT)
    blobs = snapshot.parents[1] / "blobs"
    assert checkpoint.read(snapshot).revision == COMMIT
    blobs.rename(tmp_path / "disk")
    blobs.symlink_to(tmp_path / "disk")
    assert checkpoint.read(snapshot).weights.parameters == PARAMETERS
    weights = snapshot / "model.safetensors"
    blob = weights.resolve()
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelUnavailable, match="elsewhere"):
        checkpoint.read(snapshot)
    other = put_in_cache(tmp_path / "cache", "o/other", files)
    weights.unlink()
    weights.symlink_to((other / "model.safetensors").resolve())
    with pytest.raises(ModelUnavailable, match="models--o--other"):
        checkpoint.read(snapshot)
