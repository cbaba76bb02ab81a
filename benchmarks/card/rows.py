"""Rows G1 to G4. One model is on the GPU at a time, and its sides are measured in alternation.

G1: greedy decoding in bfloat16 after prompts of 16 and of 4,000 tokens. Peers: `generate`, and `generate`
with a static cache, which compiles on a GPU. A third line compares the rate at which weights and keys are
read with the bandwidth of a copy on the same GPU.
G2: the same in NF4. Peers: `generate` with the same bitsandbytes layers, and hermes' own bfloat16, measured
minutes before.
G3: the additional time to the first token of hermes' very first answer, compared with later ones. Peer: the
cost of compilation in `generate`. hermes runs first, and so pays for everything that both load. hermes
records its step after the first token; that single pause has a separate line.
G4: seconds to load the shape and quantize it while loading, over loading weights saved in 4 bits.

Gates: on a small model in float32 (G2: NF4 computed in float32), past its sliding window, hermes' ids are
those of `generate`; every run of hermes gives the same ids; and in G4 both ways of loading give the same
logits. The ids of the random 7B in bfloat16 are not a gate, since its logits differ by less than the rounding
error.
"""

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.card.shape import SEVEN_B, SMALL, bytes_a_token, plan_for, random_model, save
from benchmarks.card.sides import Decoded, GenerateSide, HermesSide, copy_bandwidth, where_the_time_goes
from benchmarks.measure import Goal, Line, Turns, not_measured, same, turns_about
from hermes_cli.engines.transformers.loading import load_model
from hermes_cli.engines.transformers.quantize import quantize
from hermes_cli.engines.transformers.torch_errors import free_memory

