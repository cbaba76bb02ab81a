"""The rows of a GPU. One model is on the GPU at a time, and its sides are measured in alternation.

gpu-decode: greedy decoding in bfloat16. Peers: `generate`; `generate` with a static cache, which compiles
on a GPU; and for the rate at which weights and keys are read, a copy on the same GPU.
gpu-decode-4bit: the same in NF4. Peers: `generate` with the same bitsandbytes layers; hermes in bfloat16.
gpu-first-token: the additional time to the first token of hermes' very first answer, compared with later
ones. Peer: the cost of compilation in `generate`. hermes runs first, and so pays for everything that both
load. hermes captures its step after the first token; that single pause has a separate line.
gpu-load-4bit: seconds to load and quantize, over loading weights saved in 4 bits.

Gates: on a small model in float32 (4 bits: NF4 computed in float32), past its sliding window, hermes' ids are
those of `generate`; every run of hermes gives the same ids; and both ways of loading give the same logits.
The ids of the random 7B in bfloat16 are not a gate, since its logits differ by less than the rounding error.
"""

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import sides
from benchmarks.gpu.sides import Decoded, Side, generate_side, hermes_side, plan_for
from benchmarks.measure import Repeats, difference, interleave
from benchmarks.report import Goal, Line
from hermes_cli.engines.transformers.loading import load_model
from hermes_cli.engines.transformers.quantize import quantize
from hermes_cli.engines.transformers.torch_errors import free_memory

COMPILED = "static cache + compile"
DECODE_GOALS = {"generate": Goal("≥", 5), COMPILED: Goal("≥", 1.15), "a copy on the GPU": Goal("≥", 0.72)}
DECODE_4BIT_GOALS = {"bitsandbytes through generate": Goal("≥", 5), "hermes in bf16": Goal("≥", 1.7)}
FIRST_TOKEN_GOAL = Goal("≤", 0.1)
LOAD_GOAL = Goal("≥", 5)
GATE_TOKENS = 96
"""Past the small model's window of 64."""
ROOM = 1.5
"""Disk space needed, as a multiple of the 16-bit weights: these weights, and the 4-bit ones."""


@dataclass(frozen=True, slots=True)
class Run:
    """The settings of the rows. The scratch folder is deleted afterwards. The CPU gets a small shape."""

    device: torch.device
    scratch: Path
    profiled: bool
    repeats: int = 5
    tokens: int = 64
    patience_s: float = 2

    @property
    def contexts(self) -> tuple[int, int]:
        return (16, 48) if self.device.type == "cpu" else (16, 4000)


def measure(run: Run) -> list[Line]:
    sizes = sides.SMALL if run.device.type == "cpu" else sides.SEVEN_B
    model = sides.random_model(sizes, run.device, torch.bfloat16)
    lines, own_speed = _16_bit(run, model)
    size = sum(p.nbytes for p in model.parameters())
    folder = run.scratch / "random-16bit"
    if fits := shutil.disk_usage(run.scratch).free > ROOM * size:
        sides.save(model, folder)
    del model
    free_memory(run.device)
    if not fits:
        reason = f"{run.scratch} has no room for {ROOM * size / 1e9:.0f} GB of weights; see --scratch"
        rows = ("gpu-decode-4bit", "gpu-load-4bit")
        return [*lines, *(Line("all", "", 0, 0, skipped=reason, row=row) for row in rows)]
    load, saved = _load_4bit(run, folder)
    return [*lines, *_decode_4bit(run, saved, own_speed), load]


