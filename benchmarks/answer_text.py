"""Synthetic long answers to stream, of any length and the same each time.

They contain headings, paragraphs, lists, steps, code, quotes and tables, as models write them. A token here
is a piece of about four characters; no tokenizer is used.
"""

import random
import re
from collections.abc import Iterator
from functools import cache

TABLE_EVERY = 3000
"""Characters between two tables."""
_TOKEN = re.compile(r" ?\w{1,7}|\n+| +|[^\w\s]{1,3}")
_BLOCKS = ("paragraph", "bullets", "paragraph", "code", "steps", "paragraph", "quote", "paragraph", "code")
_NAMES = "buffer scheduler cache parser index queue session planner snapshot cursor".split()
_NOUNS = [
    *_NAMES,
    *"harbour orchard letter engine lantern ledger bridge garden valley window thread packet".split(),
    *("café", "naïve Bayes model", "left-hand side", "follow-up", "request", "response", "handler"),
]
_ADJECTIVES = "small stale careful shared hidden early nested broken quiet final expensive lazy".split()
_VERBS = "keeps drops moves splits reads writes rebuilds compares delays replaces follows hides".split()
_ADVERBS = (
    *("before anything else happens", "once per request", "after the second pass", "in most cases"),
    *("on a slow machine", "at the very end", "under heavy load", "if the file has changed", "", "", "", ""),
)
_JOINS = (", because {}", ", although {}", ", so that {}", ", which means that {}", "", "", "", "")
_OPENERS = ("In practice, ", "Usually ", "For example, ", "As a rule, ", *[""] * 8)
_MARKUP = {
    "the {}": 38,
    "every {}": 38,
    "`{}`": 11,
    "**{}**": 6,
    "*{}*": 5,
    "[{}](https://docs.example.org/)": 2,
}
"""How often a noun has each kind of markup, in percent."""
_STATEMENTS = (
    "    for number, item in enumerate({name}):\n        total += number * item % {number}",
    "    # The {name} {verb} it {adverb}.\n    total = max(total, limit - {number})",
    "    if total > {number} and not {name}:\n        raise ValueError(f'{name}: {{limit!r}}')",
    "    while total < {number}:\n        total += {name}_of({name}, key={number})",
)


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


class _Writer:
    """Writes one block after another."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - text, not secrets
        self._one = self._random.choice

    def blocks(self) -> Iterator[str]:
        """Yield blocks indefinitely."""
        since_table = 0
        while True:
            for place, kind in enumerate(self._random.sample(_BLOCKS, len(_BLOCKS))):
                if since_table >= TABLE_EVERY:
                    since_table = 0
                    yield f"{self._table()}\n\n"
                text = getattr(self, f"_{kind}")()
                if place % 4 == 0:
                    marks = self._one(("##", "##", "###", "####"))
                    text = f"{marks} The {self._one(_ADJECTIVES)} {self._one(_NOUNS)}\n\n{text}"
                since_table += len(text)
                yield f"{text}\n\n"

    def _noun(self) -> str:
        """Return a noun, sometimes with markup."""
        (markup,) = self._random.choices(list(_MARKUP), [*_MARKUP.values()])
        return markup.format(f"{self._one(_ADJECTIVES)} {self._one(_NOUNS)}")

    def _clause(self) -> str:
        return f"{self._noun()} {self._one(_VERBS)} {self._noun()} {self._one(_ADVERBS)}".rstrip()

    def _sentence(self) -> str:
        text = self._one(_OPENERS) + self._clause() + self._one(_JOINS).format(self._clause())
        return f"{text[0].upper()}{text[1:]}."

    def _sentences(self, least: int, most: int) -> list[str]:
        return [self._sentence() for _ in range(self._random.randint(least, most))]

    def _paragraph(self) -> str:
        return " ".join(self._sentences(3, 6))

    def _bullets(self) -> str:
        return "\n".join(f"{self._one(('- ', '- ', '  - '))}{one}" for one in ["So:", *self._sentences(4, 9)])

    def _steps(self) -> str:
        return "\n".join(f"{number}. {one}" for number, one in enumerate(self._sentences(3, 7), 1))

    def _quote(self) -> str:
        return "\n".join(f"> {one}" for one in self._sentences(1, 3))

    def _table(self) -> str:
        columns = range(self._random.randint(1, 3))
        rows = [["Name", *(self._one(_NOUNS) for _ in columns)], ["---", *("---" for _ in columns)]]
        for _ in range(self._random.randint(3, 7)):
            cells = [f"{self._one(_ADJECTIVES)} {self._one(_NOUNS)}" for _ in columns]
            rows.append([f"`{self._one(_NAMES)}`", *cells])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _code(self) -> str:
        return "\n".join(["```python", *(self._function() for _ in range(self._random.randint(1, 4))), "```"])

    def _function(self) -> str:
        name, number = self._one(_NAMES), self._random.randrange(1000)
        words = {"name": name, "number": number, "verb": self._one(_VERBS), "adverb": self._one(_ADVERBS)}
        body = [self._one(_STATEMENTS).format(**words) for _ in range(self._random.randint(1, 4))]
        head = f"def {self._one(_VERBS)}_{name}({name}: list[int], limit: int = {number}) -> int:"
        return "\n".join(
            [head, f'    """Return the {name}."""', "    total = 0", *body, "    return total\n\n"]
        )
