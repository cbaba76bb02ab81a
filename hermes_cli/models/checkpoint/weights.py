"""Finds the weight files in a folder, checks that they are complete, and counts the parameters.

Only the headers of safetensors files are read. The parameters of pickled weights (.bin) are estimated from
the file size, because unpickling can run code. File names are tried in the same order as in transformers.
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from hermes_cli.errors import ModelUnavailable, access_hint
from hermes_cli.models.checkpoint.config import Config, Quantization
from hermes_cli.models.checkpoint.json_file import read_object
from hermes_cli.models.checkpoint.safetensors import Tensor, read_header
from hermes_cli.models.gguf.model import FETCH_AGAIN

SAFETENSORS: Final = "model.safetensors"
PICKLE: Final = "pytorch_model.bin"
INDEX: Final = ".index.json"
MAX_SHARDS: Final = 2048
_SHARD = re.compile(r"[\w][\w.-]{0,200}\.(safetensors|bin)")
_IN_A_BLOCK = re.compile(r"(?:^|\.)(?:layers|h|blocks?)\.(\d+)\.")
_DTYPES: Final = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_SIZES: Final = {"bfloat16": 2, "float16": 2, "float32": 4}
_PACKED: Final = ("qweight", "weight_packed")


class Weights(NamedTuple):
    """The weights of a model. Sizes are in bytes.

    `linear_parameters` is the number of parameters in the blocks' weight matrices. bitsandbytes quantizes
    these, but not the embeddings, the head or the norms. `dtype` is the type of most of the data, or empty.
    """

    files: tuple[Path, ...]
    file_bytes: int
    stored_bytes: int
    parameters: int
    linear_parameters: int
    dtype: str
    is_pickled: bool


def read_weights(folder: Path, config: Config) -> Weights:
    """Read the weights in a folder. Raises ModelUnavailable if they are missing or incomplete."""
    try:
        for name, read in ((SAFETENSORS, _safetensors), (PICKLE, _pickled)):
            if os.path.lexists(folder / name):  # a broken link is an incomplete download
                return read((folder / name,), {}, config)
            if (folder / f"{name}{INDEX}").exists():
                return read(*_shards(folder / f"{name}{INDEX}"), config)
    except OSError as problem:
        hint = access_hint(problem, FETCH_AGAIN)
        raise ModelUnavailable(f"its weights cannot be read: {problem.strerror}", hint) from None
    raise ModelUnavailable(f"it has a config.json but no weights ({SAFETENSORS} or {PICKLE})", FETCH_AGAIN)


def _shards(index: Path) -> tuple[tuple[Path, ...], dict[str, str]]:
    """Return the files listed in an index, and a mapping from tensor names to file names."""
    listed = read_object(index).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ModelUnavailable(f"its {index.name} cannot be read: it lists no weights", FETCH_AGAIN)
    file_names = {str(name): str(file) for name, file in listed.items()}
    names = sorted(set(file_names.values()))
    if len(names) > MAX_SHARDS or not all(_SHARD.fullmatch(name) for name in names):
        raise ModelUnavailable(f"its {index.name} lists files that are not weights", FETCH_AGAIN)
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ModelUnavailable(
            f"{len(missing)} of its {len(names)} weight files are missing, such as {missing[0]}", FETCH_AGAIN
        )
    return tuple(index.parent / name for name in names), file_names


def _safetensors(files: tuple[Path, ...], listed: dict[str, str], config: Config) -> Weights:
    headers = {file.name: read_header(file) for file in files}
    existing = {(tensor.name, file) for file, tensors in headers.items() for tensor in tensors}
    missing = sum(1 for pair in listed.items() if pair not in existing)
    if missing:
        raise ModelUnavailable(f"{missing} of its tensors are missing from its weight files", FETCH_AGAIN)
    tensors = [t for part in headers.values() for t in part if not _is_second_copy(t, config)]
    blocks = {found[1] for tensor in tensors if (found := _IN_A_BLOCK.search(tensor.name))}
    if blocks and len(blocks) < config.layers:  # transformers would initialize the missing ones randomly
        raise ModelUnavailable(
            f"its config.json describes {config.layers:,} layers, but its weights have {len(blocks):,}",
            FETCH_AGAIN,
        )
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[_DTYPES.get(tensor.dtype, "")] += tensor.size
    counts = {tensor.name: _parameters(tensor, config.quantization) for tensor in tensors}
    return Weights(
        files=files,
        file_bytes=sum(file.stat().st_size for file in files),
        stored_bytes=sum(tensor.size for tensor in tensors),
        parameters=sum(counts.values()),
        linear_parameters=sum(counts[t.name] for t in tensors if _is_linear(t, config)),
        dtype=max((d for d in sizes if d), key=lambda d: sizes[d], default=""),
        is_pickled=False,
    )


def _is_second_copy(tensor: Tensor, config: Config) -> bool:
    """Return whether a tensor is a copy of the embeddings, saved as the head that is tied to them."""
    return config.tied and tensor.name == "lm_head.weight"


def _parameters(tensor: Tensor, quantization: Quantization | None) -> int:
    """Return the number of parameters in a tensor, or 0 for scales and other quantization data."""
    if quantization is None:
        return tensor.elements
    leaf = tensor.name.rpartition(".")[2]
    if leaf in _PACKED:
        return tensor.size * 8 // quantization.bits
    if leaf == "weight":  # bitsandbytes packs two 4-bit weights into a byte
        return tensor.elements * (2 if tensor.dtype == "U8" else 1)
    return tensor.elements if leaf == "bias" else 0


def _is_linear(tensor: Tensor, config: Config) -> bool:
    """Return whether a tensor is the matrix of a linear layer in a block.

    Experts do not count, because transformers fuses those of a layer into one tensor, which bitsandbytes does
    not quantize.
    """
    if config.has_experts and "expert" in tensor.name:
        return False
    leaf = tensor.name.rpartition(".")[2]
    is_matrix = len(tensor.shape) == 2 and (leaf == "weight" or leaf in _PACKED)  # noqa: PLR2004 - rows, columns
    return is_matrix and _IN_A_BLOCK.search(tensor.name) is not None


def _pickled(files: tuple[Path, ...], _listed: dict[str, str], config: Config) -> Weights:
    """Estimate the weights from file sizes. All but the embeddings and the head count as linear layers."""
    for file in files:
        if not file.is_file() or not _is_whole(file):
            raise ModelUnavailable(f"its {file.name} is truncated", FETCH_AGAIN)
    stored = sum(file.stat().st_size for file in files)
    dtype = config.dtype or "float32"
    count = stored // _SIZES[dtype]
    embeddings = config.vocab_size * config.hidden_size * (1 if config.tied else 2)
    linear = 0 if config.has_experts else max(0, count - embeddings)
    return Weights(files, stored, stored, count, linear, dtype, is_pickled=True)


def _is_whole(file: Path) -> bool:
    """Return whether a pickled file seems complete. A zip file (torch 1.6 and later) ends with an index."""
    with file.open("rb") as stream:
        start = stream.read(2)
    if start != b"PK":
        return bool(start)
    import zipfile

    return zipfile.is_zipfile(file)
