"""lore-prefill: tokens prefilled in each of twenty turns, with a lorebook of 200 entries and without.

Measured: the tokens that the engine reports as prefilled in each turn. Peers: the same conversation without
the lorebook, and with the entries activated by the last two messages in the system prompt, as other programs
do if an entry has no position. Towns are named in most turns; answers are greedy, and depend on the inserted
entries.

Gates: every entry whose key occurs in the last two messages is in the prompt, according to a search for the
key; and no turn prefills an id that is not new, counted as in prefix-reuse.
"""

from itertools import product
from typing import Any

from benchmarks.hermes import open_session, send
from benchmarks.measure import Bench
from benchmarks.report import Line
from benchmarks.rows.prefix_reuse import new_ids
from hermes_cli.chat.frame import Frame
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas import Entry, Lorebook

TURNS = 20
SCANNED = 2
"""Number of messages that are searched for keys, which is SillyTavern's default."""
SYSTEM = "You are the keeper of a library, and know every town of the land. " * 8
SYLLABLES = (
    ("Bel", "Cor", "Dun", "Fal", "Gar"),
    ("an", "el", "ir", "om", "us"),
    ("dale", "fort", "gate", "holm", "mere", "port", "stead", "wick"),
)
NAMES = ["".join(parts) for parts in product(*SYLLABLES)]
ENTRIES = tuple(
    Entry(
        f"{name} is a town of {100 + 37 * n} people. It lies {n + 2} days from the sea, sells "
        f"{('wool', 'salt', 'glass')[n % 3]}, and has been at peace for {n + 3} years.",
        (name,),
    )
    for n, name in enumerate(NAMES)
)
Talk = list[dict[str, Any]]


def question(turn: int) -> str:
    """Return the user's message: it names one or two towns, some of them named before, or none."""
    first = 7 * (turn - 2 * (turn % 4 == 3))
    names = [NAMES[n % len(NAMES)] for n in (first, first + 3)[: 1 if turn % 4 == 3 else 2]]
    return "Go on." if turn % 5 == 4 else f"What do you know of {' and of '.join(names)}?"


def converse(place: str, **engine: Any) -> Talk:
    """Have the conversation, and return a record per turn with the number of missing entries.

    The entries are inserted by `hermes`, at the `top`, or nowhere (`none`).
    """
    frame = Frame(books=(Lorebook(ENTRIES, name="the land"),) if place == "hermes" else ())
    session = open_session(Opening(SYSTEM), frame, tokens=32, **engine)
    records = []
    for turn in range(TURNS):
        asked = Message(Role.USER, question(turn))
        scanned = [*session.conversation.messages[1:], asked][-SCANNED:]
        found = [e.content for e in ENTRIES if any(e.keys[0] in m.text for m in scanned)]
        if place == "top":
            session.set_system("\n".join([SYSTEM, *found]))
        prompt = session.assembled(asked).messages
        inserted = "\n".join(message.text for message in prompt if message.role is Role.SYSTEM)
        missing = sum(text not in inserted for text in found)
        records.append({**send(session, asked.text), "missing": missing})
    session.engine.close()
    return records


def measure(bench: Bench) -> list[Line]:
    settings = {"model": str(bench.model), "threads": bench.threads, "context": 8192}
    places = ("hermes", "top", "none")
    return lines({place: bench.untimed.call(converse, place=place, **settings).value for place in places})


def lines(talks: dict[str, Talk]) -> list[Line]:
    detail = {place: [turn["prefilled"] for turn in talk] for place, talk in talks.items()}
    hermes, top, none = (sum(counts) for counts in detail.values())
    wrong, what = gate(talks), "tokens prefilled with a lorebook, beside"
    return [
        Line(f"{what} its entries at the top", "tokens", hermes, top, None, wrong, detail),
        Line(f"{what} no lorebook", "tokens", hermes, none, None, wrong),
    ]


def gate(talks: dict[str, Talk]) -> str:
    """Return an error text if an entry is missing, or ids were evaluated again."""
    for place, talk in talks.items():
        for number, (turn, allowed) in enumerate(zip(talk, new_ids(talk), strict=True), 1):
            if turn["missing"] and place != "none":
                return f"turn {number}, {place}: {turn['missing']} entries are missing"
            if turn["prefilled"] not in allowed:
                return f"turn {number}, {place}: {turn['prefilled']} ids were evaluated, {allowed} are new"
    return ""
