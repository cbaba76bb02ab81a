"""Row L1's sides: twenty turns with a lorebook of 200 entries, inserted by hermes, at the top, or not at all.

Takes one JSON object: the keys of `engines.opened`, n_predict, `told` (hermes, top, or nothing), and report,
the path for one record per turn: the prompt's ids, the generated ids, the tokens prefilled according to the
engine, the number of entries that a search for their keys finds, and how many of those are missing in the
prompt.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.ours.engines import GREEDY, opened
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Completion, Engine
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import Sourced
from hermes_cli.personas import Lorebook, LoreEntry

SYSTEM = "You are the recorder of a library, and know every town of the land. " * 8
TURNS = 20
_BEGINNINGS = ("Bel", "Cor", "Dun", "Fal", "Gar")
_MIDDLES = ("an", "el", "ir", "om", "us")
_ENDS = ("dale", "fort", "gate", "holm", "mere", "port", "stead", "wick")
NAMES = ["".join(parts) for parts in product(_BEGINNINGS, _MIDDLES, _ENDS)]
BOOK = Lorebook(
    tuple(
        LoreEntry(
            f"{name} is a town of {100 + 37 * n} people. It lies {n + 2} days from the sea, sells "
            f"{('wool', 'salt', 'glass', 'honey')[n % 4]}, and has been at peace with "
            f"{NAMES[(n + 7) % len(NAMES)][::-1]} for {n + 3} years.",
            (name,),
        )
        for n, name in enumerate(NAMES)
    ),
    name="the land",
)
WINDOW = 2
"""Number of messages that are scanned, which is SillyTavern's default."""


def said(turn: int) -> str:
    """Return the user's message: most turns name one or two towns, some of them named before."""
    names = [NAMES[7 * turn % len(NAMES)], NAMES[(7 * turn + 3) % len(NAMES)]]
    if turn % 4 == 3:  # noqa: PLR2004 - every fourth repeats a name
        names = [NAMES[7 * (turn - 2) % len(NAMES)]]
    return "Go on." if turn % 5 == 4 else f"What do you know of {' and of '.join(names)}?"  # noqa: PLR2004


def main() -> None:
    """Run the conversation."""
    ask = json.loads(sys.argv[1])
    engine = opened(ask)
    options = dataclasses.replace(GREEDY, max_tokens=ask["n_predict"])
    books = (BOOK,) if ask["told"] == "hermes" else ()
    session = Session(engine, Opening(SYSTEM), Sourced(options), None, PromptSettings(books=books))
    at_the_top = ask["told"] == "top"
    records = [_turn(session, said(turn), at_the_top=at_the_top) for turn in range(TURNS)]
    Path(ask["report"]).write_text(json.dumps(records), encoding="utf-8")
    engine.close()


def _turn(session: Session, text: str, *, at_the_top: bool) -> dict[str, Any]:
    looked_through = [*session.conversation.messages[1:], Message(Role.USER, text)][-WINDOW:]
    wanted = [entry.content for entry in BOOK.entries if any(entry.keys[0] in m.text for m in looked_through)]
    if at_the_top:  # in the system prompt, as other programs do if an entry has no position
        session.set_system("\n".join([SYSTEM, *wanted]))
    asked = Message(Role.USER, text)
    messages = session.assembled(asked).messages
    for _ in session.send(text, Cancel()):
        pass
    done = session.last
    if done is None or done.turn_ids is None:
        raise RuntimeError(f"{text!r} was not answered")
    return _record(session.engine, messages, done, wanted)


def _record(
    engine: Engine, messages: Sequence[Message], done: Completion, wanted: Sequence[str]
) -> dict[str, Any]:
    prompt = engine.prompt_tokens(messages)
    opening = next(n for n, token in enumerate(reversed(prompt)) if token.control)
    told = "\n".join(message.text for message in messages if message.role is Role.SYSTEM)
    return {
        "prompt": [token.id for token in prompt],
        "generated": done.turn_ids.ids[opening:] if done.turn_ids else (),
        "ended": done.finish_reason == "stop",
        "finish_reason": done.finish_reason.value,
        "prefilled": done.usage.prefilled_tokens,
        "wanted": len(wanted),
        "missing": sum(text not in told for text in wanted),
    }


if __name__ == "__main__":
    main()
