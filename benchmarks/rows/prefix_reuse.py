"""prefix-reuse: tokens prefilled in each of twenty turns, with Ctrl-C, retry, undo and edit among them.

Peers: the number of new ids, counted here from the prompts alone; and bare llama.cpp with the same prompts as
ids, as text, and without its prefix cache. An id is new if it is after the longest common prefix of the
prompt and of the KV cache, which contains the previous prompt and all ids generated from it but the last,
which was never evaluated. (After Ctrl-C it may have been.) A prompt that is completely in the cache costs one
id. Gates: the ids of every answer are those of bare llama.cpp given the same ids; and where its answer
without reuse first differs from hermes', the two ids are a near tie. (Ids that are evaluated singly and in a
batch are rounded differently.)

prefix-reuse-transformers: the same with the starter, and with a tiny Mistral whose sliding window the
conversation exceeds several times. Peers: the new ids; and all ids of every prompt. Gates: the engine's count
is that of the ids that the model looked up, less the generated ones; and every id and the end of every answer
are those that the library's own model predicts (`weights.py`).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.hermes import open_session, send
from benchmarks.measure import Bench
from benchmarks.report import Goal, Line
from benchmarks.weights import Gaps, folder, score, unlikely
from hermes_cli.messages import Opening

EVERY_TURN = Goal("≥", 1)
CONTEXT = 4096
TOKENS = 32
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
"""The action before each of the twenty answers, and its text; `retry` sends the last one again."""
REMOVED = {"say": 0, "cancel": 0, "retry": 2, "undo": 2, "edit": 4}
"""The number of messages that each action removes."""
GIVEN_IDS, GIVEN_TEXT, WITHOUT_REUSE = (
    f"llama.cpp {how}" for how in ("given ids", "given text", "without reuse")
)
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    GIVEN_IDS: ("prompt", {}),
    GIVEN_TEXT: ("text", {}),
    WITHOUT_REUSE: ("prompt", {"cache_prompt": False, "n_probs": 8}),
}
"""By peer: the field of a turn that it is given, and the options of its requests."""
NEAR_TIE = 0.5
"""Nats. Without reuse, the batch size alone changes a log probability by up to 0.45."""
WINDOWS = 3
"""Minimum length of the last prompt, in windows."""
TORCH_PRECISION = "float32"
TORCH_CASES = {"starter": (4096, 0), "tiny mistral": (1024, 64)}
"""By model: the context, and the sliding window, if there is one."""

Turn = dict[str, Any]


def converse(*, count_lookups: bool = False, **engine: Any) -> list[Turn]:
    """Have the conversation, and return a record per turn, with the number of ids that torch looked up."""
    session = open_session(Opening("You are a helpful assistant."), tokens=TOKENS, **engine)
    looked_up = _lookup_counter() if count_lookups else lambda: 0
    turns = []
    for action, new_text in SCRIPT:
        messages = session.conversation.messages
        text = new_text or messages[-2].text
        session.tree.rewind(len(session.tree.path) - REMOVED[action])
        before = looked_up()
        turn = send(session, text, cancel_after=CANCEL_AFTER if action == "cancel" else 0)
        turns.append({**turn, "looked_up": looked_up() - before})
    session.engine.close()
    return turns


def _lookup_counter() -> Callable[[], int]:
    """Return a function that returns how many ids torch models in this process have looked up so far."""
    from torch import nn

    ids = 0

    def count(module: Any, inputs: Any) -> None:
        nonlocal ids
        if isinstance(module, nn.Embedding):
            ids += inputs[0].numel()

    nn.modules.module.register_module_forward_pre_hook(count)
    return lambda: ids


def measure(bench: Bench) -> list[Line]:
    bench = bench.untimed
    turns: list[Turn] = bench.run_model(converse, context=CONTEXT).value
    return lines(turns, {peer: _answers(bench, turns, *how) for peer, how in PEERS.items()})


def _answers(bench: Bench, turns: Sequence[Turn], given: str, options: Mapping[str, Any]) -> Sequence[Turn]:
    requests = [
        {"prompt": turn[given], "n_predict": max(1, len(turn["generated"]) + turn["ended"]), **options}
        for turn in turns
    ]
    settings = {"requests": requests, "context": CONTEXT, "n_batch": 128, "n_ubatch": 128, "n_parallel": 1}
    answers: Sequence[Turn] = bench.run_model("benchmarks.peers.llama_cpp:answer", **settings).value
    return answers


def lines(turns: Sequence[Turn], peers: Mapping[str, Sequence[Turn]]) -> list[Line]:
    new = new_ids(turns)
    counts = {peer: [answer["prefilled"] for answer in answers] for peer, answers in peers.items()}
    totals = {"the ids that are new": sum(allowed[-1] for allowed in new)}
    totals |= {peer: sum(prefilled) for peer, prefilled in counts.items()}
    gap = widest_gap(turns, peers[WITHOUT_REUSE])
    wrong = gate(turns, peers[GIVEN_IDS], gap)
    return reuse_lines(turns, new, totals, wrong, peers=counts, widest_gap=gap)


def gate(turns: Sequence[Turn], bare: Sequence[Turn], gap: float) -> str:
    for number, (turn, answer) in enumerate(zip(turns, bare, strict=True), 1):
        if turn["generated"] != answer["ids"][: len(turn["generated"])]:
            return f"turn {number}: the ids are not bare llama.cpp's"
    return f"without reuse, an answer differs by {gap:.2f} nats" if gap > NEAR_TIE else ""


def widest_gap(turns: Sequence[Turn], whole: Sequence[Turn]) -> float:
    """Return by how many nats, at most, the first different id is likelier without reuse than hermes' id."""
    widest = 0.0
    for turn, answer in zip(turns, whole, strict=True):
        ids, others = turn["generated"], answer["ids"]
        place = len(os.path.commonprefix([ids, others]))  # noqa: RUF071 - of ids
        if place < min(len(ids), len(others)):
            likely = dict(answer["likely"][place])
            widest = max(widest, likely[others[place]] - likely.get(ids[place], float("-inf")))
    return widest


