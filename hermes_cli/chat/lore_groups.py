"""Inclusion groups of lore entries: of the entries of a group that fire at a turn, one is used."""

from collections.abc import Callable, Collection, Mapping
from random import Random

from hermes_cli.personas.lorebook import LoreEntry


def one_of_each_group(
    found: Mapping[int, str],
    active: Collection[int],
    entry_of: Callable[[int], LoreEntry],
    score_of: Callable[[int], int],
    seed: str,
) -> dict[int, str]:
    """Return `found`, which maps the numbers of entries to keys, with at most one entry of each group.

    A group of an `active` entry, which fired earlier at the same turn or is sticky, gets no other entry. Of
    the entries that are scored, those with the most matching keys remain; `score_of` returns the number for
    an entry. Then the entry with `group_override` and the highest order is used, or else one is drawn by
    weight. The draw is the same for the same seed. An entry in several groups must remain in each.
    """
    groups = dict[str, list[int]]()
    for number in sorted(found):
        for group in entry_of(number).groups:
            groups.setdefault(group, []).append(number)
    taken = {group for number in active for group in entry_of(number).groups} if groups else set()
    left = set(found)
    for group, members in groups.items():
        numbers = [number for number in members if number in left]
        left.difference_update(numbers)
        if group not in taken and numbers:
            left.add(_winner(_best(numbers, entry_of, score_of), entry_of, f"{seed}/{group}"))
    return {number: key for number, key in found.items() if number in left}


def _best(
    numbers: list[int], entry_of: Callable[[int], LoreEntry], score_of: Callable[[int], int]
) -> list[int]:
    """Return the entries without those that are scored and have fewer matching keys than another."""
    if len(numbers) == 1 or not any(entry_of(number).group_scoring for number in numbers):
        return numbers
    scores = {number: score_of(number) for number in numbers}
    most = max(scores.values())
    return [number for number in numbers if scores[number] == most or not entry_of(number).group_scoring]


def _winner(numbers: list[int], entry_of: Callable[[int], LoreEntry], seed: str) -> int:
    first = [number for number in numbers if entry_of(number).group_override]
    if first:
        return max(first, key=lambda number: (entry_of(number).order, -number))
    weights = [entry_of(number).group_weight for number in numbers]
    if len(numbers) == 1 or not any(weights):
        return numbers[0]
    return Random(seed).choices(numbers, weights)[0]  # noqa: S311 - the draw must be repeatable
