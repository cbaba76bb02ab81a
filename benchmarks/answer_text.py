"""Synthetic long answers to stream, of any length and the same each time.

They contain headings, paragraphs, lists, steps, code, quotes and tables, as models write them. A token here
is a piece of about four characters; no tokenizer is used.
"""

import random
import re
from collections.abc import Iterator, Sequence
from functools import cache

TABLE_EVERY = 3000
"""Characters between two tables."""
CODE_LINES = (10, 40)
_TOKEN = re.compile(r" ?\w{1,7}|\n+| +|[^\w\s]{1,3}")
_DECK = ("paragraph", "bullets", "paragraph", "code", "steps", "paragraph", "quote", "paragraph", "code")

THINGS = (
    "buffer", "scheduler", "cache", "parser", "index", "queue", "session", "planner", "snapshot", "cursor",
    "harbour", "orchard", "letter", "engine", "lantern", "ledger", "bridge", "garden", "valley", "window",
    "thread", "packet", "kernel", "socket", "filter", "matrix", "signal", "vector", "schema", "record",
    "café", "naïve Bayes model", "left-hand side", "follow-up", "request", "response", "handler", "registry",
)  # fmt: skip
QUALITIES = (
    "small", "stale", "careful", "shared", "hidden", "early", "nested", "broken", "quiet", "final",
    "expensive", "lazy", "recent", "partial", "ordinary", "strict", "remote", "idle", "wide", "empty",
)  # fmt: skip
DOES = (
    "keeps", "drops", "moves", "splits", "reads", "writes", "rebuilds", "compares", "delays", "replaces",
    "follows", "hides", "merges", "sorts", "guards", "measures", "copies", "locks", "counts", "forgets",
)  # fmt: skip
WHEN = (
    "before anything else happens", "once per request", "while nobody looks", "after the second pass",
    "as soon as it can", "in most cases", "on a slow machine", "at the very end", "under heavy load",
    "if the file has changed", "without a lock", "in constant time", "whenever two of them meet",
)  # fmt: skip
JOINS = ("because", "although", "so that", "unless", "whereas", "and then", "which means that")
OPENERS = ("In practice,", "Note that", "Usually", "For example,", "Even so,", "As a rule,", "First of all,")

WHICH = ("the", "a single", "each", "every", "the other")
_MARKED = {"plain": 76, "code": 11, "strong": 6, "emphasis": 5, "link": 2}
"""How often a noun has each kind of markup, in percent."""


def tokens(text: str) -> list[str]:
    """Return the text in pieces of about four characters, approximately like those of a tokenizer."""
    return _TOKEN.findall(text)


@cache
def blocks(count: int, seed: int = 1) -> tuple[str, ...]:
    """Return the blocks of an answer of at least `count` tokens, each followed by a blank line."""
    writer, made, length = _Writer(seed).blocks(), list[str](), 0
    while length < count:
        made.append(next(writer))
        length += len(tokens(made[-1]))
    return tuple(made)


