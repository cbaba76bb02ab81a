"""Render random dialogues with chat templates: `python -m torture.templates [ORDINARY [HOSTILE]]`.

The template of each family is combined with each kind of tokenizer. ORDINARY dialogues (500) are compared
with transformers' `apply_chat_template`, and the control tokens of HOSTILE ones (300) with those of harmless
ones. The same is done with a GGUF of each architecture, which needs torch to be made. Prints the counts, and
exits 1 if ids differ or a control token is forged. The ids of a GGUF may differ, because llama.cpp does not
split all texts as transformers does.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

ORDINARY: Final = 500
HOSTILE: Final = 300
SEEDS: Final = (52, 54)

Counts = tuple[int, int, int, int]
"""Ordinary dialogues, those whose ids differ, hostile dialogues, and those that forge a control token."""


def families(ordinary: int, hostile: int, pairs: Sequence[tuple[str, str]] | None = None) -> Counts:
    """Print and return the counts of pairs of a family and a kind of tokenizer; the default is all."""
    from tests.prompts.template_checks import PAIRS, differences, forged

    pairs = pairs or PAIRS
    rows = list[Counts]()
    for name, group in groupby(pairs, key=lambda pair: pair[0]):
        kinds = [kind for _, kind in group]
        compared = [differences(name, kind, ordinary, SEEDS[0]) for kind in kinds]
        attacked = sum(forged(name, kind, hostile, SEEDS[1]) for kind in kinds)
        wrong, count = (sum(column) for column in zip(*compared, strict=True))
        rows.append((count, wrong, hostile * len(kinds), attacked))
        _print(name, len(kinds), rows[-1])
    return _print_sum(f"all {len(rows)}", len(pairs), rows)


def ggufs(ordinary: int, hostile: int) -> Counts:
    """Print and return the counts of the GGUFs of all architectures."""
    from tests.architectures import ARCHITECTURES, write_model
    from tests.prompts.template_checks import gguf_counts

    rows = list[Counts]()
    for name in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as root:
            path = write_model(Path(root), name, "gguf")
            folder = write_model(Path(root), name, "folder")
            rows.append(gguf_counts(path, folder, ordinary, hostile, SEEDS))
        _print(f"GGUF of {name}", 1, rows[-1])
    return _print_sum(f"all {len(rows)} GGUFs", len(rows), rows)


def _print_sum(name: str, tokenizers: int, rows: Sequence[Counts]) -> Counts:
    compared, different, attacked, forged = (sum(column) for column in zip(*rows, strict=True))
    counts = compared, different, attacked, forged
    _print(name, tokenizers, counts)
    return counts


def _print(name: str, tokenizers: int, counts: Counts) -> None:
    compared, different, attacked, forged = counts
    plural = "s" if tokenizers > 1 else ""
    print(
        f"{name} ({tokenizers} tokenizer{plural}): {compared:,} ordinary, {different} differ; "
        f"{attacked:,} hostile, {forged} forged",
        flush=True,
    )


def main(arguments: list[str]) -> int:
    """Run with the counts of the command line."""
    defaults = [ORDINARY, HOSTILE]
    counts = [int(argument) for argument in arguments[: len(defaults)]]
    ordinary, hostile = counts + defaults[len(counts) :]
    _, different, _, forged = families(ordinary, hostile)
    if importlib.util.find_spec("torch") is None:
        print("GGUFs: not measured, since torch is not installed")
    else:
        forged += ggufs(ordinary, hostile)[3]
    return int(different + forged > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
