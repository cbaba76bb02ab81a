"""Hugging Face weights for the rows that need torch, made in a child process by the tests' `weights` module.

The kernel never counts a child's peak memory below its parent's, so the benchmark itself never imports torch.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Bench, ended_well, run_child

ROOT = Path(__file__).parents[1]
NEEDED = ("torch", "transformers", "accelerate", "bitsandbytes", "gguf", "mistral_common")
"""The packages that the engine and `tests/weights.py` import."""
MAKERS = {
    "starter": "starter_folder(pathlib.Path(sys.argv[1]))",
    "tiny mistral": "tiny_mistral_folder()",
}


def missing(needed: Sequence[str] = NEEDED) -> str:
    """Return a text that names the missing packages, or an empty string if all are installed."""
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}; 'make bench' installs what the rows need" if absent else ""


def folder(bench: Bench, name: str = "starter") -> Path:
    """Return the folder of a model in bfloat16. Raises RuntimeError if it cannot be made."""
    code = f"import pathlib, sys, tests.weights as w; print(w.{MAKERS[name]})"
    child = run_child([sys.executable, "-c", code, bench.model], os.environ, folder=ROOT)
    if wrong := ended_well([child]):
        raise RuntimeError(f"the weights of the {name}: {wrong}")
    return Path(child.stdout.decode().strip())
