"""Measure the rows gpu-… on a GPU: `python -m benchmarks.gpu`, with `--help` for its flags.

The model is a Mistral 7B with random weights. `--device cpu` is a dry run with a small shape. Exits 1 if a
gate failed, or UNAVAILABLE if there is no GPU or its memory is too small.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, environment, missing, report

UNAVAILABLE = 69
"""EX_UNAVAILABLE of sysexits.h, the exit code of hermes itself if something that it needs is missing."""
NEEDED = ("torch", "transformers", "accelerate", "bitsandbytes")
QUICK = (2, 8, 0)
"""Repeats, tokens, and seconds to wait for a quiet machine."""
VARIANTS = (3, 32, 0)
"""The same for --variants, of which there are many."""
DRY_RUN = "DRY RUN on the CPU with a small shape: these figures say nothing about any GPU"


def main(arguments: Sequence[str], results: Path = RESULTS) -> int:
    options = _parse(arguments)
    if reason := unavailable(options.device):
        return _refuse(reason)
    import torch

    from benchmarks.gpu import rows, variants

    measure = variants.measure if options.variants else rows.measure
    settings = QUICK if options.quick else VARIANTS if options.variants else ()
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory(prefix="hermes-gpu-", dir=options.scratch) as name:
        run = rows.Run(device, Path(name), options.profile, *settings)
        about = _about(device) | {"repeats": run.repeats, "tokens": run.tokens}
        print("\n".join(f"{name}: {value}" for name, value in about.items()), end="\n\n", flush=True)
        try:
            lines = measure(run)
        except torch.OutOfMemoryError:
            return _refuse(f"{device} has no room for the model")
    if device.type == "cpu":  # a small shape on a CPU meets or misses goals by chance
        lines = [dataclasses.replace(line, goal=None) for line in lines]
        print(DRY_RUN)
    return report(about, lines, results)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 repeats of 8 tokens, to see that it works")
    parser.add_argument("--variants", action="store_true", help="measure only variants of the decode loop")
    parser.add_argument("--profile", action="store_true", help="print the time of hermes by kernel")
    parser.add_argument("--device", default="cuda:0", help="cuda:0 by default; cpu for a dry run")
    parser.add_argument("--scratch", type=Path, help="a folder with room for 20 GB of temporary weights")
    return parser.parse_args(arguments)


def _refuse(reason: str) -> int:
    print(f"benchmarks.gpu: {reason}", file=sys.stderr)
    return UNAVAILABLE


def unavailable(name: str) -> str:
    if reason := missing(NEEDED):
        return reason
    import torch

    count = torch.cuda.device_count()
    devices = ["cpu", *["cuda"][:count], *(f"cuda:{number}" for number in range(count))]
    return "" if name in devices else f"there is no {name}, only {', '.join(devices)}; cpu makes a dry run"


def _about(device: Any) -> dict[str, Any]:
    import torch

    about = environment(("openhermes-cli", *NEEDED))
    if device.type == "cpu":
        return about | {"GPU": DRY_RUN}
    runtime = torch.version.cuda or torch.version.hip
    return about | {"GPU": torch.cuda.get_device_name(device), "CUDA or ROCm": runtime}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
