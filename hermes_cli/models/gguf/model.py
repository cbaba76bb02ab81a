"""Reads the properties of a model from the header of its GGUF file, in milliseconds and without loading it.

docs/gguf.md in ggml documents the metadata keys. `header.py` parses the bytes.
"""

import contextlib
import hashlib
import math
import mmap
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hermes_cli.errors import ModelUnavailable, access_hint
from hermes_cli.models.gguf.header import STRING, Malformed, RawArray, TensorInfo, Value, walk
from hermes_cli.models.gguf.types import FILE_TYPES
from hermes_cli.models.units import KV_ELEMENT_BYTES
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.chatml import IM_END, IM_START, missing_tokens
from hermes_cli.prompts.format_choice import ModelTemplates
from hermes_cli.prompts.text_encoder import looks_like_control

CONTROL, USER_DEFINED = 3, 4
"""Token types. Source: llama.h, `llama_token_type`."""

MAX_LAYERS = 1 << 16
"""The maximum number of layers, and of heads in a layer. Real models have far fewer."""

ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
"""Source: llama.cpp's `LLAMA_ROPE_SCALING_TYPES`. It aborts the process for any other type."""

MAX_EXPERTS = 512
"""Source: llama.cpp's `LLAMA_MAX_EXPERTS`. It aborts the process for more."""

_EXPERTS_TENSOR = re.compile(r"\.ffn_\w+_exps\.weight$")
_LAYER_TENSOR = re.compile(r"blk\.(\d{1,5})\.")

FETCH_AGAIN = "download it again, with 'hermes models pull' or from its source"

_GUESSED = 1024  # llama.h, `LLAMA_FTYPE_GUESSED`: a flag in the file type

