"""C5: what a token of a growing answer costs on a terminal, and whether it costs more in a longer answer.

Measured: processor time of the streaming alone, in a process of its own that writes to a sink of 80x24, with
a token each 20 ms of a simulated clock. An answer of 16k tokens is cut between its blocks into answers of 4k
and of 0.5k tokens, so that every length is measured on the same words. Beside: rich's `Live(Markdown(text))`
and aider's method, on the first 4k of these tokens, in answers of 4k and of 0.5k; longer ones would take them
many minutes. Two hard cases have no goal: a paragraph in which no line ends and a single block of code, both
of 4k tokens.

A look is one that wrote something; of them hermes has up to twenty a second, rich four, aider's method as
many as hermes or, where a render takes long, fewer.

Gate: the final screen with its scrollback is, cell for cell, that of the whole text shown at once, and holds
every word of it; every repeat wrote the same bytes. For the peers only that the words were written.
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
"""Tokens of a short answer, of a long one, and of all of them together, which are one answer, too."""
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
        """Whether its screen is looked at cell for cell."""
        return self.module == HERMES


@dataclass(frozen=True, slots=True)
class Streamed:
    """The account of one text. `written` and `picture` are bytes; `digest` is that of what was written."""

    tokens: int
    cpu_s: float
    looks: int
    written: int
    picture: int
    digest: str


def k(size: int) -> str:
    """Return how many thousand tokens, as they are written."""
    return f"{size / 1000:g}k"


def sides(sizes: Sizes = SIZES) -> dict[str, Side]:
    """Return what is measured, by name."""
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
    """Stream the texts of a side in a process of its own, and return the account of each."""
    return [Streamed(**record) for record in _asked(bench, side, side.module)]


def _asked(bench: Bench, side: Side, module: str) -> list[Any]:
    """Return what a module says to the texts of a side."""
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
    """Return what is wrong with what a side wrote, all its repeats being given, or nothing."""
    if side.exact:
        digests = {tuple(one.digest for one in repeat) for repeat in given}
        if len(digests) > 1:
            return f"{side.name}: not every repeat wrote the same bytes"
    found = next((words for words in _asked(bench, side, "benchmarks.ours.screens") if words), "")
    return f"{side.name}: {found}" if found else ""


def measure(bench: Bench, sizes: Sizes = SIZES) -> list[Line]:
    """Return whether the cost is flat, hermes beside both peers, and the hard cases."""
    every = sides(sizes)
    tasks = {name: partial(streamed, bench, side) for name, side in every.items()}
    turns = turns_about(tasks, bench.repeats, warm_up=False, patience_s=bench.patience_s)
    wrong = {name: gate(bench, side, turns.results[name]) for name, side in every.items()}
    return lines(turns, wrong, sizes)


def token_ms(given: Sequence[Streamed]) -> float:
    """Return milliseconds of processor time a token."""
    return 1000 * sum(one.cpu_s for one in given) / sum(one.tokens for one in given)


def look_ms(given: Sequence[Streamed]) -> float:
    """Return milliseconds of processor time a look."""
    return 1000 * sum(one.cpu_s for one in given) / sum(one.looks for one in given)


Value = Callable[[Sequence[Streamed]], float]


def lines(turns: Turns[list[Streamed]], wrong: Mapping[str, str], sizes: Sizes = SIZES) -> list[Line]:
    """Return the table's lines for what was measured, and what is wrong with each side."""

    def line(what: str, ours: str, theirs: str, goal: Goal | None = None, value: Value = token_ms) -> Line:
        # A peer had only the first of the answers.
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
    """Return what is written down of one repeat, all its texts together."""
    return {
        "ms a token": round(token_ms(given), 4),
        "ms a look": round(look_ms(given), 4),
        "tokens": sum(one.tokens for one in given),
        "looks": sum(one.looks for one in given),
        "bytes": sum(one.written for one in given),
    }
