"""lore-prefill: tokens prefilled in each of twenty turns, with a lorebook of 200 entries and without.

Peers: the same conversation without the lorebook, and with the activated entries in the system prompt, as
other programs do if an entry has no position. Gates: every entry whose key occurs in the last two messages is
in the prompt; and no turn prefills an id that is not new, counted as in prefix-reuse.

full-window-prefill: tokens prefilled over sixty turns, most of them with a full window of 1,024 tokens, with
old turns dropped an eighth of the window at a time. Peer: as few exchanges dropped as possible at every turn.
The second line is the cost: the number of turns kept. Gate: no prompt is longer than the window less the
answer, and both sides keep the first turns while they fit.
"""

from functools import partial
from itertools import product
from statistics import mean
from typing import Any

from benchmarks.hermes import open_session, send
from benchmarks.measure import Bench
from benchmarks.report import Line
from benchmarks.rows.prefix_reuse import new_ids
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.tree import Tree

TOKENS = 32
LORE_TURNS = 20
SCANNED = 2
"""Number of messages that are searched for keys, which is SillyTavern's default."""
LORE_SYSTEM = "You are the keeper of a library, and know every town of the land. " * 8
SYLLABLES = ("Bel Cor Dun Fal Gar", "an el ir om us", "dale fort gate holm mere port stead wick")
NAMES = ["".join(parts) for parts in product(*map(str.split, SYLLABLES))]
ENTRIES = tuple(
    LoreEntry(
        f"{name} is a town of {100 + 37 * n} people. It lies {n + 2} days from the sea, sells "
        f"{('wool', 'salt', 'glass')[n % 3]}, and has been at peace for {n + 3} years.",
        (name,),
    )
    for n, name in enumerate(NAMES)
)
PLACES = ("hermes", "top", "none")
WINDOW = 1024
WINDOW_TURNS = 60
WINDOW_SYSTEM = "You are the keeper of a lighthouse, and answer in one sentence."
NIGHT = "It is night {} of the storm. What do you see from the gallery, and what is in the log?"
FITTING = 5
"""Turns that certainly fit the window."""
Talk = list[dict[str, Any]]


def question(turn: int) -> str:
    """Return the user's message: it names one or two towns, some of them named before, or none."""
    first = 7 * (turn - 2 * (turn % 4 == 3))
    names = [NAMES[n % len(NAMES)] for n in (first, first + 3)[: 1 if turn % 4 == 3 else 2]]
    return "Go on." if turn % 5 == 4 else f"What do you know of {' and of '.join(names)}?"


def converse_with_lore(place: str, **engine: Any) -> Talk:
    """Have the conversation, and return a record per turn with the number of missing entries."""
    frame = PromptSettings(books=(Lorebook(ENTRIES, name="the land"),) if place == "hermes" else ())
    session = open_session(Opening(LORE_SYSTEM), frame, tokens=TOKENS, **engine)
    records = []
    for turn in range(LORE_TURNS):
        asked = Message(Role.USER, question(turn))
        scanned = [*session.conversation.messages[1:], asked][-SCANNED:]
        found = [e.content for e in ENTRIES if any(e.keys[0] in m.text for m in scanned)]
        if place == "top":
            session.set_system("\n".join([LORE_SYSTEM, *found]))
        prompt = session.assembled(asked).messages
        inserted = "\n".join(message.text for message in prompt if message.role is Role.SYSTEM)
        missing = sum(text not in inserted for text in found)
        records.append({**send(session, asked.text), "missing": missing})
    session.engine.close()
    return records


def converse_in_window(*, late: bool, **engine: Any) -> Talk:
    """Have the conversation, and return a record per turn. `late` drops one exchange at a time."""
    frame = PromptSettings(overflow=Overflow.DROP)
    session = open_session(Opening(WINDOW_SYSTEM), frame, tokens=TOKENS, **engine)
    records = []
    for turn in range(1, WINDOW_TURNS + 1):
        asked = Message(Role.USER, NIGHT.format(turn))
        while late and session.assembled(asked).first:
            session.tree = Tree.from_nodes(session.tree.path[2:], session.tree.cursor)
        records.append(send(session, asked.text))
    session.engine.close()
    return records


def measure_lore(bench: Bench) -> list[Line]:
    converse = partial(bench.untimed.run_model, converse_with_lore, context=8192)
    talks = [converse(place=place).value for place in PLACES]
    wrong = next(filter(None, map(lore_fault, PLACES, talks)), "")
    hermes, top, none = (sum(turn["prefilled"] for turn in talk) for talk in talks)
    what = "tokens prefilled with a lorebook, beside"
    return [
        Line(f"{what} its entries at the top", "tokens", hermes, top, wrong=wrong),
        Line(f"{what} no lorebook", "tokens", hermes, none, wrong=wrong),
    ]


def lore_fault(place: str, talk: Talk) -> str:
    """Return an error text if an entry is missing, or ids were evaluated again."""
    for number, (turn, allowed) in enumerate(zip(talk, new_ids(talk), strict=True), 1):
        if turn["missing"] and place != "none":
            return f"turn {number}, {place}: {turn['missing']} entries are missing"
        if turn["prefilled"] not in allowed:
            return f"turn {number}, {place}: {turn['prefilled']} ids were evaluated, {allowed} are new"
    return ""


def measure_window(bench: Bench) -> list[Line]:
    converse = partial(bench.untimed.run_model, converse_in_window, context=WINDOW)
    talks = [converse(late=late).value for late in (False, True)]
    wrong = next(filter(None, map(window_fault, talks)), "")
    tokens = [sum(turn["prefilled"] for turn in talk) for talk in talks]
    kept, late_kept = ([turn["kept"] for turn in talk] for talk in talks)
    full = next((turn for turn, count in enumerate(late_kept) if count <= turn), 0)
    means = mean(kept[full:]), mean(late_kept[full:])
    return [
        Line("tokens prefilled, turns dropped in steps", "tokens", tokens[0], tokens[1], wrong=wrong),
        Line("turns kept once the window is full", "turns", *means, wrong=wrong),
    ]


def window_fault(talk: Talk) -> str:
    for number, turn in enumerate(talk, 1):
        if len(turn["prompt"]) > WINDOW - TOKENS:
            return f"turn {number}: {len(turn['prompt'])} tokens do not leave room for the answer"
        if number <= FITTING and turn["kept"] != number:
            return f"turn {number}: {turn['kept']} turns were kept"
    return ""
