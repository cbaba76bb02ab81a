"""lookup-speculation(-transformers): decode with `speculate = "lookup"`, beside the same engine without it.

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
from benchmarks.weights import folder
from hermes_cli.engines.base import Cancel, Engine
from hermes_cli.messages import Message, Role

CONTEXT = 2048
TOKENS = 100
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


def conversation(text: str, beginning: str) -> list[Message]:
    """Return the messages of a prompt. The model continues `beginning`, if there is one."""
    messages = [Message(Role.USER, text)]
    return [*messages, Message(Role.ASSISTANT, beginning)] if beginning else messages


def generate(kind: str, **engine: Any) -> dict[str, Any]:
    """Answer the prompts of a kind, and return the ids, and the sums of tokens and times."""
    loaded = open_engine(context=CONTEXT, **engine)
    _answer(loaded, conversation("Hello!", ""))
    answers = [_answer(loaded, conversation(*prompt)) for prompt in PROMPTS[kind]]
    loaded.close()
    sums = {name: sum(answer[name] for answer in answers) for name in ("tokens", "s", "cpu_s")}
    return {"ids": [answer["ids"] for answer in answers], **sums}


def _answer(engine: Engine, messages: Sequence[Message]) -> dict[str, Any]:
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
    return _measure(bench)


def measure_transformers(bench: Bench) -> list[Line]:
    return _measure(bench, model=folder(bench), precision="fp32")


def _measure(bench: Bench, **engine: Any) -> list[Line]:
    made = []
    for kind in PROMPTS:
        call = partial(bench.run_model, generate, kind=kind, **engine)
        sides = {side: partial(call, lookup=side == "lookup") for side in SIDES}
        made += lines(kind, interleave(sides, bench.repeats, bench.patience_s, warm_up=False))
    return made


def lines(kind: str, runs: Repeats[Child]) -> list[Line]:
    peer, *others = (child.value["ids"] for child in reversed(runs.all))
    wrong = difference("list of ids", peer, others)
    goal = AS_FAST if kind == "free chat" else FASTER
    what = f"{kind}, beside no speculation"
    return [
        runs.line(f"decode, {what}", "tok/s", speed, SIDES, goal=goal, wrong=wrong),
        runs.line(f"CPU time, {what}", "ms/token", cost, SIDES, wrong=wrong),
    ]


def speed(child: Child) -> float:
    return float(child.value["tokens"] / child.value["s"])


def cost(child: Child) -> float:
    return float(1000 * child.value["cpu_s"] / child.value["tokens"])
