"""Telling: which of the entries that fire find room in the budget, and what they cost.

It knows tokens and priorities. It refuses to know what wakes an entry, and where in the prompt it stands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hermes_cli.chat.lore import ALWAYS, Lore
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import Entry, Position

LORE_SHARE: Final = 4
"""Lore may fill a fourth of the window, and of a book no more than the book says."""

Cost = Callable[[Message], int]
"""The tokens of a turn, with what marks its beginning and its end."""


@dataclass(frozen=True, slots=True)
class Told:
    """An entry that stands in the prompt.

    `word` fired it at the turn of place `since`; it stands before the turn of place `at`, and costs `tokens`.
    """

    number: int
    entry: Entry
    word: str
    text: str
    since: int = 0
    at: int = 0
    tokens: int = 0

    @property
    def message(self) -> Message:
        """The turn in which it is told."""
        return Message(Role.SYSTEM, self.text)


class Telling:
    """Tells the entries of a conversation's books, within the budget of a window of so many tokens."""

    def __init__(self, lore: Lore, window: int, cost: Cost) -> None:
        self.lore = lore
        self._window = window
        self._cost = cost

    def tell(self, number: int, word: str, since: int, first: int) -> Told | None:
        """Return an entry that fires at the turn of place `since`; None for one that has no text.

        It is told before that turn, or as many turns from the end as it wants, but not before the `first`.
        """
        entry, text = self.lore.entries[number][0], self.lore.text(number, since)
        if not text.strip():
            return None
        deep = entry.position is Position.DEPTH
        at = max(first, since + 1 - entry.depth) if deep else since
        told = Told(number, entry, word, text, since, at)
        return replace(told, tokens=self._cost(told.message))

    def always(self, system: str | None) -> tuple[list[Told], list[Told], str]:
        """Return the entries that are always told, those without room, and the system prompt with them.

        What an entry costs there is what the system prompt grows by.
        """
        told = [one for number in self.lore.always() if (one := self.tell(number, ALWAYS, 0, 0))]
        stay, go = self.within_budget([], told)
        floating = [one for one in stay if one.entry.position is Position.DEPTH]
        texts = {Position.BEFORE: list[str](), Position.AFTER: list[str]()}
        whole, counted = _joined([], system, []), list[Told]()
        for one in (one for one in in_order(stay) if one not in floating):
            texts[one.entry.position].append(one.text)
            grown = _joined(texts[Position.BEFORE], system, texts[Position.AFTER])
            counted.append(replace(one, tokens=self._system_cost(grown) - self._system_cost(whole)))
            whole = grown
        return [*counted, *in_order(floating)], go, whole

    def _system_cost(self, text: str) -> int:
        return self._cost(Message(Role.SYSTEM, text)) if text else 0

    def within_budget(self, taken: Sequence[Told], wanted: Sequence[Told]) -> tuple[list[Told], list[Told]]:
        """Return which of the wanted entries have room beside those that are taken, and which have not."""
        room = self._window // LORE_SHARE
        rooms = {id(book): book.token_budget for book in self.lore.books}
        stay, go = list[Told](), list[Told]()
        for place, one in enumerate([*taken, *by_weight(wanted)]):
            book = id(self.lore.entries[one.number][1])
            left = rooms[book]
            if (
                place < len(taken)
                or one.entry.ignores_budget
                or one.tokens <= (room if left is None else min(room, left))
            ):
                stay.append(one)
                if not one.entry.ignores_budget:
                    room -= one.tokens
                    rooms[book] = None if left is None else left - one.tokens
            else:
                go.append(one)
        return stay[len(taken) :], go


def by_weight(told: Sequence[Told]) -> list[Told]:
    """Return entries in the order in which they may stay where room is short."""
    return sorted(told, key=lambda one: (-one.entry.priority, -one.entry.order, one.number))


def in_order(told: Sequence[Told]) -> list[Told]:
    """Return entries in the order in which they are told."""
    return sorted(told, key=lambda one: (one.entry.order, one.number))


def _joined(before: Sequence[str], system: str | None, after: Sequence[str]) -> str:
    return "\n\n".join([*before, *([system] if system else []), *after])