SPECIAL_TOKENS = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
"""The names of tokens in GGUF metadata, and in chat templates."""
CHAT_TEMPLATE = "tokenizer.chat_template"
"""The key of the chat template. The keys of named ones begin with it and a dot."""
ADDS_BOS = frozenset(
    ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken")
)
"""The pre-tokenizers for which llama.cpp adds BOS if the file does not mention it.

Source: llama-vocab.cpp.
"""
END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
END_TOKENS = frozenset(
    (
        *("<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>", "<|call|>", "<|calls|>", "<|endoftext|>"),
        *("<|end_of_text|>", "<end_of_turn>", "<end_of_utterance>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    )
)
"""The tokens at which llama.cpp ends an answer, whatever their type.

Source: `special_eog_ids` in llama-vocab.cpp.
"""


@dataclass(frozen=True)
class GgufHeader:
    """The header of a GGUF file. Sizes are in bytes. Missing numbers are 0, and missing strings are empty."""

    path: Path
    file_size: int
    metadata: dict[str, Value] = field(repr=False)
    tensors: tuple[TensorInfo, ...] = field(repr=False)

    @property
    def architecture(self) -> str:
        """The model family in llama.cpp, such as `llama`."""
        return self._text("general.architecture")

    @property
    def name(self) -> str:
        """The model's name in the file's metadata."""
        return self._text("general.name")

    @property
    def licence(self) -> str:
        """The model's licence in the file's metadata, usually an SPDX identifier in lower case."""
        return self._text("general.license")

    @property
    def context_length(self) -> int:
        """The context length that the model was trained with, in tokens."""
        return self._number("context_length")

    @property
    def block_count(self) -> int:
        """The number of layers."""
        return self._number("block_count")

    @property
    def embedding_length(self) -> int:
        """The width of the residual stream."""
        return self._number("embedding_length")

    @property
    def head_count(self) -> int:
        """The number of query heads in a layer, or the maximum if layers differ."""
        return max(self._per_layer("attention.head_count"), default=0)

    @property
    def key_length(self) -> int:
        """The width of a key head. The default is the embedding length divided by the number of heads."""
        return self._number("attention.key_length") or self._head_width

    @property
    def value_length(self) -> int:
        """The width of a value head. The default is the same as for a key head."""
        return self._number("attention.value_length") or self._head_width

    @property
    def kv_bytes_per_token(self) -> int:
        """The size of the KV cache for one token, over all layers, with 16-bit K and V.

        This is an upper bound, because sliding windows are ignored.
        """
        return sum(self._heads_kv) * (self.key_length + self.value_length) * KV_ELEMENT_BYTES

    @cached_property
    def layer_bytes(self) -> tuple[int, ...]:
        """The size of the weights in each layer."""
        sizes = [0] * self.block_count
        for tensor in self.tensors:
            match = _LAYER_TENSOR.match(tensor.name)
            if match and int(match[1]) < len(sizes):
                sizes[int(match[1])] += tensor.size
        return tuple(sizes)

    @property
    def output_bytes(self) -> int:
        """The size of the output layer. If it has no matrix of its own, it uses a copy of the embeddings."""
        sizes = {tensor.name: tensor.size for tensor in self.tensors}
        head = sizes.get("output.weight") or sizes.get("token_embd.weight", 0)
        return head + sizes.get("output_norm.weight", 0)

    @cached_property
    def file_type(self) -> str:
        """The name of the quantization, such as `Q4_K_M`.

        If the metadata does not contain it, this is the tensor type with the most bytes.
        """
        number = self.metadata.get("general.file_type")
        if isinstance(number, int) and not isinstance(number, bool) and number & ~_GUESSED in FILE_TYPES:
            return FILE_TYPES[number & ~_GUESSED]
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            sizes[tensor.type_name] = sizes.get(tensor.type_name, 0) + tensor.size
        return max(sizes, key=lambda name: sizes[name], default="")

    @cached_property
    def parameter_count(self) -> int:
        """The number of weights in all tensors."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def split_count(self) -> int:
        """The number of files that the model is split into, or 1 if it is not split."""
        count = self.metadata.get("split.count", 1)
        return count if isinstance(count, int) and count > 1 else 1

    @property
    def tokenizer_model(self) -> str:
        """The kind of tokenizer: `gpt2` for byte-level BPE, `llama` for SentencePiece."""
        return self._text("tokenizer.ggml.model")

    @property
    def tokenizer_pre(self) -> str:
        """The name of the pre-tokenizer."""
        return self._text("tokenizer.ggml.pre")

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of token ids, in the spelling of the tokenizer."""
        array = self.metadata.get("tokenizer.ggml.tokens")
        return array.strings if isinstance(array, RawArray) else []

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens."""
        array = self.metadata.get("tokenizer.ggml.tokens")
        return array.count if isinstance(array, RawArray) else 0

    @property
    def token_types(self) -> list[int]:
        """The `llama_token_type` of each token, or an empty list if the file has none."""
        array = self.metadata.get("tokenizer.ggml.token_type")
        return array.integers if isinstance(array, RawArray) else []

    @cached_property
    def control_tokens(self) -> dict[str, int]:
        """The text and id of each control token. User text must never be tokenized to one of them.

        Control tokens are the tokens of type CONTROL, those of type USER_DEFINED that look like one, and even
        if an older converter saved them as ordinary tokens, the two ChatML tokens and END_TOKENS.
        """
        types = self.token_types
        found: dict[str, int] = {}
        for index, token in enumerate(self.tokens):
            kind = types[index] if index < len(types) else 0
            added = kind == USER_DEFINED and looks_like_control(token)
            if token and (kind == CONTROL or added or token in (IM_START, IM_END) or token in END_TOKENS):
                found.setdefault(token, index)
        return found

    @property
    def special_tokens(self) -> frozenset[str]:
        """The tokens of type CONTROL, which no text has."""
        return frozenset(
            token for token, kind in zip(self.tokens, self.token_types, strict=False) if kind == CONTROL
        )

    @property
    def rstrip_tokens(self) -> set[str]:
        """The control tokens that remove the whitespace after them: those of Phi-3.

        A GGUF does not contain these flags. Source: Phi-3's tokenizer.json, and `LLAMA_TOKEN_ATTR_RSTRIP` in
        llama-vocab.cpp.
        """
        name = re.sub(r"[\W_]", "", self.name.lower())
        is_phi_3 = self.architecture == "phi3" or "phi3" in name
        # Phi-4 has the same architecture, but another tokenizer.
        if not is_phi_3 or self.tokenizer_model != "llama":
            return set()
        return self.control_tokens.keys() - {"<unk>", "<s>", "<|endoftext|>"}

    @property
    def end_ids(self) -> set[int]:
        """The ids that the file names as the end of an answer. They may be of any type."""
        values = (self.metadata.get(f"tokenizer.ggml.{key}") for key in END_KEYS)
        return {value for value in values if type(value) is int and 0 <= value < self.vocabulary_size}

    @cached_property
    def templates(self) -> ModelTemplates:
        """The chat templates in the file's metadata."""
        tokens = self.tokens
        names = {
            name: self.metadata.get(f"tokenizer.ggml.{key}_token_id") for key, name in SPECIAL_TOKENS.items()
        }
        special = {name: tokens[i] for name, i in names.items() if type(i) is int and 0 <= i < len(tokens)}
        # llama.cpp adds BOS to SentencePiece prompts even if the file does not mention it.
        default = self.tokenizer_model == "llama" or self.tokenizer_pre in ADDS_BOS
        adds_bos = self.metadata.get("tokenizer.ggml.add_bos_token", default) is True
        prefix = f"{CHAT_TEMPLATE}."
        named = {
            key.removeprefix(prefix): ChatTemplate(text, special, adds_bos)
            for key in self.metadata
            if key.startswith(prefix) and (text := self._text(key))
        }
        source = self._text(CHAT_TEMPLATE)
        template = ChatTemplate(source, special, adds_bos) if source else None
        return ModelTemplates(self.chatml_problem, template, named, special, adds_bos)

    @property
    def chatml_problem(self) -> ModelUnavailable | None:
        """The error if the vocabulary lacks a ChatML token, else None."""
        array = self.metadata.get("tokenizer.ggml.tokens")
        known = [
            token for token in (IM_START, IM_END) if isinstance(array, RawArray) and array.contains(token)
        ]
        return missing_tokens(known)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a hash. Two files with the same value tokenize text to the same ids."""
        digest = hashlib.sha256()
        for key in sorted(self.metadata):
            value = self.metadata[key]
            if key.startswith("tokenizer.ggml."):
                raw = value.raw if isinstance(value, RawArray) else repr(value).encode()
                digest.update(f"{key}\0{len(raw)}\0".encode())
                digest.update(raw)
        return digest.hexdigest()[:16]

    @property
    def _head_width(self) -> int:
        return self.embedding_length // self.head_count if self.head_count else 0

    @property
    def _heads_kv(self) -> list[int]:
        return self._per_layer("attention.head_count_kv") or self._per_layer("attention.head_count")

    def _per_layer(self, key: str) -> list[int]:
        value = self.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, RawArray):
            return [n for n in value.integers[: self.block_count] if 0 <= n < MAX_LAYERS]
        count = self._number(key)
        return [count] * self.block_count if count else []

    def _number(self, key: str) -> int:
        value = self.metadata.get(f"{self.architecture}.{key}", 0)
        return value if isinstance(value, int) and value > 0 else 0

    def _text(self, key: str) -> str:
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else ""


def read_header(path: Path) -> GgufHeader:
    """Return the header of the GGUF file at `path`, and check that the file is complete.

    Raises ModelUnavailable if the file does not exist, cannot be read, is not a GGUF file of version 2 or 3,
    or is truncated.
    """
    with _mapped(path) as data:
        size = len(data)
        try:
            raw = walk(data)
            _check_types(raw.metadata)
            _check_tensors(raw.metadata, raw.tensors)
        except Malformed as problem:
            hint = "name its folder" if path.suffix == ".safetensors" else FETCH_AGAIN
            raise ModelUnavailable(f"{path} {problem}", hint) from None
    if size < raw.expected_size:
        raise ModelUnavailable(
            f"{path} is truncated: it has {size:,} bytes of {raw.expected_size:,}", FETCH_AGAIN
        )
    return GgufHeader(path, size, raw.metadata, raw.tensors)


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelUnavailable(f"{path} is a folder, not a .gguf file", "give a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ModelUnavailable(f"{path} is not a regular file")
        with path.open("rb") as file:
            if status.st_size == 0:
                yield b""
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except FileNotFoundError:
        raise ModelUnavailable(
            f"there is no file {path}", "'hermes models list' lists the installed models"
        ) from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        hint = access_hint(problem) if isinstance(problem, OSError) else ""
        raise ModelUnavailable(f"{path} cannot be read: {reason}", hint) from None


def _check_types(metadata: dict[str, Value]) -> None:
    """Raise Malformed if the architecture is missing, or a value is of the wrong type or out of range."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise Malformed("does not name the architecture of its model")
    for key, limit in (
        ("context_length", 1 << 31),
        ("block_count", MAX_LAYERS),
        ("embedding_length", 1 << 32),
    ):
        value = metadata.get(f"{architecture}.{key}", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
            raise Malformed(f"has an invalid value for {key}")
    if not isinstance(metadata.get("split.count", 1), int):
        raise Malformed("has an invalid value for split.count")
    for key, value in metadata.items():
        if key.startswith(f"{architecture}.") and isinstance(value, float) and not math.isfinite(value):
            raise Malformed(f"has an invalid value for {key}: {value}")
    if metadata.get(f"{architecture}.rope.scaling.type", "none") not in ROPE_SCALINGS:
        raise Malformed("has an unknown type of RoPE scaling")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is not None and not (isinstance(tokens, RawArray) and tokens.item_type == STRING):
        raise Malformed("has a vocabulary that is not a list of strings")


def _check_tensors(metadata: dict[str, Value], tensors: Sequence[TensorInfo]) -> None:
    """Raise Malformed if the metadata describes more layers than the tensors, or other experts."""
    architecture = metadata["general.architecture"]

    def number(key: str) -> int:
        value = metadata.get(f"{architecture}.{key}", 0)
        return value if isinstance(value, int) else 0

    layers = {int(match[1]) for tensor in tensors if (match := _LAYER_TENSOR.match(tensor.name))}
    is_split = isinstance(count := metadata.get("split.count", 1), int) and count > 1
    described = number("block_count") - number("nextn_predict_layers")  # which some files leave out
    if layers and not is_split and described > max(layers) + 1:
        raise Malformed(f"says that it has {described:,} layers, but contains {max(layers) + 1:,}")
    experts, used = number("expert_count"), number("expert_used_count")
    sizes = {tensor.shape[-1] for tensor in tensors if _EXPERTS_TENSOR.search(tensor.name)}
    if not 0 <= used <= experts <= MAX_EXPERTS or (sizes and sizes != {experts}):
        raise Malformed(f"has an invalid number of experts: {experts:,}, of which {used:,} are used")
