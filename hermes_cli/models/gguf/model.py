"""The properties of a model in a GGUF file, read from its header in milliseconds, without loading the model.

The metadata keys are those of docs/gguf.md in ggml. `header.py` parses the bytes.
"""

import contextlib
import hashlib
import mmap
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hermes_cli.chatml import IM_END, IM_START
from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.gguf.header import STRING, Malformed, RawArray, TensorInfo, Value, walk
from hermes_cli.models.gguf.types import FILE_TYPES
from hermes_cli.models.units import KV_ELEMENT_BYTES

CONTROL, USER_DEFINED = 3, 4
"""Token types. Source: llama.h, `llama_token_type`."""

MAX_LAYERS = 1 << 16
"""The limit of layers, and of heads in a layer. No model comes near it, so a larger number is an error."""

_LAYER_TENSOR = re.compile(r"blk\.(\d{1,5})\.")

FETCH_AGAIN = "download it again, with 'hermes models pull' or from its source"

_GUESSED = 1024

# A user-defined token counts as a control token if it is spelled like one: angle or square brackets around a
# text without blanks that has a letter or digit. Other user-defined tokens, such as runs of blanks, are
# ordinary text.
_CONTROL_SPELLING = re.compile(r"<[^\s<>]*\w[^\s<>]*>|\[[^\s\[\]]*\w[^\s\[\]]*\]")


@dataclass(frozen=True)
class GgufHeader:
    """The header of a model file. Sizes are bytes; a missing number is 0, a missing text is empty."""

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
    def context_length(self) -> int:
        """The context length in tokens that the model was trained with."""
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
        """The number of query heads in a layer; if layers differ, the maximum."""
        return max(self._per_layer("attention.head_count"), default=0)

    @property
    def key_length(self) -> int:
        """The width of a key head. Without an explicit value, the embedding length divided by the heads."""
        return self._number("attention.key_length") or self._head_width

    @property
    def value_length(self) -> int:
        """The width of a value head. Without an explicit value, the embedding length divided by the heads."""
        return self._number("attention.value_length") or self._head_width

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of KV cache for one token over all layers, with K and V in 16 bits.

        It is an upper bound, because sliding windows are ignored.
        """
        return sum(self._heads_kv) * (self.key_length + self.value_length) * KV_ELEMENT_BYTES

    @cached_property
    def layer_bytes(self) -> tuple[int, ...]:
        """The bytes of the weights in each layer, in order."""
        sizes = [0] * self.block_count
        for tensor in self.tensors:
            match = _LAYER_TENSOR.match(tensor.name)
            if match and int(match[1]) < len(sizes):
                sizes[int(match[1])] += tensor.size
        return tuple(sizes)

    @property
    def output_bytes(self) -> int:
        """The bytes of the output layer. Without an own matrix it is a copy of the embeddings."""
        sizes = {tensor.name: tensor.size for tensor in self.tensors}
        head = sizes.get("output.weight") or sizes.get("token_embd.weight", 0)
        return head + sizes.get("output_norm.weight", 0)

    @cached_property
    def file_type(self) -> str:
        """The name of the quantization, such as `Q4_K_M`.

        If the metadata has none, it is the tensor type with the most bytes.
        """
        given = self.metadata.get("general.file_type")
        if isinstance(given, int) and not isinstance(given, bool) and given & ~_GUESSED in FILE_TYPES:
            return FILE_TYPES[given & ~_GUESSED]
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
        """The number of files that the model is split into; 1 if it is not split."""
        count = self.metadata.get("split.count", 1)
        return count if isinstance(count, int) and count > 1 else 1

    @property
    def tokenizer_model(self) -> str:
        """`gpt2` for a byte-level BPE, `llama` for SentencePiece."""
        return self._text("tokenizer.ggml.model")

    @property
    def tokenizer_pre(self) -> str:
        """The name of the pre-tokenizer."""
        return self._text("tokenizer.ggml.pre")

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of its ids, each token in the tokenizer's spelling."""
        array = self.metadata.get("tokenizer.ggml.tokens")
        return array.strings if isinstance(array, RawArray) else []

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens."""
        array = self.metadata.get("tokenizer.ggml.tokens")
        return array.count if isinstance(array, RawArray) else 0

    @property
    def token_types(self) -> list[int]:
        """The `llama_token_type` of each token; empty if the file has none."""
        array = self.metadata.get("tokenizer.ggml.token_type")
        return array.integers if isinstance(array, RawArray) else []

    @cached_property
    def control_tokens(self) -> dict[str, int]:
        """The spelling and id of every control token. User text must never be tokenized to one of them.

        These are all tokens of type CONTROL, tokens of type USER_DEFINED that are spelled in angle or square
        brackets, and ChatML's two tokens of any type, because older converters wrote them as ordinary tokens.
        """
        types = self.token_types
        found: dict[str, int] = {}
        for index, token in enumerate(self.tokens):
            kind = types[index] if index < len(types) else 0
            added = kind == USER_DEFINED and _CONTROL_SPELLING.fullmatch(token)
            if token and (kind == CONTROL or added or token in (IM_START, IM_END)):
                found.setdefault(token, index)
        return found

    @property
    def is_chatml(self) -> bool:
        """Whether the vocabulary has both ChatML tokens."""
        array = self.metadata.get("tokenizer.ggml.tokens")
        return isinstance(array, RawArray) and array.contains(IM_START) and array.contains(IM_END)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits, equal for two files exactly if they tokenize text to the same ids."""
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
    or is shorter than its tensors.
    """
    with _mapped(path) as data:
        size = len(data)
        try:
            raw = walk(data)
            _check_types(raw.metadata)
        except Malformed as problem:
            raise ModelUnavailable(f"{path} {problem}", FETCH_AGAIN) from None
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
        raise ModelUnavailable(f"{path} cannot be read: {reason}") from None


def _check_types(metadata: dict[str, Value]) -> None:
    """Raise Malformed if one of the required keys is missing or has the wrong type."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise Malformed("does not name the architecture of its model")
    for key, limit in (
        ("context_length", 1 << 32),
        ("block_count", MAX_LAYERS),
        ("embedding_length", 1 << 32),
    ):
        value = metadata.get(f"{architecture}.{key}", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
            raise Malformed(f"has an invalid value for {key}")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is not None and not (isinstance(tokens, RawArray) and tokens.item_type == STRING):
        raise Malformed("has a vocabulary that is not a list of strings")
