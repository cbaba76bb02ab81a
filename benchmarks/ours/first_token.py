"""Row C4's hermes side: a conversation of given answers, and the time to the first piece of a new one.

Takes one JSON object: the keys of `engines.opened`; turns, a file with `asked` and `said`; and report, the
path for the records. `asked` has the questions of each turn, of which the last stays in the conversation; if
there are several, they are timed. `said` has the answers. The report has one record per request, in order:
turn, the prompt's ids, whether it is timed, the seconds and the first id.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.ours.engines import GREEDY, opened
from hermes_cli.engines.base import Cancel, Chunk, Engine
from hermes_cli.messages import Conversation, Message, Role

ONE = dataclasses.replace(GREEDY, max_tokens=1)


def main() -> None:
    """Run the conversation."""
    ask = json.loads(sys.argv[1])
    script = json.loads(Path(ask["turns"]).read_text(encoding="utf-8"))
    engine = opened(ask)
    talk = Conversation((Message(Role.SYSTEM, "You are a helpful assistant."),))
    records = []
    for turn, (asked, said) in enumerate(zip(script["asked"], script["said"], strict=True), 1):
        # More than one question: this turn is measured. Each question replaces the previous one.
        for text in asked:
            if len(talk) > 1:  # as after a real answer, when the KV cache holds only that
                records.append(_request(engine, talk, turn, timed=False))
            question = talk.add(Message(Role.USER, text))
            records.append(_request(engine, question, turn, timed=len(asked) > 1))
        talk = question.add(Message(Role.ASSISTANT, said))
    Path(ask["report"]).write_text(json.dumps(records), encoding="utf-8")
    engine.close()


def _request(engine: Engine, talk: Conversation, turn: int, *, timed: bool) -> dict[str, Any]:
    prompt = engine.prompt_tokens(talk.messages)
    chunks: list[Chunk] = []
    began = time.perf_counter()
    first_s = 0.0
    for chunk in engine.stream(talk.messages, ONE, Cancel()):
        if chunk.progress is None:
            first_s = first_s or time.perf_counter() - began
        chunks.append(chunk)
    done = chunks[-1].completion
    if done is None or done.turn_ids is None:
        raise RuntimeError(f"turn {turn} was not answered")
    return {
        "turn": turn,
        "prompt": [token.id for token in prompt],
        "timed": timed,
        "first_s": first_s,
        "first": done.turn_ids.ids[-1],
        "prefilled": done.usage.prefilled_tokens,
    }


if __name__ == "__main__":
    main()
