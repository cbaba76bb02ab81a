"""decode-transformers: tokens per second of the transformers engine on the CPU, with its text in a pipe.

Measured as in decode. Peer: `generate` with a streamer, and the same weights, dtype, ids, threads and number
of tokens, greedy. hermes' 8-bit weights are compared with `generate` in bfloat16.

Gates: both sides generate the requested number of tokens and always write the same text, and hermes' ids are
those that the library's own model predicts (`weights.py`). For 8-bit weights, which give other logits: over a
real text, KL divergence and perplexity stay within KL_LIMIT and PERPLEXITY_LIMIT.
"""

import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.hermes import open_session, plan, send
from benchmarks.measure import ROOT, Bench, Child, Repeats, difference, interleave, text_fault
from benchmarks.report import Goal, Line
from benchmarks.rows.ask import CONTEXT, PROMPT, speed
from benchmarks.weights import folder, score, unlikely
from hermes_cli.screen.terminal import Terminal

TOKENS = 96
TEXT_TOKENS = 512
KL_LIMIT = 0.1
"""Share of NF4's divergence on the same text. NF4 is hermes' own choice if 16 bits do not fit."""
PERPLEXITY_LIMIT = 1.02
"""Times float32's. In 512 tokens half a percent either way is chance; bfloat16 alone changes it as much."""
CASES = {
    "fp32": ("float32", "decode in float32 beside generate", Goal("≥", 1)),
    "bf16": ("bfloat16", "decode in bfloat16 beside generate", Goal("≥", 1)),
    "8bit": ("bfloat16", "decode with 8-bit weights beside bfloat16 generate", Goal("≥", 1.4)),
}
"""By hermes' precision: the peer's dtype, the measure, and the goal."""


def answer(prompt: str, **settings: Any) -> dict[str, Any]:
    """Answer through a session and a terminal on standard output, and return the record of the turn."""
    session = open_session(**settings)
    answered = send(session, prompt, show=Terminal.from_process(os.environ).write)
    session.engine.close()
    return answered


def measure(bench: Bench) -> list[Line]:
    settings = {"model": folder(bench), "tokens": TOKENS}
    ours = partial(bench.run_model, answer, prompt=PROMPT, context=CONTEXT, **settings)
    prompt = ours(precision="fp32").value["prompt"]
    peer = partial(bench.run_model, "benchmarks.peers.torch_model:write", prompt=prompt, **settings)
    sides = {}
    for precision, (dtype, *_) in CASES.items():
        sides[f"hermes {precision}"] = partial(ours, precision=precision)
        sides[f"generate {dtype}"] = partial(peer, precision=dtype)
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=False)
    return [_line(bench, precision, runs) for precision in CASES]


def _line(bench: Bench, precision: str, runs: Repeats[Child]) -> Line:
    dtype, measure, goal = CASES[precision]
    sides = f"hermes {precision}", f"generate {dtype}"
    hermes, peer = (runs.results[side] for side in sides)
    model, made = folder(bench), hermes[0].value
    wrong = text_fault(hermes) or text_fault(peer) or length_fault(made["generated"], peer[0].value)
    detail: dict[str, Any] = {}
    if precision == "8bit":
        detail["quality"] = bench.run_model(read, model=model).value
        wrong = wrong or quality_fault(detail["quality"])
    else:
        answers = [{"prompt": made["prompt"], "ids": made["generated"], "ended": False}]
        wrong = wrong or unlikely(score(bench, model, dtype, answers), dtype)
    return runs.line(measure, "tok/s", speed(TOKENS), sides, goal=goal, wrong=wrong, **detail)


def length_fault(*answers: Sequence[int]) -> str:
    """Return an error text if an answer ended early: its time would be divided by too many tokens."""
    return difference("number of tokens", TOKENS, map(len, answers))


def read(model: str, threads: int) -> dict[str, dict[str, float]]:
    """Read a text one id at a time with hermes' loading and decode step at each precision.

    The result is the mean KL divergence of the next token's distribution from float32 in nats, and the
    perplexity.
    """
    import torch
    from torch.nn import functional

    from hermes_cli.engines.tokenizer_json import read_vocabulary
    from hermes_cli.engines.transformers.decode import Decoder
    from hermes_cli.engines.transformers.loading import load_model
    from hermes_cli.models.plan.request import PlanRequest

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    ids = read_vocabulary(Path(model)).format.encoder.encode_text(text)[:TEXT_TOKENS]
    found, reference = dict[str, dict[str, float]](), None
    for precision in ("fp32", "8bit", "4bit"):
        request = PlanRequest(CONTEXT, threads, precision, "cpu")
        decoder = Decoder(*load_model(plan(Path(model), request)), CONTEXT)
        seen = torch.stack([decoder.decode(token).log_softmax(-1) for token in ids])
        reference = seen if reference is None else reference
        divergence = (reference.exp() * (reference - seen)).sum(-1).mean()
        loss = functional.nll_loss(seen[:-1], torch.tensor(ids[1:]))
        found[precision] = {"kl": float(divergence), "perplexity": math.exp(float(loss))}
    return found


def quality_fault(quality: dict[str, dict[str, float]]) -> str:
    kl, perplexity = KL_LIMIT * quality["4bit"]["kl"], PERPLEXITY_LIMIT * quality["fp32"]["perplexity"]
    for what, most in (("kl", kl), ("perplexity", perplexity)):
        if quality["8bit"][what] > most:
            return f"8-bit weights: {what} {quality['8bit'][what]:.4f}, not {most:.4f} or less"
    return ""
