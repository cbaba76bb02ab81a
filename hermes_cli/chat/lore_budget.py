"""The lore budget: selects the entries that fit in the prompt, by priority and token count."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.lore_scan import ALWAYS
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import Lorebook, LoreEntry, Position
from hermes_cli.untrusted.deadline import Deadline

MAX_SYSTEM_SHARE: Final = 75
"""Percentage of the context window that the system prompt and the constant lore may fill together, whatever
an entry requests: the turns and the answer need the rest."""

MAX_ACTIVATED: Final = 500
MAX_CHARACTERS: Final = 300_000
"""Characters of entries that are counted in tokens at a turn: a quarter of a window of 262,144 tokens."""

_SEPARATOR: Final = "\n\n"

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
        """The message that contains the text."""
        role = self.entry.role if self.entry.position is Position.DEPTH else Role.SYSTEM
        return Message(role, self.text)


def depth(entry: LoreEntry) -> int:
    """Return the number of turns that follow an entry at the position DEPTH.

    It is at least 1 for the assistant's role, because the model would continue a prompt that ends with it.
    """
    return max(entry.depth, 1) if entry.role is Role.ASSISTANT else entry.depth


class LoreBudget:
    """Selects lore entries that fit in the budget of a context window of `window` tokens.

    Constant entries have a budget of their own, so that they do not displace those that fire, or the reverse.
    """

    def __init__(self, lore: LoreMatcher, window: int, cost: Cost) -> None:
        self.lore = lore
        self._window = window
        self._cost = cost

    def activate(
        self, number: int, key: str, turns: Sequence[Message], first: int, deadline: Deadline
    ) -> ActiveEntry | None:
        """Return the entry as fired at the last one of the turns, or None if its text is empty.

        It is inserted before that turn, or `depth` turns from the end if its position is DEPTH, but never
        before the turn with index `first`.
        """
        since = max(0, len(turns) - 1)
        entry, text = self.lore.entries[number][0], self.lore.text(number, since, deadline, turns)
        if not text.strip():
            return None
        by_depth = entry.position is Position.DEPTH
        at = max(first, since + 1 - depth(entry)) if by_depth else since
        active = ActiveEntry(number, entry, key, text, since, at)
        return replace(active, tokens=self._cost(active.message))

    def activate_all(
        self, fires: Mapping[int, str], turns: Sequence[Message], first: int, deadline: Deadline
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
                active = self.activate(number, fires[number], turns, first, deadline)
                if active is not None:
                    activated.append(active)
        return activated

    def always(
        self, system: str | None, deadline: Deadline, character_at: int = 0
    ) -> tuple[list[ActiveEntry], list[ActiveEntry], str]:
        """Return the constant entries that fit, those that do not, and the system prompt with constant lore.

        Entries at the position BEFORE are inserted after `character_at` characters of the system prompt.

        The token count of an entry in the system prompt is the number of tokens that it adds to that prompt,
        or those of a separate message if the system prompt is too long to be counted so often.
        """
        candidates = self.activate_all(dict.fromkeys(self.lore.always(), ALWAYS), (), 0, deadline)
        kept, dropped = self._constant_within_budget(candidates, self._system_cost(system or ""))
        floating = [active for active in kept if active.entry.position is Position.DEPTH]
        texts = {Position.BEFORE: list[str](), Position.AFTER: list[str]()}
        around = (system or "")[:character_at], (system or "")[character_at:].removeprefix(_SEPARATOR)
        merged, measured = system or "", list[ActiveEntry]()
        is_short = len(kept) * len(system or "") <= MAX_CHARACTERS
        for active in (active for active in in_order(kept) if active.entry.position is not Position.DEPTH):
            texts[active.entry.position].append(active.text)
            longer = _joined(around, texts[Position.BEFORE], texts[Position.AFTER])
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
        shares = [book.share for book in self.lore.books if book.share is not None]
        room = self._window * max([self.lore.settings.share, *shares]) // 100
        rooms = {id(book): self._book_room(book) for book in self.lore.books}
        kept, dropped = list[ActiveEntry](), list[ActiveEntry]()
        for place, active in enumerate([*taken, *by_priority(wanted)]):
            book = id(self.lore.entries[active.number][1])
            left = rooms[book]
            if place < len(taken) or active.entry.ignores_budget or active.tokens <= min(room, left):
                kept.append(active)
                if not active.entry.ignores_budget:
                    room -= active.tokens
                    rooms[book] = left - active.tokens
            else:
                dropped.append(active)
        return kept[len(taken) :], dropped

    def _book_room(self, book: Lorebook) -> int:
        """Return the tokens that the entries of a lorebook may use when a key fires them."""
        share = self.lore.settings.share if book.share is None else book.share
        room = self._window * share // 100
        return room if book.token_budget is None else min(room, book.token_budget)

    def _constant_within_budget(
        self, wanted: Sequence[ActiveEntry], system_tokens: int
    ) -> tuple[list[ActiveEntry], list[ActiveEntry]]:
        """Return the constant entries that fit in addition to the system prompt, and the others."""
        most = max(0, self._window * MAX_SYSTEM_SHARE // 100 - system_tokens)
        room = min(most, self._window * self.lore.settings.constant_share // 100)
        rooms = {id(book): book.token_budget for book in self.lore.books}
        kept, dropped = list[ActiveEntry](), list[ActiveEntry]()
        for active in by_priority(wanted):
            book = id(self.lore.entries[active.number][1])
            left = rooms[book]
            budget = most if active.entry.ignores_budget else min(room, room if left is None else left)
            if active.tokens > budget:
                dropped.append(active)
                continue
            kept.append(active)
            most -= active.tokens
            if not active.entry.ignores_budget:
                room -= active.tokens
                rooms[book] = None if left is None else left - active.tokens
            room = min(room, most)
        return kept, dropped


def by_priority(entries: Sequence[ActiveEntry]) -> list[ActiveEntry]:
    """Return the entries sorted by importance, the most important first."""
    return sorted(entries, key=lambda active: (-active.entry.priority, -active.entry.order, active.number))


def in_order(entries: Sequence[ActiveEntry]) -> list[ActiveEntry]:
    """Return the entries in the order in which they appear in the prompt."""
    return sorted(entries, key=lambda active: (active.entry.order, active.number))


def _joined(around: tuple[str, str], before: Sequence[str], after: Sequence[str]) -> str:
    instructions, description = around
    return _SEPARATOR.join(filter(None, [instructions, *before, description, *after]))
