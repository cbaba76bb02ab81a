"""The search for the lore entries that fire at one turn, with the recursion from entry to entry."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hermes_cli.chat.key_index import ScannedText
from hermes_cli.chat.lore_groups import one_of_each_group
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import PERSONA_TEXTS, Logic, LoreEntry
from hermes_cli.untrusted.deadline import Deadline

if TYPE_CHECKING:
    from hermes_cli.chat.lore import LoreMatcher

MAX_SCANNED: Final = 1_000_000
"""Maximum characters to search at a turn, of the turns and of the entries in a recursion."""
_MAX_ROUNDS: Final = 10
"""Maximum rounds of recursion. Each round searches the entries that just fired for the keys of others."""
ALWAYS: Final = "always"
STICKY: Final = "sticky"


class Scan:
    """The search for the entries that fire at one turn."""

    def __init__(self, lore: "LoreMatcher", turns: Sequence[Message], deadline: Deadline) -> None:
        self._lore = lore
        self._turns = turns
        self._now = len(turns)
        self._answers = sum(turn.role is Role.ASSISTANT for turn in turns)
        self._greeting = _greeting(turns, lore.greetings)
        self._deadline = deadline
        self._room = MAX_SCANNED
        self._texts = dict[int, ScannedText]()
        self._persona_texts = dict[str, ScannedText]()
        self._recursed = list[ScannedText]()

    def fires(self, fired_at: Mapping[int, int]) -> dict[int, str]:
        """Return the numbers of the entries that fire, each with its key, as LoreMatcher.fires does."""
        index, fired = self._lore.index, dict[int, str]()
        for number in index.sticky & fired_at.keys():
            if self._timing(number, fired_at) == STICKY:
                fired[number] = STICKY
        candidates = self._candidates() - fired.keys()
        found = self._matches(candidates - index.delayed, fired_at, fired)
        fired = dict(sorted((fired | found).items()))
        waiting = {number for number in candidates if number in index.delayed or self._has_secondary(number)}
        self._recurse(fired, waiting, fired_at)
        return fired

    def _matches(
        self, candidates: set[int], fired_at: Mapping[int, int], fired: Mapping[int, str]
    ) -> dict[int, str]:
        """Return the candidates that fire in addition to `fired`, each with its key."""
        found = dict[int, str]()
        for place, number in enumerate(sorted(candidates)):
            if self._deadline.is_over:
                what = f"checked {place:,} of {len(candidates):,} entries in {self._deadline.seconds:g} s"
                self._deadline.skipped.setdefault("lorebook", what)
                break
            if self._can_fire(number, fired_at):
                key = self._matching_key(number)
                if key is not None:
                    found[number] = key
        seed = f"{self._lore.macros.seed}/group/{self._now}"
        chosen = one_of_each_group(found, fired, self._entry, self._score, seed)
        return {number: key for number, key in chosen.items() if self._passes_probability(number)}

    def _entry(self, number: int) -> LoreEntry:
        return self._lore.entries[number][0]

    def _score(self, number: int) -> int:
        """Return the number of keys of an entry that match, with the secondary keys that must match."""
        entry, texts = self._entry(number), self._searched(number)
        count = self._lore.count_matches(entry.keys, entry, texts, self._deadline)
        extra = self._lore.count_matches(entry.secondary, entry, texts, self._deadline)
        if entry.logic is Logic.AND_ANY or (entry.logic is Logic.AND_ALL and extra == len(entry.secondary)):
            return count + extra if count else 0
        return count

    def _candidates(self) -> set[int]:
        """Return the numbers of the entries that the turns may fire. Read the turns of each scan depth."""
        index = self._lore.index
        numbers = set(index.constant)
        for depth in dict.fromkeys(min(depth, self._now) for depth in index.depths):
            turns = self._turns[-depth:]
            self._texts[depth] = text = self._scanned("\n".join(map(self._with_name, turns)))
            found = index.candidates(text, self._deadline)
            numbers |= {number for number in found if index.depth(number, self._now) == depth}
            if not self._room or self._deadline.is_over:
                break
        for name, matching in index.matching.items():
            text = self._scanned(self._lore.macros.persona_text(PERSONA_TEXTS[name], self._deadline))
            self._persona_texts[name] = text
            numbers |= matching & index.candidates(text, self._deadline)
        return numbers

    def _with_name(self, turn: Message) -> str:
        macros = self._lore.macros
        name = turn.speaker or (macros.char if turn.role is Role.ASSISTANT else macros.user)
        return f"{name}: {turn.text}" if self._lore.settings.names and name else turn.text

    def _timing(self, number: int, fired_at: Mapping[int, int]) -> str:
        """Return STICKY while an entry is sticky, "cooldown" during its cooldown, or "" if it can fire."""
        entry, before = self._lore.entries[number][0], fired_at.get(number)
        if before is None or before >= self._now or entry.delay > self._now:
            return ""
        age = self._now - before
        if age <= entry.sticky:
            return STICKY
        return "cooldown" if age <= entry.sticky + entry.cooldown else ""

    def _can_fire(self, number: int, fired_at: Mapping[int, int]) -> bool:
        entry = self._lore.entries[number][0]
        return (
            entry.delay <= self._now
            and entry.after_answers <= self._answers
            and entry.greeting in {None, self._greeting}
            and not self._timing(number, fired_at)
        )

    def _has_secondary(self, number: int) -> bool:
        return bool(self._lore.entries[number][0].secondary)

    def _passes_probability(self, number: int) -> bool:
        return self._lore.passes_probability(self._lore.entries[number][0], number, self._now)

    def _matching_key(self, number: int) -> str | None:
        """Return the key that fires an entry, in the turns or in the entries that recursion has searched."""
        if number in self._lore.index.constant:
            return ALWAYS
        texts = self._searched(number)
        return self._lore.found_in(self._entry(number), texts, self._deadline) if texts else None

    def _searched(self, number: int) -> list[ScannedText]:
        """Return the texts in which the keys of an entry are searched."""
        turns = self._texts.get(self._lore.index.depth(number, self._now))
        names = self._entry(number).matches
        described = [self._persona_texts[name] for name in names if name in self._persona_texts]
        return [*([turns] if turns else []), *described, *self._recursed]

    def _scanned(self, text: str) -> ScannedText:
        """Return the end of the text, as much as may still be searched at this turn."""
        if len(text) > self._room:
            self._deadline.skipped["lore text"] = f"searched {MAX_SCANNED:,} characters"
            text = text[len(text) - self._room :]
        self._room -= len(text)
        return ScannedText(text)

    def _recurse(self, fired: dict[int, str], waiting: set[int], fired_at: Mapping[int, int]) -> None:
        """Add to `fired` the entries that fire because of the texts of other fired entries.

        `waiting` are entries that the turns alone do not fire, but perhaps together with these texts. The
        delayed ones among them become candidates level by level, as in SillyTavern: the first level after the
        first round, and the next one after a round without a new entry.
        """
        index, new = self._lore.index, [*self._lore.always(), *fired]
        levels = list(index.levels)
        level = levels.pop(0) if levels else 0
        for _ in range(_MAX_ROUNDS + len(index.levels[:_MAX_ROUNDS])):
            texts = self._texts_of(new)
            if not texts:
                if not levels:
                    return
                level = levels.pop(0)
            joined = ScannedText("\n".join(scanned.text for _, scanned in texts))
            self._recursed.append(joined)
            waiting |= index.candidates(joined, self._deadline)
            if self._deadline.is_over:
                self._deadline.skipped.setdefault("lorebook", "recursion ended early")
                return
            candidates = {n for n in waiting - fired.keys() if self._can_recurse(n, level)}
            found = self._matches(candidates, fired_at, fired)
            fired |= {number: self._described(number, key, texts) for number, key in found.items()}
            new = list(found)
            waiting = {n for n in waiting - fired.keys() if n in index.delayed or self._has_secondary(n)}

    def _can_recurse(self, number: int, level: int) -> bool:
        entry = self._lore.entries[number][0]
        return entry.recursable and (not entry.only_recursion or entry.recursion_level <= level)

    def _texts_of(self, numbers: Sequence[int]) -> list[tuple[str, ScannedText]]:
        """Return the titles and texts of the entries among `numbers` that can fire others."""
        lore, texts = self._lore, list[tuple[str, ScannedText]]()
        for number in numbers:
            if not self._room or self._deadline.is_over:
                break
            entry = lore.entries[number][0]
            if entry.recurses:
                text = lore.text(number, self._now, self._deadline, self._turns)
                texts.append((entry.title, self._scanned(text)))
        return texts

    def _described(self, number: int, key: str, texts: Sequence[tuple[str, ScannedText]]) -> str:
        """Return a key with the title of the text that contains it, if it is one of these texts."""
        title = "" if key == ALWAYS else self._title(key, self._lore.entries[number][0], texts)
        return f"{key}, in {title}" if title else key

    def _title(self, key: str, entry: LoreEntry, texts: Sequence[tuple[str, ScannedText]]) -> str:
        """Return the title of the first text with the key; empty if there is none before the deadline."""
        for title, scanned in texts:
            if self._deadline.is_over:
                break
            if self._lore.occurs(key, entry, scanned, self._deadline):
                return title
        return ""


def _greeting(turns: Sequence[Message], greetings: Sequence[str]) -> int | None:
    """Return the index of the greeting that the turns begin with, or None."""
    if not turns or turns[0].role is not Role.ASSISTANT or turns[0].text not in greetings:
        return None
    return list(greetings).index(turns[0].text)
