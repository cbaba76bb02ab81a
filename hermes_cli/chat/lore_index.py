"""Finds the lore entries that a text may fire, without a look at all the others."""

from collections.abc import Sequence

from hermes_cli.chat.key_index import KeyIndex, ScannedText
from hermes_cli.chat.lore_keys import parse_key
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.untrusted.deadline import Deadline


class LoreIndex:
    """The entries of lorebooks by the keys that can fire them. An entry's number is its index.

    Disabled and pinned entries are left out. `constant`, `sticky` and `delayed` are the numbers of the other
    entries that are constant, that are sticky, and that fire only after another one. `expressions` are the
    numbers of the entries with regular expressions as keys, and `expression_keys` are those keys. `depths`
    are the different scan depths, and `levels` the recursion levels of the delayed entries, sorted.
    `matching` maps the name of each text of the persona to the numbers of the entries that search it.
    """

    def __init__(self, entries: Sequence[LoreEntry]) -> None:
        self.constant, self.sticky, self.delayed = set[int](), set[int](), set[int]()
        self.expressions = set[int]()
        self.expression_keys = set[str]()
        self._depths = dict[int, int]()
        self.matching = dict[str, set[int]]()
        self._keys, self._numbers = list[str](), list[int]()
        for number, entry in enumerate(entries):
            if not entry.enabled or is_pinned(entry):
                continue
            if entry.sticky:
                self.sticky.add(number)
            if entry.only_recursion:
                self.delayed.add(number)
            if entry.constant:
                self.constant.add(number)
                continue
            self._depths[number] = entry.scan_depth or 0
            self._add_keys(number, entry)
            for name in entry.matches:
                self.matching.setdefault(name, set()).add(number)
        self.levels = sorted({entries[number].recursion_level for number in self.delayed})
        self.depths = sorted({depth for depth in self._depths.values() if depth > 0})
        self._index = KeyIndex(self._keys)

    def _add_keys(self, number: int, entry: LoreEntry) -> None:
        """Add the keys of an entry. Secondary keys are searched only after another key is found."""
        for key in entry.keys:
            if _is_expression(key):
                self.expression_keys.add(key)
                self.expressions.add(number)
            else:
                self._keys.append(key)
                self._numbers.append(number)
        self.expression_keys.update(filter(_is_expression, entry.secondary))

    def candidates(self, scanned: ScannedText, deadline: Deadline) -> set[int]:
        """Return the numbers of the entries that the text may fire, and perhaps of others."""
        places = self._index.places(scanned, deadline)
        return self.expressions.union(self._numbers[place] for place in places)

    def possible_keys(self, scanned: ScannedText, deadline: Deadline) -> set[str]:
        """Return the plain keys that the text may contain."""
        if scanned.possible_keys is None:
            places = self._index.places(scanned, deadline)
            scanned.possible_keys = {self._keys[place] for place in places}
        return scanned.possible_keys

    def depth(self, number: int, turns: int) -> int:
        """Return how many of `turns` turns are searched for the keys of an entry."""
        return min(self._depths.get(number, 0), turns)


def is_pinned(entry: LoreEntry) -> bool:
    """Return whether an entry is included in every prompt, regardless of the turns."""
    timed = entry.delay or entry.cooldown or entry.sticky or entry.only_recursion or entry.after_answers
    return (
        entry.constant
        and entry.probability >= 100  # noqa: PLR2004 - percent
        and not timed
        and entry.greeting is None
        and not entry.groups
    )


def _is_expression(key: str) -> bool:
    return "/" in key and parse_key(key)[0] is not None
