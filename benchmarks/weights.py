"""Hugging Face weights for the rows that need torch, made by the tests' own maker in a process of their own.

A child's peak memory is never counted below its parent's, so the benchmark itself never imports torch.
"""

import importlib.util
import os
import sys
from pathlib import Path

from benchmarks.measure import Bench, ended_well, run_child

ROOT = Path(__file__).parents[1]
NEEDED = ("torch", "transformers", "accelerate", "bitsandbytes", "gguf", "mistral_common")
MAKERS = {
    "starter": "starter_folder(pathlib.Path(sys.argv[1]))",
    "tiny mistral": "tiny_mistral_folder()",
}


def missing() -> str:
    """Return what the transformers rows lack here, in words; nothing where they can run."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}; 'make bench' installs what the rows need" if absent else ""


def folder(bench: Bench, name: str = "starter") -> Path:
    """Return a model as a folder in bfloat16. Raises RuntimeError where it cannot be made."""
    code = f"import pathlib, sys, tests.weights as w; print(w.{MAKERS[name]})"
    child = run_child([sys.executable, "-c", code, bench.model], os.environ, folder=ROOT)
    if wrong := ended_well([child]):
        raise RuntimeError(f"the weights of the {name}: {wrong}")
    return Path(child.stdout.decode().strip())
