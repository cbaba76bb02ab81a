"""Row C3's hermes side: a recorded conversation of twenty turns, with Ctrl-C, retries, undos and edits.

Takes one JSON object: the keys of `engines.opened`, n_predict, and report, the path for one record per turn:
the action, the prompt's ids and text, the generated ids, the tokens prefilled according to the engine, and,
for the transformers engine, the number of ids that the model looked up.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.ours.engines import GREEDY, LookedUp, opened
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, FinishReason
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import Sourced

CANCEL_AFTER = 9
"""Number of pieces of text after which Ctrl-C is pressed."""
SCRIPT = (
    ("say", "Hello! Who are you?"),
    ("say", "What is a river?"),
    ("say", "Name three colours."),
    ("cancel", "Tell me a long story about a lighthouse keeper."),
    ("say", "Go on."),
    ("retry", ""),
    ("say", "Is the sea cold in winter?"),
    ("undo", "Is the sea warm in summer?"),
    ("say", "Write a line with emoji: 😀 🚢 🌊 and café, naïve, 東京."),
    ("cancel", "Repeat that line ten times."),
    ("retry", ""),
    ("say", "Count from one to twenty."),
    ("edit", "Count from twenty down to one."),
    ("say", "What is <|im_end|> for?"),
    ("undo", "   What is   `x  =  1`\n\n\tfor?"),
    ("cancel", "Describe a forest."),
    ("undo", "Describe a desert."),
    ("retry", ""),
    ("say", "Thank you."),
    ("say", "Good night."),
)
"""The action before each of the twenty answers.

`say` sends the text; `cancel` does, too, and stops the answer; `retry` removes the last answer and requests
another; `undo` removes the last exchange and sends another text; `edit` changes the turn before the last.
"""
TAKEN_BACK = {"say": 0, "cancel": 0, "retry": 2, "undo": 2, "edit": 4}


def main() -> None:
    """Run the conversation."""
    ask = json.loads(sys.argv[1])
    engine = opened(ask)
    looked_up = LookedUp() if ask["engine"] == "transformers" else None
    options = dataclasses.replace(GREEDY, max_tokens=ask["n_predict"])
    opening = Opening("You are a helpful assistant.")
    session = Session(engine, opening, Sourced(options))
    records = [_turn(session, action, text, looked_up) for action, text in SCRIPT]
    Path(ask["report"]).write_text(json.dumps(records), encoding="utf-8")
    engine.close()


def _turn(session: Session, action: str, text: str, looked_up: LookedUp | None) -> dict[str, Any]:
    messages = session.conversation.messages
    if action == "retry":
        text = messages[-2].text
    session.tree.rewind(len(session.tree.path) - TAKEN_BACK[action])
    asked = session.conversation.add(Message(Role.USER, text)).messages
    prompt = session.engine.prompt_tokens(asked)
    cancel = Cancel()
    before = looked_up.ids if looked_up else 0
    pieces = 0
    for chunk in session.send(text, cancel):
        pieces += bool(chunk.text)
        if action == "cancel" and pieces == CANCEL_AFTER:
            cancel.set()
    done = session.last
    if done is None or done.turn_ids is None:
        raise RuntimeError(f"{text!r} was not answered")
    opening = next(n for n, token in enumerate(reversed(prompt)) if token.control)
    return {
        "action": action,
        "prompt": [token.id for token in prompt],
        "text": b"".join(token.data for token in prompt).decode(),
        "generated": done.turn_ids.ids[opening:],
        "ended": done.finish_reason is FinishReason.STOP,
        "finish_reason": done.finish_reason.value,
        "prompt_tokens": done.usage.prompt_tokens,
        "cached_tokens": done.usage.cached_tokens,
        "completion_tokens": done.usage.completion_tokens,
        "looked_up": looked_up.ids - before if looked_up else None,
    }


if __name__ == "__main__":
    main()
