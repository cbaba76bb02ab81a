"""prefill-ahead: the time from Enter to the first token of the first turn with a character card.

Measured: the card of Edward Elric (system prompt and examples), after ten seconds of typing, in which hermes
evaluates them. Peers: hermes with `prefill_ahead = false`; and bare llama.cpp, which is given the whole
prompt when it is sent.

Gates: the three first ids are the same; and with prefilling ahead, only the ids of the user's turn are
evaluated after Enter, and all ids of the prompt once.
"""

import time
from functools import partial
from typing import Any

from benchmarks.hermes import open_session, send
from benchmarks.measure import ROOT, Bench, Repeats, difference, interleave
from benchmarks.report import Goal, Line
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.personas import loader
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import open_with
from hermes_cli.untrusted.deadline import Deadline

GOAL = Goal("≤", 0.2)
TYPING_S = 10
CONTEXT = 4096
CARD = ROOT / "personas" / "edward-elric.toml"
MESSAGE = "You look tired. How long have you been on that train?"
Record = dict[str, Any]


def first_turn(*, ahead: bool, **engine: Any) -> Record:
    """Send the first message after ten seconds, and return its record."""
    persona = loader.load_file(CARD)
    opening = open_with(persona, Macros(persona.called, "Winry", 1), "", Deadline())
    session = open_session(opening, tokens=1, **engine)
    session.engine = BackgroundEngine.around(session.engine)
    if ahead:
        session.prefill_ahead()
    time.sleep(TYPING_S)
    made = send(session, MESSAGE)
    session.engine.close()
    return made


def measure(bench: Bench) -> list[Line]:
    run = partial(bench.run_model, first_turn, context=CONTEXT)
    prompt = run(ahead=False).value["prompt"]

    def llama() -> Record:
        given = {"requests": [{"prompt": prompt, "n_predict": 1}], "context": CONTEXT, "n_parallel": 1}
        (answer,) = bench.run_model("benchmarks.peers.llama_cpp:answer", **given).value
        return {"generated": answer["ids"], "first_s": answer["first_s"], "prefilled": answer["prefilled"]}

    sides = {
        "hermes": lambda: run(ahead=True).value,
        "nothing ahead": lambda: run(ahead=False).value,
        "llama.cpp": llama,
    }
    return lines(interleave(sides, bench.repeats, bench.patience_s, warm_up=False), len(prompt))


def lines(runs: Repeats[Record], prompt_tokens: int) -> list[Line]:
    """Return the lines of the table."""
    wrong = gate(runs, prompt_tokens)
    what = "from Enter to the first token, a card prefilled ahead, beside"
    return [
        runs.line(
            f"{what} {peer}",
            "ms",
            lambda record: 1000 * float(record["first_s"]),
            ("hermes", peer),
            goal=GOAL,
            wrong=wrong,
            prefilled=runs.results["hermes"][0]["prefilled"],
            prompt=prompt_tokens,
        )
        for peer in ("nothing ahead", "llama.cpp")
    ]


def gate(runs: Repeats[Record], prompt_tokens: int) -> str:
    """Return an error text if the sides do not agree, or more was evaluated than the user's turn."""
    firsts = [record["generated"] for record in runs.all]
    if wrong := difference("list of first ids", firsts[0], firsts):
        return wrong
    for record in runs.results["hermes"]:
        turn = prompt_tokens - _common(record)
        if record["prefilled"] > turn:
            return f"{record['prefilled']} ids were evaluated after Enter; the user's turn has {turn}"
    return ""


def _common(record: Record) -> int:
    """Return the number of ids before the role of the user's turn, the second last one of the prompt."""
    prompt = record["prompt"]
    start = prompt[0]  # every turn begins with the same control token
    return [index for index, token in enumerate(prompt) if token == start][-2] + 1
