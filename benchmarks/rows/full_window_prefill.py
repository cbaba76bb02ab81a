"""full-window-prefill: tokens prefilled over sixty turns, most of them with a full window of 1,024 tokens.

Measured: the tokens that the engine reports as prefilled, with old turns dropped an eighth of the window at a
time. Peer: the same conversation with as few exchanges dropped as possible at every turn. The cost is
recorded, too: the number of the user's turns that were kept.

Gate: no prompt is longer than the window less the answer, and both sides keep the first turns while they fit.
"""

from statistics import mean
from typing import Any

from benchmarks.hermes import open_session, send
from benchmarks.measure import Bench
from benchmarks.report import Line
from hermes_cli.chat.frame import Frame, Overflow
from hermes_cli.messages import Conversation, Message, Opening, Role

SYSTEM = "You are the keeper of a lighthouse, and answer in one sentence."
ASKED = "It is night {} of the storm. What do you see from the gallery, and what is in the log?"
CONTEXT = 1024
TOKENS = 32
TURNS = 60
FITTING = 5
"""Turns that certainly fit."""
Talk = list[dict[str, Any]]


def converse(*, late: bool, **engine: Any) -> Talk:
    """Have the conversation, and return a record per turn. `late` drops one exchange at a time."""
    session = open_session(Opening(SYSTEM), Frame(overflow=Overflow.DROP), tokens=TOKENS, **engine)
    records = []
    for turn in range(1, TURNS + 1):
        asked = Message(Role.USER, ASKED.format(turn))
        while late and session.assembled(asked).first:
            system, _, _, *rest = session.conversation.messages
            session.conversation = Conversation((system, *rest))
        records.append(send(session, asked.text))
    session.engine.close()
    return records


def measure(bench: Bench) -> list[Line]:
    settings = {"model": str(bench.model), "threads": bench.threads, "context": CONTEXT}
    steps, late = (bench.untimed.call(converse, late=late, **settings).value for late in (False, True))
    return lines(steps, late)


def lines(steps: Talk, late: Talk) -> list[Line]:
    wrong = gate(steps) or gate(late)
    tokens, late_tokens = (sum(turn["prefilled"] for turn in talk) for talk in (steps, late))
    kept, late_kept = ([turn["kept"] for turn in talk] for talk in (steps, late))
    full = next((turn for turn, count in enumerate(late_kept) if count <= turn), 0)
    means, detail = (mean(kept[full:]), mean(late_kept[full:])), {"kept": kept, "kept late": late_kept}
    return [
        Line("tokens prefilled, turns dropped in steps", "tokens", tokens, late_tokens, None, wrong, detail),
        Line("turns kept once the window is full", "turns", *means, None, wrong),
    ]


def gate(talk: Talk) -> str:
    """Return an error text if a prompt is too long or too few turns were kept."""
    for number, turn in enumerate(talk, 1):
        if len(turn["prompt"]) > CONTEXT - TOKENS:
            return f"turn {number}: {len(turn['prompt'])} tokens do not leave room for the answer"
        if number <= FITTING and turn["kept"] != number:
            return f"turn {number}: {turn['kept']} turns were kept"
    return ""
