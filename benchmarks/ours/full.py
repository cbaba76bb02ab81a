"""Row L2's sides: sixty turns in a small window; old turns are dropped in steps, or each as late as possible.

Takes one JSON object: the keys of `engines.opened`, n_predict, `drops` (steps or late), and report, the path
for one record per turn: the tokens of the prompt, the tokens prefilled according to the engine, and the
number of the user's turns that were kept.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.ours.engines import GREEDY, opened
from hermes_cli.chat.prompt_settings import Overflow, PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Engine
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import GenerationOptions, Sourced

SYSTEM = "You are the recorder of a lighthouse, and answer in one sentence."
TURNS = 60


def said(turn: int) -> str:
    """Return the user's message."""
    return f"It is night {turn + 1} of the storm. What do you see from the gallery, and what is in the log?"


def main() -> None:
    """Run the conversation."""
    ask = json.loads(sys.argv[1])
    engine = opened(ask)
    options = dataclasses.replace(GREEDY, max_tokens=ask["n_predict"])
    records = _late(engine, options) if ask["drops"] == "late" else _steps(engine, options)
    Path(ask["report"]).write_text(json.dumps(records), encoding="utf-8")
    engine.close()


def _steps(engine: Engine, options: GenerationOptions) -> list[dict[str, Any]]:
    session = Session(engine, Opening(SYSTEM), Sourced(options), None, PromptSettings(overflow=Overflow.DROP))
    records = []
    for turn in range(TURNS):
        asked = Message(Role.USER, said(turn))
        messages = session.assembled(asked).messages
        for _ in session.send(asked.text, Cancel()):
            pass
        records.append(_record(session.last, messages))
    return records


def _late(engine: Engine, options: GenerationOptions) -> list[dict[str, Any]]:
    """Drop as few exchanges as possible, recomputed at every turn."""
    talk, records = list[Message](), []
    room = engine.context_size - (options.max_tokens or 0)
    for turn in range(TURNS):
        talk.append(Message(Role.USER, said(turn)))
        first = 0
        while engine.count_tokens(messages := [Message(Role.SYSTEM, SYSTEM), *talk[first:]]) > room:
            first += 2
        chunks = list(engine.stream(messages, options, Cancel()))
        done = chunks[-1].completion
        text = "".join(chunk.text for chunk in chunks)
        talk.append(Message(Role.ASSISTANT, text, done.turn_ids if done else None))
        records.append(_record(done, messages))
    return records


def _record(done: Any, messages: Sequence[Message]) -> dict[str, Any]:
    kept = sum(message.role is Role.USER for message in messages)
    return {"prompt": done.usage.prompt_tokens, "prefilled": done.usage.prefilled_tokens, "kept": kept}


if __name__ == "__main__":
    main()
