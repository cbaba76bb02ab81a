"""The rows of a GPU. One model is on the GPU at a time, and its sides are measured in alternation.

gpu-decode: greedy decoding in bfloat16 after prompts of 16 and of 4,000 tokens. Peers: `generate`, and
`generate` with a static cache, which compiles on a GPU. A third line compares the rate at which weights and
keys are read with the bandwidth of a copy on the same GPU.
gpu-decode-4bit: the same in NF4. Peers: `generate` with the same bitsandbytes layers, and hermes' own
bfloat16, measured minutes before.
gpu-first-token: the additional time to the first token of hermes' very first answer, compared with later
ones. Peer: the cost of compilation in `generate`. hermes runs first, and so pays for everything that both
load. hermes records its step after the first token; that single pause has a separate line.
gpu-load-4bit: seconds to load the shape and quantize it while loading, over loading weights saved in 4 bits.

Gates: on a small model in float32 (4 bits: NF4 computed in float32), past its sliding window, hermes' ids are
those of `generate`; every run of hermes gives the same ids; and both ways of loading give the same logits.
The ids of the random 7B in bfloat16 are not a gate, since its logits differ by less than the rounding error.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.model import SEVEN_B, SMALL, bytes_per_token, copy_bandwidth, plan_for, random_model, save
from benchmarks.gpu.sides import Decoded, GenerateSide, HermesSide, profile_table
from benchmarks.measure import Repeats, interleave
from benchmarks.process import difference
from benchmarks.report import Goal, Line
from hermes_cli.engines.transformers.faults import freed_memory
from hermes_cli.engines.transformers.loading import load_model
from hermes_cli.engines.transformers.quantize import quantise

OVER_EAGER, OVER_COMPILED, OVER_COPY = Goal("≥", 5), Goal("≥", 1.15), Goal("≥", 0.72)
OVER_16_BIT, OVER_QUANTIZING, UNDER_COMPILING = Goal("≥", 1.7), Goal("≥", 5), Goal("≤", 0.1)
GATE_TOKENS = 96
"""Past the small model's window of 64."""
ROOM = 1.5
"""Disk space needed, as a multiple of the 16-bit weights: these weights, and the 4-bit ones."""
Sides = Mapping[str, Callable[[list[int], int], Decoded]]


@dataclass(frozen=True, slots=True)
class Run:
    """The settings of the rows: device, sizes, repeats, and a scratch folder that is deleted afterwards."""

    device: torch.device
    sizes: dict[str, Any]
    contexts: tuple[int, int]
    copied: int
    scratch: Path
    profiled: bool
    repeats: int
    tokens: int
    patience_s: float

    @property
    def layers(self) -> int:
        """The number of layers of the model."""
        return int(self.sizes["num_hidden_layers"])


def new_run(device: torch.device, layers: int | None, scratch: Path, *, quick: bool, profiled: bool) -> Run:
    """Return the run for a GPU, or, on the CPU, the dry run of a small shape."""
    sizes, contexts, copied = (SEVEN_B, (16, 4000), 1 << 30)
    if device.type == "cpu":
        sizes, contexts, copied = (SMALL, (16, 48), 1 << 22)
    sizes = {**sizes, "num_hidden_layers": layers or sizes["num_hidden_layers"]}
    repeats, tokens, patience_s = (2, 8, 0.0) if quick else (5, 64, 2.0)
    return Run(device, sizes, contexts, copied, scratch, profiled, repeats, tokens, patience_s)


def measure(run: Run) -> list[Line]:
    """Measure all rows and return their lines."""
    model = random_model(run.sizes, run.device, torch.bfloat16)
    lines, own_speed = _16_bit(run, model)
    size = sum(p.nbytes for p in model.parameters())
    folder = run.scratch / "random-16bit"
    if fits := shutil.disk_usage(run.scratch).free > ROOM * size:
        save(model, folder)
    del model
    freed_memory(run.device)
    if not fits:
        reason = f"{run.scratch} has no room for {ROOM * size / 1e9:.0f} GB of weights; see --scratch"
        rows = ("gpu-decode-4bit", "gpu-load-4bit")
        return [*lines, *(Line(row, "", 0, 0, skipped=reason, row=row) for row in rows)]
    load, saved = _load_4bit(run, folder)
    return [*lines, *_decode_4bit(run, saved, own_speed), load]


