"""Row C1's hermes side: a Session over the llama.cpp engine, written through Terminal to standard output.

Takes one JSON object: model, threads, n_ctx, prompt, n_predict, and report, a path that gets the ids.
"""

import json
import os
import sys
from pathlib import Path

from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel
from hermes_cli.engines.llama_cpp.engine import LlamaCppEngine
from hermes_cli.messages import Conversation, Message, Role
from hermes_cli.models.gguf import read_header
from hermes_cli.options import GenerationOptions, Sourced
from hermes_cli.screen.terminal import Terminal

GREEDY = GenerationOptions(temperature=0, repetition_penalty=1)


def main() -> None:
    """Answer once, greedily, and write down the ids."""
    ask = json.loads(sys.argv[1])
    terminal = Terminal.from_process(os.environ)
    header = read_header(Path(ask["model"]))
    engine = LlamaCppEngine(header, name="starter", context_size=ask["n_ctx"], threads=ask["threads"])
    prompt = engine.prompt_tokens([Message(Role.USER, ask["prompt"])])
    options = Sourced(GREEDY).with_layer({"max_tokens": ask["n_predict"]}, "benchmark")
    session = Session(engine, Conversation(), options)
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
