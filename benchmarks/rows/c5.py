"""C5: the cost of a token of a growing answer on a terminal, and whether it rises with the answer's length.

Measured: CPU time of the streaming alone, in a separate process that writes to a sink of 80x24, with one
token per 20 ms of a simulated clock. An answer of 16k tokens is split between its blocks into answers of 4k
and of 0.5k tokens, so that every length is measured on the same words. Peers: rich's `Live(Markdown(text))`
and aider's method, on the first 4k of these tokens, in answers of 4k and of 0.5k; longer ones would take them
many minutes. Two hard cases have no goal: a paragraph in a single line and a single block of code, both of 4k
tokens.

A "look" is a repaint that wrote something. hermes has up to twenty per second, rich four, and aider's method
as many as hermes, or fewer if a render is slow.

Gate: the final screen with its scrollback equals, cell for cell, that of the whole text shown at once, and
contains every word of it; every repeat writes the same bytes. For the peers only that the words were written.
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.answer_text import answers, one_fence, one_paragraph
from benchmarks.measure import Bench, Goal, Line, Turns, ended_well, run_child, turns_about
from benchmarks.rows.c1 import ROOT

FLAT = Goal(1.2, at_least=False)
BESIDE_PEER = Goal(1 / 50, at_least=False)
SIZES = (500, 4000, 16_000)
"""Tokens of a short answer, of a long one, and of the whole text, which is also shown as one answer."""
HERMES = "benchmarks.ours.streamed"
PEERS = {"rich Live(Markdown)": "benchmarks.peers.live", "aider's method": "benchmarks.peers.tail"}
HARD = {"a paragraph in one line": one_paragraph, "a single block of code": one_fence}


Sizes = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Side:
    """A module that streams texts."""

    name: str
    module: str
    texts: Sequence[str]

    @property
    def exact(self) -> bool:
        """Whether its screen is compared cell for cell."""
        return self.module == HERMES


@dataclass(frozen=True, slots=True)
class Streamed:
    """The record of one text. `written` and `picture` are in bytes; `digest` is that of the written bytes."""

    tokens: int
    cpu_s: float
    looks: int
    written: int
    picture: int
    digest: str


def k(size: int) -> str:
    """Return a size in thousands of tokens as text, for example 0.5k."""
    return f"{size / 1000:g}k"


def sides(sizes: Sizes = SIZES) -> dict[str, Side]:
    """Return the sides by name."""
    short, long, total = sizes
    made = [Side(f"hermes {k(size)}", HERMES, answers(total, size)) for size in sizes]
    made += [
        Side(f"{name} {k(size)}", module, answers(total, size)[: long // size])
        for name, module in PEERS.items()
        for size in (short, long)
    ]
    made += [Side(f"hermes, {what}", HERMES, [text(long)]) for what, text in HARD.items()]
    return {side.name: side for side in made}


def streamed(bench: Bench, side: Side) -> list[Streamed]:
    """Stream the texts of a side in a separate process, and return the record of each."""
    return [Streamed(**record) for record in _asked(bench, side, side.module)]


def _asked(bench: Bench, side: Side, module: str) -> list[Any]:
    """Run a module on the texts of a side, and return the list that it prints."""
    folder = bench.scratch / "streams" / side.name
    folder.mkdir(parents=True, exist_ok=True)
    texts = folder / "texts.json"
    texts.write_text(json.dumps(side.texts), encoding="utf-8")
    words = json.dumps({"texts": str(texts), "report": str(folder), "exact": side.exact})
    environment = bench.environment(TERM="xterm-256color", NO_COLOR="")
    child = run_child([sys.executable, "-m", module, words], environment, folder=ROOT)
    if wrong := ended_well([child]):
        raise RuntimeError(f"{module}, {side.name}: {wrong}")
    said: list[Any] = json.loads(child.stdout)
    return said


def gate(bench: Bench, side: Side, given: Sequence[Sequence[Streamed]]) -> str:
    """Return an error text if a side's output is wrong, given all its repeats, else an empty string."""
    if side.exact:
        digests = {tuple(one.digest for one in repeat) for repeat in given}
        if len(digests) > 1:
            return f"{side.name}: not every repeat wrote the same bytes"
    found = next((words for words in _asked(bench, side, "benchmarks.ours.screens") if words), "")
    return f"{side.name}: {found}" if found else ""


def measure(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    """Measure the row; return lines for the growth of the cost, for both peers, and for the hard cases."""
    every = sides(sizes)
    tasks = {name: partial(streamed, bench, side) for name, side in every.items()}
    turns = turns_about(tasks, bench.repeats, warm_up=False, patience_s=bench.patience_s)
    wrong = {name: gate(bench, side, turns.results[name]) for name, side in every.items()}
    return lines(turns, wrong, sizes)


def token_ms(given: Sequence[Streamed]) -> float:
    """Return milliseconds of CPU time per token."""
    return 1000 * sum(one.cpu_s for one in given) / sum(one.tokens for one in given)


def look_ms(given: Sequence[Streamed]) -> float:
    """Return milliseconds of CPU time per repaint."""
    return 1000 * sum(one.cpu_s for one in given) / sum(one.looks for one in given)


Value = Callable[[Sequence[Streamed]], float]


def lines(turns: Turns[list[Streamed]], wrong: Mapping[str, str], sizes: Sizes = SIZES) -> list[Line]:
    """Return the lines of the table. `wrong` has the error text of each side."""

    def line(what: str, ours: str, theirs: str, goal: Goal | None = None, value: Value = token_ms) -> Line:
        # A peer streamed only the first of the answers.
        count = len(turns.results[theirs][0]) if theirs.startswith(tuple(PEERS)) else None
        mine = [given[:count] for given in turns.results[ours]]
        hermes, peer = statistics.median(map(value, mine)), turns.median(theirs, value)
        detail = {ours: [*map(_detail, mine)], theirs: [*map(_detail, turns.results[theirs])]}
        return Line("C5", what, "ms", hermes, peer, goal, wrong[ours] or wrong[theirs], detail)

    short, long, total = map(k, sizes)
    made = [
        line(f"CPU a token, answers of {total} beside {short}", f"hermes {total}", f"hermes {short}", FLAT),
        line(f"the same, {long} beside {short}", f"hermes {long}", f"hermes {short}"),
    ]
    for name in PEERS:
        what = f"answers of {long}, beside {name}"
        made += [
            line(f"CPU a token, {what}", f"hermes {long}", f"{name} {long}", BESIDE_PEER),
            line(f"the same, answers of {short}", f"hermes {short}", f"{name} {short}"),
            line(f"CPU a look, {what}", f"hermes {long}", f"{name} {long}", value=look_ms),
        ]
    hard = f"CPU a token, {{}}, {long}, beside an answer of {long}"
    return made + [line(hard.format(what), f"hermes, {what}", f"hermes {long}") for what in HARD]


def _detail(given: Sequence[Streamed]) -> dict[str, Any]:
    """Return the record of one repeat, for all its texts together."""
    return {
        "ms a token": round(token_ms(given), 4),
        "ms a look": round(look_ms(given), 4),
        "tokens": sum(one.tokens for one in given),
        "looks": sum(one.looks for one in given),
        "bytes": sum(one.written for one in given),
    }