def measure_transformers(bench: Bench) -> list[Line]:
    made = []
    for name, (context, window) in TORCH_CASES.items():
        model = folder(bench, name)
        settings = {"model": model, "context": context, "precision": "fp32"}
        turns = bench.untimed.run_model(converse, count_lookups=True, **settings).value
        answers = [{"prompt": t["prompt"], "ids": t["generated"], "ended": t["ended"]} for t in turns]
        found = lines_transformers(turns, score(bench, model, TORCH_PRECISION, answers), window)
        made += [replace(line, measure=f"{name}: {line.measure}") for line in found]
    return made


def lines_transformers(turns: Sequence[Turn], gaps: Gaps, window: int = 0) -> list[Line]:
    """Return the lines of a conversation, given the gaps of its answers under the library's own model."""
    new = new_ids(turns, exact=True)
    totals = {
        "the ids that are new": sum(count for (count,) in new),
        "every prompt whole": sum(len(turn["prompt"]) for turn in turns),
    }
    wrong = gate_transformers(turns, window) or unlikely(gaps, TORCH_PRECISION)
    return reuse_lines(turns, new, totals, wrong)


def gate_transformers(turns: Sequence[Turn], window: int) -> str:
    for number, turn in enumerate(turns, 1):
        evaluated = turn["looked_up"] - (turn["completion_tokens"] - 1)
        if turn["prefilled"] != evaluated:
            return f"turn {number}: the engine reports {turn['prefilled']} ids instead of {evaluated}"
    length = len(turns[-1]["prompt"])
    return f"the last prompt is {length} ids, not {WINDOWS} windows" if length < WINDOWS * window else ""


def reuse_lines(
    turns: Sequence[Turn], new: Sequence[Sequence[int]], totals: dict[str, int], wrong: str, **detail: Any
) -> list[Line]:
    prefilled = [turn["prefilled"] for turn in turns]
    equal = sum(count in allowed for count, allowed in zip(prefilled, new, strict=True))
    detail |= {"prefilled": prefilled, "new": new}
    what = "turns in which only new ids are prefilled"
    made = [Line(what, "turns", equal, len(turns), EVERY_TURN, wrong, detail)]
    for peer, total in totals.items():
        made.append(Line(f"tokens prefilled, beside {peer}", "tokens", sum(prefilled), total, wrong=wrong))
    return made


def new_ids(turns: Sequence[Turn], *, exact: bool = False) -> list[list[int]]:
    """Return how many ids of each prompt are new: one number, or one or two after Ctrl-C unless `exact`."""
    caches: list[list[int]] = [[]]
    counts = []
    for turn in turns:
        prompt, generated = turn["prompt"], turn["generated"]
        cached = [len(os.path.commonprefix([prompt, cache])) for cache in caches]  # noqa: RUF071 - of ids
        counts.append(sorted({max(1, len(prompt) - count) for count in cached}))
        # If an answer ended by itself, the last sampled id was an <|im_end|> after it.
        whole, without_last = [*prompt, *generated], [*prompt, *generated[:-1]]
        if exact:
            # Ids at the end that are not a whole character are not in the turn, but they were evaluated.
            caches = [[*prompt, *generated[: turn["completion_tokens"] - 1]]]
            continue
        cancelled = turn["finish_reason"] == "cancelled"
        caches = [without_last, whole] if cancelled else [whole if turn["ended"] else without_last]
    return counts
