"""What a GGUF file says about its model, read from its header in milliseconds, without loading it.

It knows the metadata keys of language models (source: docs/gguf.md in ggml). It refuses to know how the
bytes are laid out (`gguf_walk.py`), where the file came from, and whether the model fits this machine.
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
from hermes_cli.models.gguf_types import FILE_TYPES
from hermes_cli.models.gguf_walk import STRING, Malformed, RawArray, TensorInfo, Value, walk

CONTROL, USER_DEFINED = 3, 4
"""Token types. Source: llama.h, `llama_token_type`."""

MAX_LAYERS = 1 << 16
"""Far more layers, or heads a layer, than any model has: beyond it a file is nonsense."""
KV_ELEMENT_BYTES = 2
"""llama.cpp keeps K and V in 16-bit floats unless told otherwise."""

FETCH_AGAIN = "fetch it again, with 'hermes models pull' or from where it came"

_GUESSED = 1024

# A token that a vocabulary's author added counts as a control token when it is spelled like one: angle or
# square brackets around something with a letter or digit in it and no blank. Runs of blanks, which some
# vocabularies add as well, are ordinary text.
_CONTROL_SPELLING = re.compile(r"<[^\s<>]*\w[^\s<>]*>|\[[^\s\[\]]*\w[^\s\[\]]*\]")


@dataclass(frozen=True)
class GgufHeader:
    """One model file's header. Sizes are bytes; a number that the file does not give is 0, a text empty."""

    path: Path
    file_size: int
    version: int
    metadata: dict[str, Value] = field(repr=False)
    tensors: tuple[TensorInfo, ...] = field(repr=False)

    @property
    def architecture(self) -> str:
        """The family that llama.cpp builds, such as `llama`."""
        return self._text("general.architecture")

    @property
    def name(self) -> str:
        """What the model calls itself."""
        return self._text("general.name")

    @property
    def context_length(self) -> int:
        """The context in tokens that the model was trained for."""
        return self._number("context_length")

    @property
    def block_count(self) -> int:
        """How many layers the model has."""
        return self._number("block_count")

    @property
    def embedding_length(self) -> int:
        """The width of the residual stream."""
        return self._number("embedding_length")

    @property
    def head_count(self) -> int:
        """Query heads a layer; where layers differ, the most."""
        return max(self._per_layer("attention.head_count"), default=0)

    @property
    def head_count_kv(self) -> int:
        """Key and value heads a layer; where layers differ, the most."""
        return max(self._heads_kv, default=0)

    @property
    def key_length(self) -> int:
        """The width of one key head: as given, or the embedding's share of a query head."""
        return self._number("attention.key_length") or self._head_width

    @property
    def value_length(self) -> int:
        """The width of one value head: as given, or the embedding's share of a query head."""
        return self._number("attention.value_length") or self._head_width

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of KV cache that one token takes over all layers, with K and V in 16 bits.

        Sliding windows are not counted off, so it is an upper bound.
        """
        return sum(self._heads_kv) * (self.key_length + self.value_length) * KV_ELEMENT_BYTES

    @cached_property
    def file_type(self) -> str:
        """The quantisation as its makers name it, such as `Q4_K_M`.

        Where the file does not say, the type that most of its bytes have.
        """
        given = self.metadata.get("general.file_type")
        if isinstance(given, int) and not isinstance(given, bool) and given & ~_GUESSED in FILE_TYPES:
            return FILE_TYPES[given & ~_GUESSED]
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            sizes[tensor.type_name] = sizes.get(tensor.type_name, 0) + tensor.size
        return max(sizes, key=lambda name: sizes[name], default="")

    @property
    def tensor_count(self) -> int:
        """How many tensors the file holds; 0 for a bare vocabulary."""
        return len(self.tensors)

    @cached_property
    def parameter_count(self) -> int:
        """How many weights the tensors hold together."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def split_count(self) -> int:
        """Into how many files the model was split; 1 where it was not."""
        count = self.metadata.get("split.count", 1)
        return count if isinstance(count, int) and count > 1 else 1

    @property
    def chat_template(self) -> str | None:
        """The Jinja template for prompts, or None. hermes runs none; it tells what the model expects."""
        return self._text("tokenizer.chat_template") or None

    @property
    def tokenizer_model(self) -> str:
        """`gpt2` for a byte-level BPE, `llama` for SentencePiece."""
        return self._text("tokenizer.ggml.model")

    @property
    def tokenizer_pre(self) -> str:
        """Which pre-tokeniser splits the text first."""
        return self._text("tokenizer.ggml.pre")

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text, or None."""
        return self._token_id("bos")

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text, or None."""
        return self._token_id("eos")

    @property
    def tokens(self) -> list[str]:
        """The vocabulary in the order of its ids, each token in the tokenizer's own spelling."""
        array = self.metadata.get("tokenizer.ggml.tokens")
        return array.strings if isinstance(array, RawArray) else []

    @property
    def token_types(self) -> list[int]:
        """One `llama_token_type` a token; empty where the file gives none."""
        array = self.metadata.get("tokenizer.ggml.token_type")
        return array.integers if isinstance(array, RawArray) else []

    @cached_property
    def control_tokens(self) -> dict[str, int]:
        """Spelling to id of every token that steers the model and that a text must never become.

        All of type CONTROL; those of type USER_DEFINED that are spelled in angle or square brackets; and
        ChatML's two, of whatever type: older converters wrote them as ordinary tokens.
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
        return isinstance(array, RawArray) and array.holds(IM_START) and array.holds(IM_END)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that are the same for two files exactly when they split text into the same ids."""
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

    def _token_id(self, which: str) -> int | None:
        value = self.metadata.get(f"tokenizer.ggml.{which}_token_id")
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_header(path: Path) -> GgufHeader:
    """Return the header of the GGUF file at `path`, and make sure that the file is whole.

    Raises ModelUnavailable where there is no such file, where it cannot be read, where it is no GGUF file
    of version 2 or 3, and where it is shorter than its tensors.
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
            f"{path} is cut short: it has {size:,} bytes of {raw.expected_size:,}", FETCH_AGAIN
        )
    return GgufHeader(path, size, raw.version, raw.metadata, raw.tensors)


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelUnavailable(f"{path} is a folder, not a .gguf file", "name a file in it")
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
            f"there is no file {path}", "'hermes models list' shows what is here"
        ) from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise ModelUnavailable(f"{path} cannot be read: {reason}") from None


def _check_types(metadata: dict[str, Value]) -> None:
    """Refuse the few keys that everything else stands on where they are of a wrong type."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise Malformed("does not say which architecture its model has")
    for key, limit in (
        ("context_length", 1 << 32),
        ("block_count", MAX_LAYERS),
        ("embedding_length", 1 << 32),
    ):
        value = metadata.get(f"{architecture}.{key}", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
            raise Malformed(f"gives no usable number for {key}")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is not None and not (isinstance(tokens, RawArray) and tokens.item_type == STRING):
        raise Malformed("holds a vocabulary that is no list of texts")
