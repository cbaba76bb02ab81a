"""Rows G1 to G4 on a GPU: `python -m benchmarks.gpu`, with `--help` for its flags.

The model is a Mistral 7B with random weights, so nothing is downloaded. `--device cpu` is a dry run with a
small shape, which shows that the rows work but measures nothing useful. Prints the GPU and one table, writes
one JSON file, and exits 1 if a gate failed, or UNAVAILABLE if there is no GPU or its memory is too small.
"""

import argparse
import dataclasses
import datetime as dt
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, report, version
from benchmarks.weights import missing

UNAVAILABLE = 69
"""EX_UNAVAILABLE of sysexits.h, the exit code of hermes itself if something that it needs is missing."""
NEEDED = ("torch", "transformers", "accelerate", "bitsandbytes")
DRY_RUN = "DRY RUN on the CPU with a small shape: these figures say nothing about any card"


def main(arguments: Sequence[str], results: Path = RESULTS) -> int:
    """Measure, write under `results`, and return the exit code."""
    wanted = _parse(arguments)
    if words := refusal(wanted.device):
        return _refuse(words)
    import torch

    from benchmarks.card.rows import measure, new_run

    device = torch.device(wanted.device)
    about = _about(device)
    with tempfile.TemporaryDirectory(prefix="hermes-gpu-", dir=wanted.scratch) as name:
        run = new_run(device, wanted.layers, Path(name), quick=wanted.quick, profiled=wanted.profile)
        about |= {"layers": run.sizes["num_hidden_layers"], "repeats": run.repeats, "tokens": run.tokens}
        print("\n".join(f"{name}: {value}" for name, value in about.items()), end="\n\n", flush=True)
        try:
            lines = measure(run)
        except torch.OutOfMemoryError:
            return _refuse(f"{device} has no room for {about['layers']} layers; --layers N asks for fewer")
    if device.type == "cpu":  # a small shape on a CPU meets or misses goals by chance
        lines = [dataclasses.replace(line, goal=None) for line in lines]
        print(DRY_RUN)
    return report(about, lines, results)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 repeats of 8 tokens, to see that it works")
    parser.add_argument("--profile", action="store_true", help="print where hermes' time goes, by kernel")
    parser.add_argument("--layers", type=int, help="of the model; 32 by default, 2 in a dry run")
    parser.add_argument("--device", default="cuda:0", help="cuda:0 by default; cpu for a dry run")
    parser.add_argument("--scratch", type=Path, help="where 20 GB of weights may lie for the while")
    return parser.parse_args(arguments)


def _refuse(words: str) -> int:
    print(f"benchmarks.gpu: {words}", file=sys.stderr)
    return UNAVAILABLE


def refusal(device: str) -> str:
    """Return the reason why the device cannot be measured, or an empty string if it can."""
    if words := missing(NEEDED):
        return words
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError:
        return f"'{device}' is no device; it can be cuda:0, or cpu for a dry run"
    if wanted.type == "cpu":
        return ""
    if wanted.type != "cuda":
        return f"{device}: the rows G1 to G4 are for CUDA and ROCm cards; --device cpu makes a dry run"
    if not torch.cuda.is_available() or (wanted.index or 0) >= torch.cuda.device_count():
        return (
            f"torch {torch.__version__} sees no {device} here; run it on a machine with a card, "
            "or dry with --device cpu"
        )
    return ""


def _about(device: Any) -> dict[str, Any]:
    """Return the facts that are needed to compare the figures with others."""
    import torch

    about: dict[str, Any] = {"date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        about |= {
            "card": card.name,
            "memory GiB": round(card.total_memory / (1 << 30), 1),
            "compute capability": f"{card.major}.{card.minor}",
            "driver": _driver(),
            "CUDA or ROCm": torch.version.cuda or torch.version.hip,
        }
    else:
        about["card"] = DRY_RUN
    versions = {name: version(name) for name in ("openhermes-cli", *NEEDED)}
    load = os.getloadavg()
    return {**about, "python": platform.python_version(), "load average": load, "versions": versions}


def _driver() -> str:
    path = Path("/sys/module/nvidia/version")
    return path.read_text(encoding="ascii").strip() if path.is_file() else "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
