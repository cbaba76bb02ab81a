"""The hermes side of rows C1 and C2: a Session over an engine, written through Terminal to standard output.

Takes one JSON object: the keys of `engines.opened`, prompt, n_predict, and report, the path for the ids.
"""

import json
import os
import sys
from pathlib import Path

from benchmarks.ours.engines import GREEDY, opened
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.options import Sourced
from hermes_cli.screen.terminal import Terminal


def main() -> None:
    """Answer once, greedily, and write the ids to the report."""
    ask = json.loads(sys.argv[1])
    terminal = Terminal.from_process(os.environ)
    engine = opened(ask)
    prompt = engine.prompt_tokens([Message(Role.USER, ask["prompt"])])
    options = Sourced(GREEDY).with_layer({"max_tokens": ask["n_predict"]}, "benchmark")
    session = Session(engine, Opening(), options)
    for chunk in session.send(ask["prompt"], Cancel()):
        if chunk.text:
            terminal.write(chunk.text)
    done = session.last
    opening = next(n for n, token in enumerate(reversed(prompt)) if token.control)
    ids = done.turn_ids.ids[opening:] if done and done.turn_ids else ()
    report = {"prompt": [token.id for token in prompt], "ids": ids}
    Path(ask["report"]).write_text(json.dumps(report), encoding="utf-8")
    engine.close()


if __name__ == "__main__":
    main()