def _16_bit(run: Run, model: Any) -> tuple[list[Line], float]:
    """Return the lines of gpu-decode and gpu-first-token, and hermes' speed after the short prompt."""
    ids_wrong = ids_fault(run, "fp32")
    copied = sides.copy_bandwidth(run.device) / 1e9
    tasks = {
        "hermes": hermes_side(model, run.device, max(run.contexts) + run.tokens),
        "generate": generate_side(model, run.device),
        COMPILED: generate_side(model, run.device, cache_implementation="static"),
    }
    decode, first, speeds = list[Line](), list[Line](), []
    for context in run.contexts:
        prompt, after = prompt_ids(context), f"after {context:,} tokens"
        cold = {side: tasks[side](prompt, run.tokens) for side in ("hermes", COMPILED)}
        runs = alternate(run, prompt, tasks)
        wrong = ids_wrong or unsteady(runs)
        speeds.append(runs.median("hermes", lambda d: d.speed))
        read = speeds[-1] * sides.bytes_per_token(model, context + run.tokens // 2) / 1e9
        what = f"decode, bf16, {after}{without_graphs(runs)}, beside"
        lines = [_speed_line(runs, what, peer, wrong) for peer in ("generate", COMPILED)]
        lines.append(Line(f"{what} a copy on the GPU", "GB/s", read, copied, wrong=wrong))
        decode += _with_goals("gpu-decode", lines, DECODE_GOALS)
        first += _first_token(after, cold, runs, wrong)
    return [*decode, *first], speeds[0]


def _speed_line(runs: Repeats[Decoded], what: str, peer: str, wrong: str) -> Line:
    return runs.line(f"{what} {peer}", "tok/s", lambda d: d.speed, ("hermes", peer), wrong=wrong)


def _with_goals(row: str, lines: Iterable[Line], goals: Mapping[str, Goal]) -> list[Line]:
    return [replace(line, row=row, goal=goal) for line, goal in zip(lines, goals.values(), strict=True)]


def _first_token(after: str, cold: dict[str, Decoded], runs: Repeats[Decoded], wrong: str) -> list[Line]:
    hermes, peer = (one.times[0] - runs.median(side, lambda d: d.times[0]) for side, one in cold.items())
    what = f"additional time to the first token, {after}, beside {COMPILED}"
    pause = f"the longest pause in the first answer, beside one in a later answer, {after}"
    pauses = cold["hermes"].longest_s, runs.median("hermes", lambda d: d.longest_s)
    return [
        Line(what, "s", hermes, peer, FIRST_TOKEN_GOAL, wrong, row="gpu-first-token"),
        Line(pause, "s", *pauses, wrong=wrong, row="gpu-first-token"),
    ]


def without_graphs(runs: Repeats[Decoded]) -> str:
    """Return the reason if hermes did not use CUDA graphs, and the row measures other code."""
    reasons = {one.no_graphs_reason for one in runs.results["hermes"]} - {""}
    return f" (a step at a time: {'; '.join(sorted(reasons))})" if reasons else ""


def _decode_4bit(run: Run, saved: Path, own_speed: float) -> list[Line]:
    wrong = ids_fault(run, "4bit")
    model, device = load_model(plan_for(saved, run.device, "bfloat16"))
    peer, own = DECODE_4BIT_GOALS
    hermes = hermes_side(model, device, max(run.contexts) + run.tokens)
    prompt = prompt_ids(run.contexts[0])
    runs = alternate(run, prompt, {"hermes": hermes, peer: generate_side(model, device)})
    what = f"decode, NF4, after {len(prompt)} tokens{without_graphs(runs)}, beside"
    line = _speed_line(runs, what, peer, wrong or unsteady(runs))
    lines = [line, replace(line, measure=f"{what} {own}", peer=own_speed)]
    return _with_goals("gpu-decode-4bit", lines, DECODE_4BIT_GOALS)


def _load_4bit(run: Run, folder: Path) -> tuple[Line, Path]:
    """Return the line, and the folder with the 4-bit weights that were made for it."""
    quantizing = plan_for(folder, run.device, "bfloat16", "4bit")
    saved = run.scratch / "random-4bit"
    quantize(quantizing, saved)
    tasks = {
        "quantized": partial(_load, quantizing),
        "saved": partial(_load, plan_for(saved, run.device, "bfloat16")),
    }
    runs = interleave(tasks, run.repeats, run.patience_s)
    first, *others = (logits for _, logits in runs.all)
    wrong = "" if all(torch.equal(first, one) for one in others) else "the two have other logits"
    what, names = "load: quantized while loading, over saved in 4 bits", ("quantized", "saved")
    line = runs.line(what, "s", lambda loaded: loaded[0], names, goal=LOAD_GOAL, wrong=wrong)
    return replace(line, row="gpu-load-4bit"), saved


def _load(plan: Any) -> tuple[float, torch.Tensor]:
    began = time.perf_counter()
    model, device = load_model(plan)
    seconds = time.perf_counter() - began
    with torch.inference_mode():
        logits = model(torch.tensor([prompt_ids(8)], device=device)).logits[0].float().cpu()
    del model
    free_memory(device)
    return seconds, logits


def alternate(run: Run, prompt: list[int], tasks: Mapping[str, Side]) -> Repeats[Decoded]:
    calls = {name: partial(side, prompt, run.tokens) for name, side in tasks.items()}
    runs = interleave(calls, run.repeats, run.patience_s)
    if run.profiled:  # after the measurement, because profiling costs time
        print(f"\nhermes, {run.tokens} tokens after {len(prompt):,}:")
        print(sides.profile_table(calls["hermes"]), flush=True)
    return runs


def prompt_ids(length: int) -> list[int]:
    return [1 + (7919 * place) % 31_000 for place in range(length)]


def unsteady(runs: Repeats[Decoded]) -> str:
    ids = [decoded.ids for decoded in runs.results["hermes"]]
    return difference("list of ids", ids[0], ids)


def ids_fault(run: Run, precision: str) -> str:
    """Return an error text if hermes' ids are not those of `generate` on a small model in float32."""
    folder = run.scratch / f"small-{precision}"
    sides.save(sides.random_model(sides.SMALL, run.device, torch.float32), folder)
    model, device = load_model(plan_for(folder, run.device, "float32", precision))
    expected = generate_side(model, device)(prompt_ids(24), GATE_TOKENS)
    decoded = hermes_side(model, device, 256)(prompt_ids(24), GATE_TOKENS)
    return difference("list of ids", expected.ids, [decoded.ids])
