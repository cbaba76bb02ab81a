"""first-token: time to the first token at turn 20 over turn 2, with user turns of equal length.

Measured: a conversation in bfloat16 whose answers are given; only the first token of each is generated.
Peers, with the same ids: `generate`, which reuses nothing; and bare llama.cpp with its prefix cache, in 4
bits.

Gates: hermes prefills the same number of ids at both turns; its first tokens there are always the same, and
are those that the library's own model predicts after these ids (`weights.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.hermes import GREEDY, open_engine, record
from benchmarks.measure import Bench, Repeats, difference, interleave
from benchmarks.report import Goal, Line
from benchmarks.weights import Gaps, folder, score, unlikely
from hermes_cli.engines.base import Cancel
from hermes_cli.messages import Conversation, Message, Role

FLAT = Goal("≤", 1.9)
FASTER = Goal("≥", 20)
EARLY, LATE = 2, 20
CONTEXT = 8192
PRECISION = "bfloat16"
ASKED = "Question {:02}: what does the keeper do when the wind turns and a ship calls in the fog?"
ANSWER = "In hour {:02} of the night " + (
    "she climbs the stairs, counts the steps, trims the lamp and writes the name of the ship into the book. "
    "If a ship calls, she answers with the horn: two long notes and a short one, as her father taught her. "
    * 2
)
Records = list[dict[str, Any]]


def converse(**settings: Any) -> Records:
    """Have the conversation, and return the records of all requests."""
    engine, options = open_engine(**settings), replace(GREEDY, max_tokens=1)
    messages = Conversation((Message(Role.SYSTEM, "You are a helpful assistant."),))
    records: Records = []
    for turn in range(1, LATE + 1):
        question = messages.add(Message(Role.USER, ASKED.format(turn)))
        # A request of its own prefills the given answer, so that the next turn begins as after a real one.
        messages = question.add(Message(Role.ASSISTANT, ANSWER.format(turn)))
        for asked, number in ((question, turn), (messages, 0)):
            chunks = engine.stream(asked.messages, options, Cancel())
            records.append({**record(engine, asked.messages, chunks), "turn": number})
    engine.close()
    return records


def measure(bench: Bench) -> list[Line]:
    model = folder(bench)
    ask = partial(bench.run_model, converse, model=model, precision="bf16", context=CONTEXT)
    first: Records = ask().value
    requests = [{"prompt": one["prompt"], "n_predict": 1} for one in first]
    whole = _timed(first)  # generate takes seconds for a long prompt
    prompts = [one["prompt"] for one in whole]

    def generate() -> Records:
        given = {"prompts": prompts, "model": model, "precision": PRECISION}
        times = bench.run_model("benchmarks.peers.torch_model:first_token_s", **given).value
        return [{**one, "first_s": seconds} for one, seconds in zip(whole, times, strict=True)]

    def llama() -> Records:
        given = {"requests": requests, "context": CONTEXT, "n_parallel": 1}
        answers = bench.run_model("benchmarks.peers.llama_cpp:answer", **given).value
        return [one | {"first_s": made["first_s"]} for one, made in zip(first, answers, strict=True)]

    sides = {"hermes": lambda: ask().value, "generate": generate, "llama.cpp": llama}
    runs = interleave(sides, bench.repeats, bench.patience_s, warm_up=False)
    answers = [{"prompt": one["prompt"], "ids": one["generated"], "ended": False} for one in whole]
    return lines(runs, gate(runs.results["hermes"], score(bench, model, PRECISION, answers)))


def _timed(records: Records) -> Records:
    return [record for record in records if record["turn"] in {EARLY, LATE}]


def first_token_ms(records: Records, turn: int) -> float:
    return next(1000 * float(one["first_s"]) for one in records if one["turn"] == turn)


def lines(runs: Repeats[Records], wrong: str) -> list[Line]:
    """Return the lines of the table. `wrong` is the result of the gate."""
    early, late = (partial(first_token_ms, turn=turn) for turn in (EARLY, LATE))
    made = []
    for side in runs.results:
        what = f"time to first token, turn 20 over turn 2: {side}"
        judged = (FLAT, wrong) if side == "hermes" else ()
        made.append(Line(what, "ms", runs.median(side, late), runs.median(side, early), *judged))
    for peer, goal in (("generate", FASTER), ("llama.cpp", None)):
        what, sides = f"answers begun a second at turn 20, beside {peer}", ("hermes", peer)
        made.append(runs.line(what, "/s", lambda r: 1000 / late(r), sides, goal=goal, wrong=wrong))
    return made


def gate(hermes: Sequence[Records], gaps: Gaps) -> str:
    """Return an error text if the turns are not alike, or a first token is not the library's."""
    timed = [_timed(records) for records in hermes]
    if len(counts := {record["prefilled"] for records in timed for record in records}) != 1:
        return f"the turns are not equally long: {sorted(counts)} ids were prefilled"
    firsts = [[record["generated"] for record in records] for records in timed]
    return difference("list of first ids", firsts[0], firsts) or unlikely(gaps, PRECISION)
