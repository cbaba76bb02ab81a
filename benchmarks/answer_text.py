"""Synthetic long answers to stream, of any length and the same each time.

They contain headings, paragraphs, lists, steps, code, quotes and tables, as models write them. A token here
is a piece of about four characters; no tokenizer is used.
"""

import random
import re
from functools import cache
from itertools import accumulate

_TOKEN = re.compile(r" ?\w{1,7}|\n+| +|[^\w\s]{1,3}")
_FIELD = re.compile(r"\{(\w+)\}")
_STATEMENT = "    {name} = {name} + {number} % limit  # {verb} it {adverb}\n"
_LOOP = "    while {name} < {number}:\n        {name} += {name}_of(limit, key={number})\n"
_FUNCTION = 'def {verb}({name}: int, limit: int = {number}) -> int:\n    """Return the {noun}."""\n'
_TABLE_ROW = "| `{name}` | {noun} | {adverb} |\n"
_BLOCKS = (
    "## The {noun}\n\n{sentence} {sentence} {sentence} {sentence}\n\n",
    "{sentence} {sentence} {sentence}\n\n",
    "- {sentence}\n- {sentence}\n  - {clause}\n  - {clause}\n- {sentence}\n- {sentence}\n\n",
    "```python\n" + (_FUNCTION + _STATEMENT * 3 + _LOOP + "    return {name}\n\n\n") * 2 + "```\n\n",
    "1. {sentence}\n2. {sentence}\n3. {sentence}\n4. {sentence}\n\n",
    "> {sentence}\n> {sentence}\n\n",
)
_TABLE = "| {name} | Noun | When |\n| --- | --- | --- |\n" + _TABLE_ROW * 5 + "\n"
TABLE_EVERY = 12
"""Blocks between two tables."""
_GRAMMAR = {
    "sentence": ["In practice, {clause}.", *["The {clause}."] * 2, "A {clause}, because {clause}."],
    "clause": ["{marked} {verb} {marked}", "{marked} {verb} the {marked} {adverb}"],
    "marked": [*["{noun}"] * 16, "`{name}_{number}`", "`{name}`", "**{noun}**", "*{noun}*", "[{noun}](https://docs.example.org/{name})"],
    "noun": [*["{adjective} {name}"] * 6, "{adjective} café", "{adjective} naïve Bayes model"],
    "adjective": ["small", "stale", "shared", "hidden", "early", "nested", "broken", "quiet", "left-hand"],
    "name": ["buffer", "scheduler", "cache", "parser", "index", "queue", "session", "snapshot", "cursor"],
    "verb": ["keeps", "drops", "moves", "splits", "reads", "writes", "rebuilds", "compares", "replaces"],
    "adverb": ["once per request", "in most cases", "at the very end", "under load", "on a slow machine"],
    "number": [str(number) for number in range(1000)],
}  # fmt: skip


def tokens(text: str) -> list[str]:
    """Return the text in pieces of about four characters, approximately like those of a tokenizer."""
    return _TOKEN.findall(text)


@cache
def blocks(count: int, seed: int = 1) -> tuple[str, ...]:
    """Return the blocks of an answer of at least `count` tokens, each followed by a blank line."""
    chance = random.Random(seed)  # noqa: S311 - text, not secrets
    made, length = list[str](), 0

    def expand(text: str) -> str:
        return _FIELD.sub(lambda field: expand(chance.choice(_GRAMMAR[field[1]])), text)

    while length < count:
        is_table = len(made) % TABLE_EVERY == TABLE_EVERY - 1
        made.append(expand(_TABLE if is_table else chance.choice(_BLOCKS)))
        length += len(tokens(made[-1]))
    return tuple(made)


def answers(count: int, size: int, seed: int = 1) -> list[str]:
    """Return an answer of about `count` tokens, split between blocks into answers of about `size`."""
    whole = blocks(count, seed)
    lengths = [len(tokens(block)) for block in whole]
    parts = [""] * max(1, round(sum(lengths) / size))
    for block, end in zip(whole, accumulate(lengths), strict=True):
        parts[(end - 1) * len(parts) // sum(lengths)] += block
    return [part for part in parts if part]
