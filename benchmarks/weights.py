"""Hugging Face weights for the rows of the transformers engine, made in a child process.

The kernel never counts a child's peak memory below its parent's, so the benchmark itself never imports torch.
"""

from pathlib import Path

from benchmarks.measure import Bench

NEEDED = ("torch", "transformers", "accelerate", "bitsandbytes", "gguf", "mistral_common")
"""The packages that the engine and `tests/weights.py` import."""


def folder(bench: Bench, name: str = "starter") -> str:
    """Return the folder of a model in bfloat16: `starter` or `tiny mistral`."""
    path: str = bench.call(make, name=name, gguf=str(bench.model)).value
    return path


def make(name: str, gguf: str) -> str:
    """Make the folder if it does not exist."""
    from tests.weights import starter_folder, tiny_mistral_folder  # noqa: PLC0415 - imports torch

    return str(starter_folder(Path(gguf)) if name == "starter" else tiny_mistral_folder())
