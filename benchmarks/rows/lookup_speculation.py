"""lookup-speculation: decode with `speculate = "lookup"`, beside the same engine without it.

Four kinds of answers, several of each: a copy, an edit and a summary of a text in the prompt, and free chat.
Copies and edits continue the first words of an answer, because the starter does not copy without them. The
options are greedy and without a repetition penalty. Gate: both sides generate the same ids.

Each side is one process per repeat. The speed is the number of generated tokens, without the first of each
answer, over the time from the first token to the end. The CPU time of the process meanwhile has no goal; it
varies less than the speed if the machine is busy.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.hermes import GREEDY, open_engine
from benchmarks.measure import Bench, Child, Repeats, difference, interleave
from benchmarks.report import Goal, Line
from hermes_cli.engines.base import Cancel, Engine
from hermes_cli.messages import Message, Role

CONTEXT = 2048
TOKENS = 200
FASTER, AS_FAST = Goal("≥", 1.5), Goal("≥", 0.98)
SIDES = ("lookup", "off")
CODE = """def mean(values):
    total = 0
    for value in values:
        total += value
    return total / len(values)

def variance(values):
    average = mean(values)
    return sum((value - average) ** 2 for value in values) / len(values)
"""
CONFIG = """[server]
host = "127.0.0.1"
port = 8080
workers = 4

[database]
url = "postgres://localhost/app"
pool_size = 10
timeout = 30

[logging]
level = "info"
file = "/var/log/app.log"
"""
LIST = "".join(f"x{number} = load('file{number}.txt')\n" for number in range(12))
STORY = (
    "The lighthouse stood on a narrow rock at the mouth of the bay. Its keeper, an old man named Thomas "
    "Reed, had lived there for thirty years with his dog. Every evening he climbed the ninety steps to "
    "light the lamp, and every morning he climbed them again to put it out. In the winter of 1911 a "
    "storm broke the windows of the lamp room. Thomas held a sheet of canvas over the broken glass for "
    "six hours so that the light would not go out, and three ships found their way into the harbour."
)
NEWS = (
    "The city council voted on Tuesday to build a new bridge across the river. The bridge will cost "
    "forty million dollars and will take three years to build. It will have two lanes for cars, one "
    "lane for buses and a path for people who walk or ride a bicycle. The old bridge, which was built "
    "in 1952, will be closed when the new one opens. Some members of the council said that the money "
    "should be spent on schools instead."
)
PROMPTS: dict[str, tuple[tuple[str, str], ...]] = {
    "copy": (
        (f"Repeat this code exactly.\n\n```python\n{CODE}```", "```python\n"),
        (f"Write the following list again.\n{LIST}", ""),
        (f"Repeat this text exactly:\n\n{STORY}", "The lighthouse stood on a narrow"),
        (f"Copy this file.\n\n```\n{CONFIG}```", "```\n[server]\n"),
    ),
    "edit": (
        (
            f"Rename the function mean to average_of in this code.\n\n```python\n{CODE}```",
            "```python\ndef average_of(values):\n",
        ),
        (
            f"Change the port to 9090 and print the whole file.\n\n```\n{CONFIG}```",
            '```\n[server]\nhost = "127.0.0.1"\nport = 9090\n',
        ),
        (f"Replace load by open:\n{LIST}", "x0 = open('file0.txt')\nx1 = open("),
        (
            f"Replace Thomas Reed by Anna Bell in this text:\n\n{STORY}",
            "The lighthouse stood on a narrow rock at the mouth of the bay. Its keeper, an old woman named",
        ),
    ),
    "summary": (
        (f"Summarise this text in three sentences.\n\n{STORY}", ""),
        (f"Summarise this news item.\n\n{NEWS}", ""),
        (f"List the facts of this text.\n\n{NEWS}", "- The city council"),
        (f"What does this configuration file set? Name each key.\n\n{CONFIG}", ""),
    ),
    "free chat": (
        ("Write a long story about a lighthouse keeper and her dog.", ""),
        ("What is a river?", ""),
        ("Explain how a bicycle stays upright.", ""),
        ("Give me five ideas for dinner with potatoes.", ""),
    ),
}
"""By kind: the user's messages, and the beginnings of the answers."""
Record = dict[str, Any]


def conversation(text: str, beginning: str) -> list[Message]:
    """Return the messages of a prompt. The model continues `beginning`, if there is one."""
    messages = [Message(Role.USER, text)]
    return [*messages, Message(Role.ASSISTANT, beginning)] if beginning else messages


def generate(**engine: Any) -> dict[str, Record]:
    """Answer every prompt, and return the ids and the sums of tokens and times by kind."""
    loaded = open_engine(context=CONTEXT, **engine)
    _answer(loaded, conversation("Hello!", ""))
    made = {}
    for kind, prompts in PROMPTS.items():
        answers = [_answer(loaded, conversation(*prompt)) for prompt in prompts]
        sums = {name: sum(answer[name] for answer in answers) for name in ("tokens", "s", "cpu_s")}
        made[kind] = {"ids": [answer["ids"] for answer in answers], **sums}
    loaded.close()
    return made


def _answer(engine: Engine, messages: Sequence[Message]) -> Record:
    done, cpu_s = None, 0.0
    for chunk in engine.stream(messages, replace(GREEDY, max_tokens=TOKENS), Cancel()):
        if chunk.text and not cpu_s:
            cpu_s = time.process_time()
        done = chunk.completion
    if done is None or done.turn_ids is None:
        raise RuntimeError(f"{messages[-1].text!r} was not answered")
    times = {"s": done.timings.decode_s, "cpu_s": time.process_time() - cpu_s}
    return {"ids": done.turn_ids.ids, "tokens": done.usage.completion_tokens - 1, **times}


def measure(bench: Bench) -> list[Line]:
    sides = {side: partial(bench.run_model, generate, lookup=side == "lookup") for side in SIDES}
    return lines(interleave(sides, bench.repeats, bench.patience_s, warm_up=False))


def lines(runs: Repeats[Child]) -> list[Line]:
    made = []
    for kind in PROMPTS:
        peer, *others = (child.value[kind]["ids"] for child in reversed(runs.all))
        wrong = difference("list of ids", peer, others)
        goal = AS_FAST if kind == "free chat" else FASTER
        speed, cost = partial(_speed, kind), partial(_cost, kind)
        made += [
            runs.line(
                f"decode, {kind}, beside no speculation", "tok/s", speed, SIDES, goal=goal, wrong=wrong
            ),
            runs.line(f"CPU time, {kind}, beside no speculation", "ms/token", cost, SIDES, wrong=wrong),
        ]
    return made


def _speed(kind: str, child: Child) -> float:
    record: Record = child.value[kind]
    return float(record["tokens"] / record["s"])


def _cost(kind: str, child: Child) -> float:
    record: Record = child.value[kind]
    return float(1000 * record["cpu_s"] / record["tokens"])
