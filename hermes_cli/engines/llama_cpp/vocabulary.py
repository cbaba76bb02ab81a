"""Loads the tokenizer of a GGUF model without its weights, for counting and showing tokens.

Only llama.cpp implements all GGUF tokenizers, and it cannot load a tokenizer without weights. This module
therefore writes a GGUF file with the real tokenizer and one layer of zeros: a sparse file of a few megabytes.
"""

import dataclasses
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.engines.llama_cpp.settings import DEBUG, ERRORS, LlamaSettings
from hermes_cli.models.gguf.header import ARRAY, STRING, RawArray, Value
from hermes_cli.models.gguf.model import GgufHeader
from hermes_cli.prompts.format_choice import FormatChoice

WIDTH = 32
ALIGNMENT = 32
CONTEXT = 256
F32, UINT32, FLOAT32, BOOL = 0, 4, 6, 7
"""ggml and GGUF type numbers. Source: docs/gguf.md in ggml."""


@contextmanager
def vocabulary_engine(
    header: GgufHeader,
    log: Callable[[str], None] | None = None,
    prompt_format: FormatChoice | None = None,
) -> Iterator[LlamaCppEngine]:
    """Yield an engine that tokenizes prompts like the model's engine. Its answers are meaningless.

    `log` is called with each line of llama.cpp's log. `prompt_format` is the format of the prompts; None is
    the automatic choice.
    """
    with tempfile.TemporaryDirectory(prefix="hermes-") as folder:
        path = Path(folder) / "vocabulary.gguf"
        write_vocabulary(header, path)
        header = dataclasses.replace(header, path=path)
        settings = LlamaSettings(str(path), CONTEXT, 1, verbosity=DEBUG if log else ERRORS)
        engine = LlamaCppEngine(header, settings, name=header.name, log=log, prompt_format=prompt_format)
        try:
            yield engine
        finally:
            engine.close()


def write_vocabulary(header: GgufHeader, path: Path) -> None:
    """Write a GGUF file with the tokenizer of `header` and weights that are all zero."""
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": WIDTH,
        "llama.attention.head_count": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH,
    }
    metadata |= {key: value for key, value in header.metadata.items() if key.startswith("tokenizer.")}
    square = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes = {"token_embd": (WIDTH, len(header.tokens)), "output_norm": (WIDTH,)}
    shapes |= {f"blk.0.{name}": (WIDTH, WIDTH) for name in square}
    shapes |= {f"blk.0.{name}": (WIDTH,) for name in ("attn_norm", "ffn_norm")}
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(shapes), len(metadata)))
        for key, value in metadata.items():
            file.write(_string(key) + _value(value))
        offset = 0
        for name, shape in shapes.items():
            file.write(_string(f"{name}.weight") + struct.pack("<I", len(shape)))
            file.write(struct.pack(f"<{len(shape)}QIQ", *shape, F32, offset))
            offset += 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)  # a multiple of the alignment
        file.truncate(-(-file.tell() // ALIGNMENT) * ALIGNMENT + offset)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> bytes:
    if isinstance(value, RawArray):
        return struct.pack("<IIQ", ARRAY, value.item_type, value.count) + value.raw
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, bool):
        return struct.pack("<IB", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value & 0xFFFFFFFF)
    return struct.pack("<If", FLOAT32, value)
