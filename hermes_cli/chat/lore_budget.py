"""The lore budget: selects the entries that fit in the prompt, by priority and token count."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hermes_cli.chat.lore import ALWAYS, LoreMatcher
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import LoreEntry, Position
from hermes_cli.untrusted.deadline import Deadline

LORE_SHARE: Final = 4
"""Lore may fill a quarter of the context window, and each lorebook at most its own token budget."""

MAX_ACTIVATED: Final = 500
MAX_CHARACTERS: Final = 300_000
"""Characters of entries that are counted in tokens at a turn: a quarter of a window of 262,144 tokens."""

Cost = Callable[[Message], int]
"""Returns the number of tokens of a turn, including its control tokens and role."""


@dataclass(frozen=True, slots=True)
class ActiveEntry:
    """A lore entry that is a candidate for the prompt, with its text.

    The entry fired at the turn with index `since`, because of `key`. It is inserted before the turn with
    index `at`, and has `tokens` tokens.
    """

    number: int
    entry: LoreEntry
    key: str
    text: str
    since: int = 0
    at: int = 0
    tokens: int = 0

    @property
    def message(self) -> Message:
        """The system message that contains the text."""
        return Message(Role.SYSTEM, self.text)


class LoreBudget:
    """Selects lore entries that fit in the budget of a context window of `window` tokens."""

    def __init__(self, lore: LoreMatcher, window: int, cost: Cost) -> None:
        self.lore = lore
        self._window = window
        self._cost = cost

    def activate(
        self, number: int, key: str, since: int, first: int, deadline: Deadline
    ) -> ActiveEntry | None:
        """Return the entry as fired at the turn with index `since`, or None if its text is empty.

        It is inserted before that turn, or `depth` turns from the end if its position is DEPTH, but never
        before the turn with index `first`.
        """
        entry, text = self.lore.entries[number][0], self.lore.text(number, since, deadline)
        if not text.strip():
            return None
        by_depth = entry.position is Position.DEPTH
        at = max(first, since + 1 - entry.depth) if by_depth else since
        active = ActiveEntry(number, entry, key, text, since, at)
        return replace(active, tokens=self._cost(active.message))

    def activate_all(
        self, fires: Mapping[int, str], since: int, first: int, deadline: Deadline
    ) -> list[ActiveEntry]:
        """Return the entries that fire and have a text, the most important ones if there are too many.

        At most MAX_ACTIVATED entries with MAX_CHARACTERS in total are counted in tokens, before the deadline.
        """
        entries = self.lore.entries
        by_rank = sorted(fires, key=lambda n: (-entries[n][0].priority, -entries[n][0].order, n))
        activated, room = list[ActiveEntry](), MAX_CHARACTERS
        with deadline:
            for place, number in enumerate(by_rank):
                room -= len(entries[number][0].content)
                if place == MAX_ACTIVATED or room < 0 or deadline.is_over:
                    left_out = len(by_rank) - place
                    deadline.skipped["lore entries"] = f"left out {left_out:,} of {len(by_rank):,} that fire"
                    break
                active = self.activate(number, fires[number], since, first, deadline)
                if active is not None:
                    activated.append(active)
        return activated

    def always(
        self, system: str | None, deadline: Deadline
    ) -> tuple[list[ActiveEntry], list[ActiveEntry], str]:
        """Return the constant entries that fit, those that do not, and the system prompt with constant lore.

        The token count of an entry in the system prompt is the number of tokens that it adds to that prompt,
        or those of a separate message if the system prompt is too long to be counted so often.
        """
        candidates = self.activate_all(dict.fromkeys(self.lore.always(), ALWAYS), 0, 0, deadline)
        kept, dropped = self.within_budget([], candidates)
        floating = [active for active in kept if active.entry.position is Position.DEPTH]
        texts = {Position.BEFORE: list[str](), Position.AFTER: list[str]()}
        merged, measured = _joined([], system, []), list[ActiveEntry]()
        is_short = len(kept) * len(system or "") <= MAX_CHARACTERS
        for active in (active for active in in_order(kept) if active.entry.position is not Position.DEPTH):
            texts[active.entry.position].append(active.text)
            longer = _joined(texts[Position.BEFORE], system, texts[Position.AFTER])
            tokens = self._system_cost(longer) - self._system_cost(merged) if is_short else active.tokens
            measured.append(replace(active, tokens=tokens))
            merged = longer
        return [*measured, *in_order(floating)], dropped, merged

    def _system_cost(self, text: str) -> int:
        return self._cost(Message(Role.SYSTEM, text)) if text else 0

    def within_budget(
        self, taken: Sequence[ActiveEntry], wanted: Sequence[ActiveEntry]
    ) -> tuple[list[ActiveEntry], list[ActiveEntry]]:
        """Return the `wanted` entries that fit in the budget in addition to `taken`, and the others."""
        room = self._window // LORE_SHARE
        rooms = {id(book): book.token_budget for book in self.lore.books}
        kept, dropped = list[ActiveEntry](), list[ActiveEntry]()
        for place, active in enumerate([*taken, *by_priority(wanted)]):
            book = id(self.lore.entries[active.number][1])
            left = rooms[book]
            if (
                place < len(taken)
                or active.entry.ignores_budget
                or active.tokens <= (room if left is None else min(room, left))
            ):
                kept.append(active)
                if not active.entry.ignores_budget:
                    room -= active.tokens
                    rooms[book] = None if left is None else left - active.tokens
            else:
                dropped.append(active)
        return kept[len(taken) :], dropped


def by_priority(entries: Sequence[ActiveEntry]) -> list[ActiveEntry]:
    """Return the entries sorted by importance, the most important first."""
    return sorted(entries, key=lambda active: (-active.entry.priority, -active.entry.order, active.number))


def in_order(entries: Sequence[ActiveEntry]) -> list[ActiveEntry]:
    """Return the entries in the order in which they appear in the prompt."""
    return sorted(entries, key=lambda active: (active.entry.order, active.number))


def _joined(before: Sequence[str], system: str | None, after: Sequence[str]) -> str:
    return "\n\n".join([*before, *([system] if system else []), *after])
