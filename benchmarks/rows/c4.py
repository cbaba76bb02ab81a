"""C4: time to the first token at turn 20 over turn 2, with user turns of equal length.

Measured: in one process, a conversation whose answers are given (only the first token is measured, not the
rest); at turns 2 and 20, three questions of the same length, each replacing the one before, and the median of
the three. bfloat16. Peers, in alternation: `generate` on the same ids, which reuses nothing; and bare
xllamacpp, llama.cpp's server, with its prefix cache and the same weights in 4 bits, and the same ids in the
same order.

Gates: hermes prefills the same number of ids in every timed turn; its first token there is always the same,
and is the one that the library's own model predicts after those ids (`rows/hf.py`).
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Goal, Line, Turns, not_measured, same, turns_about
from benchmarks.rows.c1 import answers
from benchmarks.rows.hf import PATIENCE_S, answered, reported, scored, unlikely
from benchmarks.weights import folder, missing

FLAT = Goal(1.15, at_least=False)
FASTER = Goal(20, at_least=True)
EARLY, LATE = 2, 20
CONTEXT = 8192
PRECISION = "bfloat16"
ASKED = "Question {n:02}{which}: what does the recorder do when the wind turns and a ship calls in the fog?"
SAID = (
    "In hour {n:02} of the night she climbs the stairs, counts the steps, and trims the lamp until the "
    "flame stands still. Then she looks through the window, where the sea is dark and the dog sleeps beside "
    "the door. If a ship calls, she answers with the horn: two long notes and a short one, as her father "
    "taught her. She writes the hour, the wind and the name of the ship into the book, and puts the kettle "
    "on the stove. When the fog is gone she opens the door, and both of them walk down to the stones to see "
    "what the tide has left."
)
Records = list[dict[str, Any]]


def measure(bench: Bench) -> list[Line]:
    """Measure the row; return the ratios of hermes and both peers, and hermes beside the peers at turn 20."""
    if words := missing():
        return [not_measured("C4", "time to first token, turn 20 over turn 2", words)]
    weights = folder(bench)
    first = _hermes(bench, weights)
    # generate takes seconds for a long prompt, so it answers only the first question of each turn.
    whole = _timed(first)[:: len(_script()["asked"][EARLY - 1])]
    requests = [{"prompt": record["prompt"], "n_predict": 1} for record in first]

    def generate() -> Records:
        made = answered(bench, "generate_first", weights, PRECISION, [r["prompt"] for r in whole])
        return [{**r, "first_s": seconds} for r, seconds in zip(whole, made, strict=True)]

    def llama() -> Records:
        made = answers(bench, requests, n_ctx=CONTEXT)
        return [{**r, "first_s": m["first_s"]} for r, m in zip(first, made, strict=True)]

    sides = {"hermes": lambda: _hermes(bench, weights), "generate": generate, "llama.cpp": llama}
    turns = turns_about(sides, bench.repeats, warm_up=False, patience_s=min(PATIENCE_S, bench.patience_s))
    said = [{"prompt": r["prompt"], "ids": [r["first"]], "ended": False} for r in _timed(first)]
    return lines(turns, gate(turns.results["hermes"], scored(bench, weights, PRECISION, said)))


def _timed(records: Records) -> Records:
    return [record for record in records if record["timed"]]


def _script() -> dict[str, Any]:
    turns = range(1, LATE + 1)
    timed = (EARLY, LATE)
    asked = [[ASKED.format(n=n, which=w) for w in ("abc" if n in timed else "a")] for n in turns]
    return {"asked": asked, "said": [SAID.format(n=n) for n in turns]}


def _hermes(bench: Bench, weights: Path) -> Records:
    turns = bench.scratch / "turns.json"
    turns.write_text(json.dumps(_script()), encoding="utf-8")
    ask = {"engine": "transformers", "model": str(weights), "precision": "bf16", "threads": bench.threads}
    records: Records = reported(bench, "ours.first_token", {**ask, "n_ctx": CONTEXT, "turns": str(turns)})
    return records


def first_token_s(records: Sequence[dict[str, Any]], turn: int) -> float:
    """Return the median time to the first token at a turn, in seconds."""
    return statistics.median(float(r["first_s"]) for r in records if r["timed"] and r["turn"] == turn)


def lines(turns: Turns[Records], wrong: str) -> list[Line]:
    """Return the lines of the table. `wrong` is the result of the gate."""
    sides = ("hermes", "generate", "llama.cpp")
    early = {side: turns.median(side, lambda r: first_token_s(r, EARLY) * 1000) for side in sides}
    late = {side: turns.median(side, lambda r: first_token_s(r, LATE) * 1000) for side in sides}
    seen = _timed(turns.results["hermes"][0])
    detail = {
        "turn 2": turns.record(lambda r: first_token_s(r, EARLY)),
        "turn 20": turns.record(lambda r: first_token_s(r, LATE)),
        "prompt": [len(r["prompt"]) for r in seen],
        "prefilled": [r["prefilled"] for r in seen],
    }
    what = "time to first token, turn 20 over turn 2"
    speed = {side: 1000 / late[side] for side in sides}
    beside = "answers begun a second at turn 20, beside"
    return [
        Line("C4", f"{what}: hermes", "ms", late["hermes"], early["hermes"], FLAT, wrong, detail),
        Line("C4", f"{what}: llama.cpp, prefix cache", "ms", late["llama.cpp"], early["llama.cpp"]),
        Line("C4", f"{what}: generate without reuse", "ms", late["generate"], early["generate"]),
        Line("C4", f"{beside} generate", "/s", speed["hermes"], speed["generate"], FASTER, wrong),
        Line("C4", f"{beside} llama.cpp", "/s", speed["hermes"], speed["llama.cpp"], None, wrong),
    ]


def gate(hermes: Sequence[Records], gaps: Sequence[Sequence[float]]) -> str:
    """Return an error text if the turns are not alike, or a first token is not the library's."""
    timed = [_timed(records) for records in hermes]
    if len(counts := {record["prefilled"] for records in timed for record in records}) != 1:
        return f"the turns are not equally long: {sorted(counts)} ids were prefilled"
    firsts = [[record["first"] for record in records] for records in timed]
    return same("list of first ids", firsts[0], firsts) or unlikely(gaps, PRECISION)
