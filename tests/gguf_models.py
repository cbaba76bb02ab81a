"""Write a tiny GGUF: a Llama of random weights with OpenHermes 2's own vocabulary, for llama.cpp to load.

Its answers are nonsense; its tokenizer is llama.cpp's real SentencePiece code on the real 32,000 tokens,
which no small model on the package index has.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.vocab import CONTROL, IM_END, IM_START, mistral_pieces

LAYERS, WIDTH, HEADS, KV_HEADS, HIDDEN, CONTEXT = 2, 32, 4, 2, 64, 2048


def write_openhermes_gguf(
    path: Path,
    *,
    chatml_type: int = CONTROL,
    add_space_prefix: bool | None = None,
    seed: int = 0,
    heads: int = HEADS,
    changes: Mapping[str, Any] | None = None,
    successors: Mapping[int, int] | None = None,
) -> Path:
    """Write the model and return its path. `changes` are values of the metadata by key; None removes a key.

    The most likely token after each key of `successors` is its value.

    `chatml_type` is the type of the two ChatML tokens: CONTROL, or USER_DEFINED as older converters wrote.
    If `add_space_prefix` is None, the key is left out as in the files of OpenHermes 2, and llama.cpp adds
    a space.
    """
    import gguf

    writer: Any = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny openhermes")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(heads)
    writer.add_head_count_kv(min(heads, KV_HEADS))
    writer.add_rope_dimension_count(WIDTH // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_vocabulary(writer, chatml_type)
    if add_space_prefix is not None:
        writer.add_add_space_prefix(add_space_prefix)
    values = writer.kv_data[0]
    for key, value in (changes or {}).items():
        values.pop(key, None)
        if value is not None:
            values[key] = gguf.GGUFValue(value, _value_type(value))
    tensors = _tensors(seed, heads)
    if successors is not None:
        tensors |= _chain(tensors, successors)
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _value_type(value: Any) -> Any:
    import gguf

    if isinstance(value, list):
        return gguf.GGUFValueType.ARRAY
    is_unsigned = isinstance(value, int) and not isinstance(value, bool)
    return gguf.GGUFValueType.UINT32 if is_unsigned else gguf.GGUFValueType.get_type(value)


def _add_vocabulary(writer: Any, chatml_type: int) -> None:
    pieces = [*mistral_pieces(), (IM_END, -1000.0, chatml_type), (IM_START, -1000.0, chatml_type)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece for piece, _, _ in pieces])
    writer.add_token_scores([score for _, score, _ in pieces])
    writer.add_token_types([kind for _, _, kind in pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(32000)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(value=True)
    writer.add_add_eos_token(value=False)


def _chain(tensors: Mapping[str, Any], successors: Mapping[int, int]) -> dict[str, Any]:
    """Return the tensors of a model whose blocks add nothing, so that only the last token counts."""
    import numpy as np

    vocabulary, width = tensors["token_embd"].shape
    embeddings, output = chain_matrices(vocabulary, width, successors)
    blocks = {name: np.zeros_like(tensor) for name, tensor in tensors.items() if name.endswith("_output")}
    blocks |= {name: np.zeros_like(tensor) for name, tensor in tensors.items() if name.endswith("ffn_down")}
    return {**blocks, "token_embd": embeddings, "output": output}


def chain_matrices(vocabulary: int, width: int, successors: Mapping[int, int]) -> tuple[Any, Any]:
    """Return embeddings and an output matrix with which each key of `successors` is followed by its value.

    The embeddings are random signs, so that the product of two different ones is small.
    """
    import numpy as np

    signs = np.random.default_rng(1).choice([-1.0, 1.0], (vocabulary, width)).astype(np.float32)
    output = np.zeros((vocabulary, width), np.float32)
    for token, successor in successors.items():
        output[successor] += signs[token]
    return signs, output


def _tensors(seed: int, heads: int) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(seed)
    kv = WIDTH // heads * min(heads, KV_HEADS)
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (32002, WIDTH), "output": (32002, WIDTH)}
    norms = {"output_norm": (WIDTH,)}
    for i in range(LAYERS):
        norms |= {f"blk.{i}.attn_norm": (WIDTH,), f"blk.{i}.ffn_norm": (WIDTH,)}
        shapes |= {
            f"blk.{i}.attn_q": (WIDTH, WIDTH),
            f"blk.{i}.attn_k": (kv, WIDTH),
            f"blk.{i}.attn_v": (kv, WIDTH),
            f"blk.{i}.attn_output": (WIDTH, WIDTH),
            f"blk.{i}.ffn_gate": (HIDDEN, WIDTH),
            f"blk.{i}.ffn_up": (HIDDEN, WIDTH),
            f"blk.{i}.ffn_down": (WIDTH, HIDDEN),
        }
    tensors = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    return tensors | {name: np.ones(shape, np.float32) for name, shape in norms.items()}