def _16_bit(run: Run, model: Any) -> tuple[list[Line], float]:
    """Return the lines of gpu-decode and gpu-first-token, and hermes' speed after the short prompt."""
    ids_wrong = ids_fault(run, "")
    copied = copy_bandwidth(run.device, run.copied) / 1e9
    sides: Sides = {
        "hermes": HermesSide(model, run.device, max(run.contexts) + run.tokens),
        "generate": GenerateSide(model, run.device),
        "static cache + compile": GenerateSide(model, run.device, cache_implementation="static"),
    }
    decode, first, speeds = list[Line](), list[Line](), []
    for context in run.contexts:
        prompt, after = _prompt(context), f"after {context:,} tokens"
        cold = {side: sides[side](prompt, run.tokens) for side in ("hermes", "static cache + compile")}
        runs = _repeats(run, prompt, sides)
        wrong = ids_wrong or unsteady(runs)
        speeds.append(runs.median("hermes", lambda d: d.speed))
        read = speeds[-1] * bytes_per_token(model, context + run.tokens // 2) / 1e9
        what = f"decode, bf16, {after}{_slower(runs)}, beside"
        decode += [
            *(_speed_line(runs, what, peer, goal, wrong) for peer, goal in _peer_goals()),
            Line(f"{what} a copy on the GPU", "GB/s", read, copied, OVER_COPY, wrong),
        ]
        first += _first_token(after, cold, runs, wrong)
    return [replace(one, row="gpu-decode") for one in decode] + first, speeds[0]


def _peer_goals() -> list[tuple[str, Goal]]:
    return [("generate", OVER_EAGER), ("static cache + compile", OVER_COMPILED)]


def _speed_line(runs: Repeats[Decoded], what: str, peer: str, goal: Goal, wrong: str) -> Line:
    return runs.line(f"{what} {peer}", "tok/s", lambda d: d.speed, ("hermes", peer), goal=goal, wrong=wrong)


def _first_token(after: str, cold: dict[str, Decoded], runs: Repeats[Decoded], wrong: str) -> list[Line]:
    warm = {side: runs.median(side, lambda d: d.first_s) for side in cold}
    later = [cold[side].first_s - warm[side] for side in cold]
    pauses = cold["hermes"].longest_s, runs.median("hermes", lambda d: d.longest_s)
    what = f"additional time to the first token, {after}, beside static cache + compile"
    pause = f"the longest pause in the first answer, beside one in a later answer, {after}"
    detail = {"cold": {side: one.first_s for side, one in cold.items()}, "warm": warm}
    row = "gpu-first-token"
    return [
        Line(what, "s", *later, UNDER_COMPILING, wrong, detail, row=row),
        Line(pause, "s", *pauses, None, wrong, row=row),
    ]


def _slower(runs: Repeats[Decoded]) -> str:
    """Return the reason if hermes did not decode ahead, in which case the row measures another code path."""
    reasons = {one.slower for one in runs.results["hermes"]} - {""}
    return f" (a step at a time: {'; '.join(sorted(reasons))})" if reasons else ""


def _decode_4bit(run: Run, saved: Path, own_speed: float) -> list[Line]:
    wrong = ids_fault(run, "nf4")
    model, device = load_model(plan_for(saved, run.device, "bfloat16"))
    peer = "bitsandbytes through generate"
    limit = max(run.contexts) + run.tokens
    sides: Sides = {"hermes": HermesSide(model, device, limit), peer: GenerateSide(model, device)}
    prompt = _prompt(run.contexts[0])
    runs = _repeats(run, prompt, sides)
    wrong = wrong or unsteady(runs)
    what = f"decode, NF4, after {len(prompt)} tokens{_slower(runs)}, beside"
    line = _speed_line(runs, what, peer, OVER_EAGER, wrong)
    own = Line(f"{what} hermes in bf16", "tok/s", line.hermes, own_speed, OVER_16_BIT, wrong)
    return [replace(one, row="gpu-decode-4bit") for one in (line, own)]


def _load_4bit(run: Run, folder: Path) -> tuple[Line, Path]:
    """Return the line, and the folder with the 4-bit weights that were made for it."""
    quantizing = plan_for(folder, run.device, "bfloat16", "nf4")
    saved = run.scratch / "random-4bit"
    quantise(quantizing, saved)
    plans = {"quantized": quantizing, "saved": plan_for(saved, run.device, "bfloat16")}
    sides = {side: partial(_load, plan) for side, plan in plans.items()}
    runs = interleave(sides, run.repeats, run.patience_s)
    logits = [loaded[1] for loaded in runs.all]
    wrong = "" if all(torch.equal(logits[0], one) for one in logits) else "the two have other logits"
    what = "load: quantized while loading, over saved in 4 bits"
    line = runs.line(what, "s", lambda one: one[0], (*sides,), goal=OVER_QUANTIZING, wrong=wrong)
    return replace(line, row="gpu-load-4bit"), saved


def _load(plan: Any) -> tuple[float, torch.Tensor]:
    """Load a model and return the seconds and the logits of a fixed prompt."""
    began = time.perf_counter()
    model, device = load_model(plan)
    seconds = time.perf_counter() - began
    with torch.inference_mode():
        logits = model(torch.tensor([_prompt(8)], device=device)).logits[0].float().cpu()
    del model
    freed_memory(device)
    return seconds, logits


def _repeats(run: Run, prompt: list[int], sides: Sides) -> Repeats[Decoded]:
    tasks = {name: partial(side, prompt, run.tokens) for name, side in sides.items()}
    runs = interleave(tasks, run.repeats, run.patience_s)
    if run.profiled:  # after the measurement, because profiling costs time
        print(f"\nhermes, {run.tokens} tokens after {len(prompt):,}:")
        print(profile_table(tasks["hermes"]), flush=True)
    return runs


def _prompt(length: int) -> list[int]:
    return [1 + (7919 * place) % 31_000 for place in range(length)]


def unsteady(runs: Repeats[Decoded]) -> str:
    """Return an error text if hermes did not always give the same ids."""
    ids = [decoded.ids for decoded in runs.results["hermes"]]
    return difference("list of ids", ids[0], ids)


def ids_fault(run: Run, quantization: str) -> str:
    """Return an error text if hermes' ids are not those of `generate` on a small model in float32."""
    folder = run.scratch / f"small-{quantization or 'float32'}"
    save(random_model(SMALL, run.device, torch.float32), folder)
    model, device = load_model(plan_for(folder, run.device, "float32", quantization))
    prompt = _prompt(24)
    expected = GenerateSide(model, device)(prompt, GATE_TOKENS).ids
    return difference("list of ids", expected, [HermesSide(model, device, 256)(prompt, GATE_TOKENS).ids])