PATIENCE_S = 2.0
OVER_EAGER, OVER_COMPILED = Goal(5, at_least=True), Goal(1.15, at_least=True)
OVER_COPY, OVER_OWN, OVER_QUANTISING = (Goal(limit, at_least=True) for limit in (0.72, 1.7, 5))
UNDER_COMPILING = Goal(0.1, at_least=False)
GATE_TOKENS = 96
"""Past the small model's window of 64."""
Sides = dict[str, Callable[[list[int], int], Decoded]]
ROOM = 1.5
"""Disk space needed, as a multiple of the 16-bit weights: these weights, and the 4-bit ones."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """The settings of the rows: device, sizes, repeats, and a scratch folder that is deleted afterwards."""

    device: torch.device
    sizes: dict[str, Any]
    contexts: tuple[int, ...]
    tokens: int
    repeats: int
    scratch: Path
    copied: int
    patience_s: float
    profiled: bool = False

    @property
    def limit(self) -> int:
        """The context size that the longest run needs."""
        return max(self.contexts) + self.tokens


def new_run(device: torch.device, layers: int | None, scratch: Path, *, quick: bool, profiled: bool) -> Run:
    """Return the run for a GPU, or, on the CPU, the dry run of a small shape."""
    dry = device.type == "cpu"
    sizes = dict(SMALL if dry else SEVEN_B)
    sizes["num_hidden_layers"] = layers or sizes["num_hidden_layers"]
    contexts, copied = ((16, 48), 1 << 22) if dry else ((16, 4000), 1 << 30)
    repeats, tokens = (2, 8) if quick else (5, 64)
    patience_s = 0 if quick else PATIENCE_S
    return Run(device, sizes, contexts, tokens, repeats, scratch, copied, patience_s, profiled)


def measure(run: Run) -> list[Line]:
    """Measure all rows and return their lines."""
    model = random_model(run.sizes, run.device, torch.bfloat16)
    lines, own = _g1_and_g3(run, model)
    size = sum(p.nbytes for p in model.parameters())
    folder = run.scratch / "random-16bit"
    if fits := shutil.disk_usage(run.scratch).free > ROOM * size:
        save(model, folder)
    del model
    free_memory(run.device)
    if not fits:
        words = f"{run.scratch} has no room for {ROOM * size / 1e9:.0f} GB of weights; see --scratch"
        return [*lines, not_measured("G2", "decode, NF4", words), not_measured("G4", "4-bit load", words)]
    fourth, saved = _g4(run, folder)
    return [*lines, *_g2(run, saved, own), fourth]


def _g1_and_g3(run: Run, model: Any) -> tuple[list[Line], float]:
    """Return the lines, and hermes' speed after the short prompt."""
    wrong = ids_gate(run, "")
    bandwidth = copy_bandwidth(run.device, run.copied)
    sides: Sides = {
        "hermes": HermesSide(model, run.device, run.limit),
        "eager": GenerateSide(model, run.device),
        "static": GenerateSide(model, run.device, cache_implementation="static"),
    }
    decoding, beginning, speeds = [], [], []
    for context in run.contexts:
        prompt, behind = _prompt(context), f"behind {context:,} tokens"
        cold = {side: sides[side](prompt, run.tokens) for side in ("hermes", "static")}
        turns = _turns(run, prompt, sides)
        bad = wrong or steady(turns)
        ours, theirs, static = (turns.median(side, lambda d: d.speed) for side in sides)
        read = bytes_a_token(model, context + run.tokens // 2)
        gigabytes = (ours * read / 1e9, bandwidth / 1e9)
        detail = turns.record(lambda d: d.speed) | {"bytes a token": read}
        what = f"decode, bf16, {behind}{_slower(turns)}, beside"
        decoding += [
            Line("G1", f"{what} generate", "tok/s", ours, theirs, OVER_EAGER, bad, detail),
            Line("G1", f"{what} static cache + compile", "tok/s", ours, static, OVER_COMPILED, bad),
            Line("G1", f"{what} a copy on the card", "GB/s", *gigabytes, OVER_COPY, bad),
        ]
        beginning += _g3(behind, cold, turns, bad)
        speeds.append(ours)
    return [*decoding, *beginning], speeds[0]


def _g3(behind: str, cold: dict[str, Decoded], turns: Turns[Decoded], wrong: str) -> list[Line]:
    warm = {side: turns.median(side, lambda d: d.first_s) for side in cold}
    hermes, compiling = (cold[side].first_s - warm[side] for side in cold)
    what = f"what the first answer begins later, {behind}, beside static cache + compile"
    detail = {
        "cold": {side: one.first_s for side, one in cold.items()},
        "warm": turns.record(lambda d: d.first_s),
    }
    pause = "the longest pause in the first answer, beside one in a later answer"
    pauses = cold["hermes"].longest_s, turns.median("hermes", lambda d: d.longest_s)
    return [
        Line("G3", what, "s", hermes, compiling, UNDER_COMPILING, wrong, detail),
        Line("G3", f"{pause}, {behind}", "s", *pauses, None, wrong),
    ]


def _slower(turns: Turns[Decoded]) -> str:
    """Return the reason if hermes did not decode ahead, in which case the row measures another code path."""
    reasons = {one.slower for one in turns.results["hermes"]} - {""}
    return f" (a step at a time: {'; '.join(sorted(reasons))})" if reasons else ""


def _g2(run: Run, saved: Path, own: float) -> list[Line]:
    wrong = ids_gate(run, "nf4")
    model, device = load_model(plan_for(saved, run.device, "bfloat16"))
    sides: Sides = {"hermes": HermesSide(model, device, run.limit), "eager": GenerateSide(model, device)}
    prompt = _prompt(run.contexts[0])
    turns = _turns(run, prompt, sides)
    ours, theirs = (turns.median(side, lambda d: d.speed) for side in sides)
    what = f"decode, NF4, behind {len(prompt)} tokens{_slower(turns)}, beside"
    bad = wrong or steady(turns)
    detail = turns.record(lambda d: d.speed)
    return [
        Line("G2", f"{what} bitsandbytes through generate", "tok/s", ours, theirs, OVER_EAGER, bad, detail),
        Line("G2", f"{what} hermes in bf16", "tok/s", ours, own, OVER_OWN, bad),
    ]


def _g4(run: Run, folder: Path) -> tuple[Line, Path]:
    """Return the line, and the folder with the 4-bit weights that were made for it."""
    wished = plan_for(folder, run.device, "bfloat16", "nf4")
    saved = run.scratch / "random-4bit"
    quantize(wished, saved)
    again = plan_for(saved, run.device, "bfloat16")
    sides = {"on the fly": lambda: _loaded(wished), "saved": lambda: _loaded(again)}
    turns = turns_about(sides, run.repeats, patience_s=run.patience_s)
    logits = [result[1] for results in turns.results.values() for result in results]
    wrong = "" if all(torch.equal(logits[0], one) for one in logits) else "the two have other logits"
    slow, fast = (turns.median(side, lambda loaded: loaded[0]) for side in sides)
    what, detail = "load: quantized on the way, over saved in 4 bits", turns.record(lambda loaded: loaded[0])
    return Line("G4", what, "s", slow, fast, OVER_QUANTISING, wrong, detail), saved


def _loaded(plan: Any) -> tuple[float, torch.Tensor]:
    """Load a model and return the seconds and the logits of a fixed prompt."""
    began = time.perf_counter()
    model, device = load_model(plan)
    seconds = time.perf_counter() - began
    with torch.inference_mode():
        logits = model(torch.tensor([_prompt(8)], device=device)).logits[0].float().cpu()
    del model
    free_memory(device)
    return seconds, logits


def _turns(run: Run, prompt: list[int], sides: Sides) -> Turns[Decoded]:
    tasks = {name: (lambda side=side: side(prompt, run.tokens)) for name, side in sides.items()}
    turns = turns_about(tasks, run.repeats, patience_s=run.patience_s)
    if run.profiled:  # after the measurement, because profiling costs time
        print(f"\nhermes, {run.tokens} tokens behind {len(prompt):,}:")
        print(where_the_time_goes(sides["hermes"], prompt, run.tokens), flush=True)
    return turns


def _prompt(length: int) -> list[int]:
    return [1 + (7919 * place) % 31_000 for place in range(length)]


def steady(turns: Turns[Decoded]) -> str:
    """Return an error text if hermes did not always give the same ids."""
    ids = [result.ids for result in turns.results["hermes"]]
    return same("list of ids", ids[0], ids)


def ids_gate(run: Run, quantization: str) -> str:
    """Return an error text if hermes' ids are not those of `generate` on a small model in float32."""
    folder = run.scratch / f"small-{quantization or 'float32'}"
    save(random_model(SMALL, run.device, torch.float32), folder)
    model, device = load_model(plan_for(folder, run.device, "float32", quantization))
    prompt = _prompt(24)
    expected = GenerateSide(model, device)(prompt, GATE_TOKENS).ids
    return same("list of ids", expected, [HermesSide(model, device, 256)(prompt, GATE_TOKENS).ids])
