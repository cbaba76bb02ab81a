"""L1: tokens prefilled in each of twenty turns, with a lorebook of 200 entries and without.

Measured: the tokens that the engine reports as prefilled in each turn. Beside: the same conversation without
the lorebook, and with the entries activated by the last two turns in the system prompt, as other programs do
if an entry has no position. Towns are named in most turns; answers are greedy, and depend on the inserted
entries.

Gates: every entry whose key occurs in the last two turns is in the prompt, according to a search for the key;
and no turn prefills an id that is not new, counted as in C3.
"""

from typing import Any

from benchmarks.measure import Bench, Line
from benchmarks.rows.c3 import new_ids
from benchmarks.rows.hf import reported

CONTEXT = 8192
TOKENS = 32


def measure(bench: Bench) -> list[Line]:
    """Measure the row; return the tokens with the book, beside those without it and those at the top."""
    ask = {"engine": "llama.cpp", "model": str(bench.model), "n_ctx": CONTEXT, "n_predict": TOKENS}
    talks = {
        told: reported(bench, "ours.lore", {**ask, "told": told}) for told in ("hermes", "top", "nothing")
    }
    return lines(talks)


def lines(talks: dict[str, list[dict[str, Any]]]) -> list[Line]:
    """Return the lines of the three conversations."""
    sums = {told: sum(turn["prefilled"] for turn in talk) for told, talk in talks.items()}
    wrong = gate(talks)
    detail = {
        told: {
            "prefilled": [turn["prefilled"] for turn in talk],
            "prompt": [len(turn["prompt"]) for turn in talk],
        }
        for told, talk in talks.items()
    }
    with_book = sums["hermes"]
    return [
        Line(
            "L1",
            "tokens prefilled with a book, beside at the top",
            "tokens",
            with_book,
            sums["top"],
            None,
            wrong,
            detail,
        ),
        Line(
            "L1",
            "tokens prefilled with a book, beside no book",
            "tokens",
            with_book,
            sums["nothing"],
            None,
            wrong,
        ),
    ]


def gate(talks: dict[str, list[dict[str, Any]]]) -> str:
    """Return an error text if an entry is missing, or ids were evaluated again."""
    for told in ("hermes", "top"):
        for number, turn in enumerate(talks[told], 1):
            if turn["missing"]:
                return f"turn {number}, {told}: {turn['missing']} of {turn['wanted']} entries are missing"
    for told, talk in talks.items():
        for number, (turn, allowed) in enumerate(zip(talk, new_ids(talk), strict=True), 1):
            if turn["prefilled"] not in allowed:
                return f"turn {number}, {told}: {turn['prefilled']} ids were evaluated, {allowed} are new"
    return ""
