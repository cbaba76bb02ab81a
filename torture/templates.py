"""Render random dialogues with chat templates: `python -m torture.templates [ORDINARY [HOSTILE]]`.

The template of each family is combined with each kind of tokenizer. ORDINARY dialogues (500) are compared
with transformers' `apply_chat_template`, and the control tokens of HOSTILE ones (300) with those of harmless
ones. Prints the counts of each family, and exits 1 if ids differ or a control token is forged.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

ORDINARY: Final = 500
HOSTILE: Final = 300


def run(ordinary: int, hostile: int, pairs: Sequence[tuple[str, str]] | None = None) -> int:
    """Print the counts, and return the number of wrong dialogues.

    `pairs` are names of a family and a kind of tokenizer; the default is all of them.
    """
    from tests.prompts.template_checks import PAIRS, differences, forged

    pairs = pairs or PAIRS
    kinds = defaultdict[str, list[str]](list)
    for name, kind in pairs:
        kinds[name].append(kind)
    total = [0, 0, 0, 0]
    for name, names in kinds.items():
        compared = [differences(name, kind, ordinary, seed=52) for kind in names]
        counts = [
            sum(count for _, count in compared),
            sum(wrong for wrong, _ in compared),
            hostile * len(names),
            sum(forged(name, kind, hostile, seed=54) for kind in names),
        ]
        total = [before + count for before, count in zip(total, counts, strict=True)]
        print(_line(name, len(names), counts), flush=True)
    print(_line(f"all {len(kinds)}", len(pairs), total))
    return total[1] + total[3]


def _line(name: str, tokenizers: int, counts: list[int]) -> str:
    compared, different, attacked, forged = counts
    plural = "s" if tokenizers > 1 else ""
    return (
        f"{name} ({tokenizers} tokenizer{plural}): {compared:,} ordinary, {different} differ; "
        f"{attacked:,} hostile, {forged} forged"
    )


def main(arguments: list[str]) -> int:
    """Run with the counts of the command line."""
    defaults = [ORDINARY, HOSTILE]
    counts = [int(argument) for argument in arguments[: len(defaults)]]
    ordinary, hostile = counts + defaults[len(counts) :]
    return int(run(ordinary, hostile) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