def answers(count: int, size: int, seed: int = 1) -> list[str]:
    """Return an answer of about `count` tokens, split between blocks into answers of about `size`.

    The words are the same for every size.
    """
    whole = blocks(count, seed)
    lengths = [len(tokens(block)) for block in whole]
    parts = ["" for _ in range(max(1, round(sum(lengths) / size)))]
    place = 0
    for block, length in zip(whole, lengths, strict=True):
        parts[(place + length // 2) * len(parts) // sum(lengths)] += block
        place += length
    return [part for part in parts if part]


def one_paragraph(count: int, seed: int = 1) -> str:
    """Return a paragraph of `count` tokens in a single line."""
    writer = _Writer(seed)
    text = writer.sentence()
    while len(pieces := tokens(text)) < count:
        text += "".join(f" {writer.sentence()}" for _ in range(20))
    return "".join(pieces[:count])


def one_fence(count: int, seed: int = 1) -> str:
    """Return one block of code of about `count` tokens."""
    writer = _Writer(seed)
    lines, length = ["```python\n"], 0
    while length < count:
        lines.append(f"{writer.function()}\n\n\n")
        length += len(tokens(lines[-1]))
    return "".join(lines).rstrip() + "\n```\n"


class _Writer:
    """Writes one block after another."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - text, not secrets

    def blocks(self) -> Iterator[str]:
        """Yield blocks indefinitely."""
        since_table = 0
        while True:
            deck = [*_DECK]
            self._chance.shuffle(deck)
            for place, kind in enumerate(deck):
                if since_table >= TABLE_EVERY:
                    since_table = 0
                    yield f"{self._table()}\n\n"
                text = getattr(self, f"_{kind}")()
                if place % 4 == 0:
                    text = f"{self._heading()}\n\n{text}"
                since_table += len(text)
                yield f"{text}\n\n"

    def _one(self, words: Sequence[str]) -> str:
        return self._chance.choice(words)

    def _name(self) -> str:
        return f"{self._one(DOES)}_{self._one(QUALITIES)}_{self._one(THINGS[:10])}"

    def _thing(self) -> str:
        """Return a noun, sometimes with markup."""
        thing = f"{self._one(QUALITIES)} {self._one(THINGS)}"
        (kind,) = self._chance.choices(list(_MARKED), [*_MARKED.values()])
        match kind:
            case "strong":
                return f"**{thing}**"
            case "emphasis":
                return f"*{thing}*"
            case "code":
                return f"`{self._name()}`"
            case "link":
                target = f"{self._one(THINGS[:10])}/{self._chance.randrange(1000)}"
                return f"[{thing}](https://docs.example.org/{target})"
        return f"{self._one(WHICH)} {thing}"

    def _luck(self, share: float) -> bool:
        return self._chance.random() < share

    def _clause(self) -> str:
        when = f" {self._one(WHEN)}" if self._luck(0.5) else ""
        return f"{self._thing()} {self._one(DOES)} {self._thing()}{when}"

    def sentence(self) -> str:
        """Return a sentence."""
        text = self._clause()
        if self._luck(0.3):
            text = f"{self._one(OPENERS)} {text}"
        if self._luck(0.5):
            text += f", {self._one(JOINS)} {self._clause()}"
        return f"{text[0].upper()}{text[1:]}."

    def _heading(self) -> str:
        marks = "#" * self._chance.choice((2, 2, 3, 4))
        return f"{marks} The {self._one(QUALITIES)} {self._one(THINGS)} and {self._one(THINGS)}"

    def _paragraph(self) -> str:
        return " ".join(self.sentence() for _ in range(self._chance.randint(3, 6)))

    def _bullets(self) -> str:
        lines = []
        for _ in range(self._chance.randint(3, 6)):
            lines.append(f"- {self.sentence()}")
            if self._luck(0.4):
                lines += [f"  - {self._clause()}" for _ in range(self._chance.randint(1, 3))]
        return "\n".join(lines)

    def _steps(self) -> str:
        return "\n".join(f"{n}. {self.sentence()}" for n in range(1, self._chance.randint(4, 8)))

    def _quote(self) -> str:
        return "\n".join(f"> {self.sentence()}" for _ in range(self._chance.randint(1, 3)))

    def _table(self) -> str:
        columns = self._chance.randint(2, 4)
        rows = [[self._one(THINGS).capitalize() for _ in range(columns)], ["---"] * columns]
        for _ in range(self._chance.randint(3, 7)):
            cells = [f"{self._one(QUALITIES)} {self._one(THINGS[:30])}" for _ in range(columns - 1)]
            rows.append([f"`{self._one(THINGS[:10])}`", *cells])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _code(self) -> str:
        wanted = self._chance.randint(*CODE_LINES)
        lines: list[str] = []
        while len(lines) < wanted:
            lines += [*self.function().split("\n"), "", ""]
        return "\n".join(["```python", *lines[:wanted], "```"])

    def function(self) -> str:
        """Return a Python function."""
        given, made = self._one(THINGS[:10]), self._one(THINGS[10:20])
        lines = [
            f"def {self._name()}({given}: list[int], limit: int = {self._chance.randrange(9999)}) -> int:"
        ]
        lines += [
            f'    """Return how the {self._one(QUALITIES)} {given} {self._one(DOES)}."""',
            f"    {made} = 0",
        ]
        for _ in range(self._chance.randint(1, 4)):
            number = self._chance.randrange(1000)
            lines += self._chance.choice(
                (
                    [
                        f"    for number, item in enumerate({given}):",
                        f"        {made} += number * item % {number}",
                    ],
                    [f"    # {self.sentence()}"[:76], f"    {made} = max({made}, limit - {number})"],
                    [
                        f"    if {made} > {number} and not {given}:",
                        f'        raise ValueError(f"{self._one(THINGS)}: {{limit!r}}")',
                    ],
                    [
                        f"    while {made} < {number}:",
                        f"        {made} += {self._one(THINGS[:10])}_of({given}, key={number / 7:.3f})",
                    ],
                )
            )
        return "\n".join([*lines, f"    return {made}"])
