"""Lorebook matching: finds the entries that fire at a turn, and the key that fired each.

An entry fires if one of its keys occurs in the latest turns. The result depends only on the turns and the
seed, so the same entries fire again after a resume, a swipe or an undo.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from hermes_cli.chat.lore_keys import (
    FIXED_SIZE,
    MAX_TOTAL_SIZE,
    compile_expression,
    expression_size,
    parse_key,
)
from hermes_cli.messages import Message
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros

SCAN_DEPTH: Final = 2
"""Default number of turns to scan: the user's turn and the answer before it."""
REGEX_LIMIT_S: Final = 0.05
SLOW_S: Final = 0.005
SLOW_TIMES: Final = 3
PATIENCE_S: Final = 1.0
"""A key whose search takes SLOW_S or longer is disabled after SLOW_TIMES such searches. If slow searches take
more than PATIENCE_S in total, all regular expressions are disabled."""
_MAX_ROUNDS: Final = 10
"""Maximum rounds of recursion. Each round searches the entries that just fired for the keys of others."""
ALWAYS: Final = "always"
STICKY: Final = "sticky"


class LoreMatcher:
    """Matches the entries of several lorebooks. An entry's number is its index in `entries`.

    `disabled_keys` maps each disabled key to the reason: it is invalid or too slow.
    """

    def __init__(self, books: Sequence[Lorebook], macros: Macros) -> None:
        self._macros = macros
        self.books = tuple(books)
        self.entries = [(entry, book) for book in self.books for entry in book.entries]
        self.disabled_keys: dict[str, str] = {}
        self._patterns = dict[tuple[str, bool, bool], Any]()
        self._size = 0
        self._slow_s = 0.0
        self._slow = Counter[str]()

    def text(self, number: int, moment: int) -> str:
        """Return the text of an entry, with macros expanded for the turn at index `moment`."""
        return self._macros.fill(self.entries[number][0].content, f"lore {number}", moment)

    def always(self) -> list[int]:
        """Return the numbers of the entries that are included in every prompt."""
        return [
            number for number, (entry, _) in enumerate(self.entries) if entry.enabled and _is_pinned(entry)
        ]

    def fires(self, turns: Sequence[Message], fired_at: Mapping[int, int]) -> dict[int, str]:
        """Return the numbers of the entries that fire at the last turn, each with the key that fired it.

        `fired_at` maps the number of an entry to the number of turns when it last fired.
        """
        fired = dict[int, str]()
        unfired = list[int]()
        for number, (entry, book) in enumerate(self.entries):
            if not entry.enabled or _is_pinned(entry) or entry.delay > len(turns):
                continue
            timing = _timing(entry, len(turns), fired_at.get(number))
            if timing == STICKY:
                fired[number] = STICKY
            elif not timing:
                key = self._matching_key(entry, book, turns)
                if key is None or not self._passes_probability(entry, number, len(turns)):
                    unfired.append(number)
                else:
                    fired[number] = key
        self._recurse(fired, unfired, len(turns))
        return fired

    def _matching_key(self, entry: LoreEntry, book: Lorebook, turns: Sequence[Message]) -> str | None:
        if entry.only_recursion:
            return None
        if entry.constant:
            return ALWAYS
        depth = next((d for d in (entry.scan_depth, book.scan_depth) if d is not None), SCAN_DEPTH)
        if depth <= 0:
            return None
        return self._found_in(entry, "\n".join(turn.text for turn in turns[-depth:]))

    def _recurse(self, fired: dict[int, str], unfired: list[int], moment: int) -> None:
        """Add to `fired` the entries whose keys occur in fired entries of a recursive lorebook."""
        new = [*self.always(), *fired]
        for _ in range(_MAX_ROUNDS):
            texts = [
                (self.entries[n][0].title, self.text(n, moment))
                for n in new
                if self.entries[n][0].recurses and self.entries[n][1].recursive
            ]
            new, joined = [], "\n".join(text for _, text in texts)
            for number in [n for n in unfired if n not in fired] if texts else []:
                entry = self.entries[number][0]
                key = self._found_in(entry, joined) if entry.recursable else None
                if key is not None and self._passes_probability(entry, number, moment):
                    title = next((t for t, text in texts if self._occurs(key, entry, text)), "")
                    fired[number] = f"{key}, in {title}"
                    new.append(number)
            if not new:
                return

    def _found_in(self, entry: LoreEntry, text: str) -> str | None:
        """Return the first key of the entry that occurs in the text.

        Return None if no key occurs, or if the secondary keys do not satisfy the entry's logic.
        """
        found = next((key for key in entry.keys if self._occurs(key, entry, text)), None)
        if found is None or not entry.secondary:
            return found
        hits = [self._occurs(key, entry, text) for key in entry.secondary]
        accepted = {
            Logic.AND_ANY: any(hits),
            Logic.AND_ALL: all(hits),
            Logic.NOT_ANY: not any(hits),
            Logic.NOT_ALL: not all(hits),
        }
        return found if accepted[entry.logic] else None

    def _occurs(self, key: str, entry: LoreEntry, text: str) -> bool:
        pattern = self._pattern(key, case=bool(entry.case_sensitive), whole=bool(entry.whole_words))
        if pattern is None or key in self.disabled_keys:
            return False
        if parse_key(key)[0] is None:
            return pattern.search(text) is not None
        if self._slow_s > PATIENCE_S:
            self.disabled_keys[key] = "the regular expressions of these books take too long in total"
            return False
        started_at = time.thread_time()  # CPU time: a busy machine must not disable a key
        try:
            found = pattern.search(text, timeout=REGEX_LIMIT_S) is not None
        except TimeoutError:
            self.disabled_keys[key] = f"it takes longer than {REGEX_LIMIT_S * 1000:.0f} ms"
            found = False
        elapsed_s = time.thread_time() - started_at
        if elapsed_s >= SLOW_S:
            self._slow_s += elapsed_s
            self._slow[key] += 1
            if self._slow[key] == SLOW_TIMES:
                self.disabled_keys[key] = f"it took longer than {SLOW_S * 1000:.0f} ms several times"
        return found

    def _pattern(self, key: str, *, case: bool, whole: bool) -> Any:
        """Return a key as a compiled pattern, or None for an empty or invalid key."""
        cache_key = (key, case, whole)
        if cache_key not in self._patterns:
            self._patterns[cache_key] = self._compiled(key, case=case, whole=whole)
        return self._patterns[cache_key]

    def _compiled(self, key: str, *, case: bool, whole: bool) -> Any:
        import regex

        pattern, flags = parse_key(key)
        if pattern is None:
            if not key.strip():
                return None
            literal = regex.escape(key.strip(), literal_spaces=True)
            literal = rf"(?<!\w){literal}(?!\w)" if whole else literal
            return regex.compile(literal, regex.V0 | (0 if case else regex.IGNORECASE))
        try:
            self._size += expression_size(pattern) + FIXED_SIZE
            if self._size <= MAX_TOTAL_SIZE:
                return compile_expression(pattern, flags)
            self.disabled_keys[key] = "the regular expressions of these books are too large in total"
        except ValueError as error:
            self.disabled_keys[key] = str(error)
        return None

    def _passes_probability(self, entry: LoreEntry, number: int, moment: int) -> bool:
        if entry.probability >= 100:  # noqa: PLR2004 - percent
            return True
        random = Random(f"{self._macros.seed}/luck/{number}/{moment}")  # noqa: S311 - the draw must be repeatable
        return random.uniform(0, 100) < entry.probability


def _is_pinned(entry: LoreEntry) -> bool:
    """Return whether an entry is included in every prompt, regardless of the turns."""
    timed = entry.delay or entry.cooldown or entry.sticky or entry.only_recursion
    return entry.constant and entry.probability >= 100 and not timed  # noqa: PLR2004 - percent


def _timing(entry: LoreEntry, now: int, before: int | None) -> str:
    """Return STICKY while an entry is sticky, "cooldown" during its cooldown, or "" if it can fire."""
    if before is None or before >= now:
        return ""
    age = now - before
    if age <= entry.sticky:
        return STICKY
    return "cooldown" if age <= entry.sticky + entry.cooldown else ""
