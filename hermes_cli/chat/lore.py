"""Lorebook matching: finds the entries that fire at a turn, and the key that fired each.

An entry fires if one of its keys occurs in the latest turns. The result depends only on the turns and the
seed, so the same entries fire again after a resume, a swipe or an undo.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from random import Random
from typing import Any, Final

from hermes_cli.chat.key_index import ScannedText
from hermes_cli.chat.lore_index import LoreIndex, is_pinned
from hermes_cli.chat.lore_keys import (
    FIXED_SIZE,
    MAX_LENGTH,
    MAX_TOTAL_SIZE,
    compile_expression,
    expression_size,
    parse_key,
)
from hermes_cli.messages import Message
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros
from hermes_cli.untrusted.deadline import Deadline

REGEX_LIMIT_S: Final = 0.05
SLOW_S: Final = 0.005
SLOW_TIMES: Final = 3
PATIENCE_S: Final = 0.5
"""A key whose search takes SLOW_S or longer is disabled after SLOW_TIMES such searches. If slow searches take
more than PATIENCE_S in total, all regular expressions are disabled."""
MAX_SCANNED: Final = 1_000_000
"""Maximum characters to search at a turn, of the turns and of the entries in a recursion."""
_PLAIN_PATTERNS: Final = 500
"""Maximum compiled patterns of plain keys that are kept."""
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
        self._expressions = dict[str, Any]()
        self._plain_pattern = lru_cache(_PLAIN_PATTERNS)(_compile_plain)
        self._size = 0
        self._slow_s = 0.0
        self._slow = Counter[str]()

    @cached_property
    def index(self) -> LoreIndex:
        """The index of the entries. It is built at the first turn, as a part of its work."""
        return LoreIndex(self.entries)

    def text(self, number: int, moment: int, deadline: Deadline | None = None) -> str:
        """Return the text of an entry, with macros expanded for the turn at index `moment`."""
        content = self.entries[number][0].content
        return self._macros.fill(content, f"lore {number}", moment, deadline=deadline)

    def always(self) -> list[int]:
        """Return the numbers of the entries that are included in every prompt."""
        return [
            number for number, (entry, _) in enumerate(self.entries) if entry.enabled and is_pinned(entry)
        ]

    def fires(
        self, turns: Sequence[Message], fired_at: Mapping[int, int], deadline: Deadline | None = None
    ) -> dict[int, str]:
        """Return the numbers of the entries that fire at the last turn, each with the key that fired it.

        `fired_at` maps the number of an entry to the number of turns when it last fired. Keys that are not
        searched before the deadline do not fire.
        """
        with deadline or Deadline() as limit:
            if limit.is_over:
                limit.skipped.setdefault("lorebook", f"not searched after {limit.seconds:g} s")
                return {}
            return _Scan(self, turns, limit).fires(fired_at)

    def found_in(self, entry: LoreEntry, scanned: ScannedText, deadline: Deadline) -> str | None:
        """Return the first key of the entry that occurs in the text.

        Return None if no key occurs, or if the secondary keys do not satisfy the entry's logic.
        """
        possible = self.index.possible_keys(scanned, deadline)
        keys = (key for key in entry.keys if key in possible or key in self.index.expression_keys)
        found = next((key for key in keys if self.occurs(key, entry, scanned, deadline)), None)
        if found is None or not entry.secondary:
            return found
        hits = [self.occurs(key, entry, scanned, deadline) for key in entry.secondary]
        if deadline.is_over:  # some were perhaps not searched
            return None
        accepted = {
            Logic.AND_ANY: any(hits),
            Logic.AND_ALL: all(hits),
            Logic.NOT_ANY: not any(hits),
            Logic.NOT_ALL: not all(hits),
        }
        return found if accepted[entry.logic] else None

    def occurs(self, key: str, entry: LoreEntry, scanned: ScannedText, deadline: Deadline) -> bool:
        """Return whether the key occurs in the text. Each key is searched only once in a text."""
        if key in self.disabled_keys:
            return False
        case, whole = bool(entry.case_sensitive), bool(entry.whole_words)
        search = (key, case, whole)
        if search not in scanned.results:
            if deadline.is_over:
                searched, count = len(self._expressions), len(self.index.expression_keys)
                what = f"searched {searched:,} of {count:,} regular expressions in {deadline.seconds:g} s"
                deadline.skipped.setdefault("lorebook", what)
                return False
            scanned.results[search] = (
                self._matches(key, scanned.text)
                if key in self.index.expression_keys
                else self._occurs_plain(key, scanned, case=case, whole=whole)
            )
        return scanned.results[search]

    def _occurs_plain(self, key: str, scanned: ScannedText, *, case: bool, whole: bool) -> bool:
        word = key.strip()
        if not word:
            return False
        if len(word) > MAX_LENGTH:
            self.disabled_keys[key] = f"it is longer than {MAX_LENGTH:,} characters"
            return False
        if case and word not in scanned.text:
            return False
        if not whole and (case or (word.isascii() and scanned.text.isascii())):
            return case or word.lower() in scanned.folded
        return self._plain_pattern(word, case=case, whole=whole).search(scanned.text) is not None

    def _matches(self, key: str, text: str) -> bool:
        """Return whether an expression matches, and disable it if it is invalid or too slow."""
        if key not in self._expressions:
            self._expressions[key] = self._compile(key)
        pattern = self._expressions[key]
        if pattern is None:
            return False
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

    def _compile(self, key: str) -> Any:
        """Return an expression as a compiled pattern, or None if it is invalid or too large."""
        pattern, flags = parse_key(key)
        try:
            self._size += expression_size(pattern or "") + FIXED_SIZE
            if self._size <= MAX_TOTAL_SIZE:
                return compile_expression(pattern or "", flags)
            self.disabled_keys[key] = "the regular expressions of these books are too large in total"
        except ValueError as error:
            self.disabled_keys[key] = str(error)
        return None

    def passes_probability(self, entry: LoreEntry, number: int, moment: int) -> bool:
        """Return whether a draw with the entry's probability succeeds; the same at the same turn."""
        if entry.probability >= 100:  # noqa: PLR2004 - percent
            return True
        random = Random(f"{self._macros.seed}/luck/{number}/{moment}")  # noqa: S311 - the draw must be repeatable
        return random.uniform(0, 100) < entry.probability


class _Scan:
    """The search for the entries that fire at one turn."""

    def __init__(self, lore: LoreMatcher, turns: Sequence[Message], deadline: Deadline) -> None:
        self._lore = lore
        self._turns = turns
        self._now = len(turns)
        self._deadline = deadline
        self._room = MAX_SCANNED
        self._texts = dict[int, ScannedText]()

    def fires(self, fired_at: Mapping[int, int]) -> dict[int, str]:
        """Return the numbers of the entries that fire, each with its key, as LoreMatcher.fires does."""
        index, fired = self._lore.index, dict[int, str]()
        for number in index.sticky & fired_at.keys():
            if self._timing(number, fired_at) == STICKY:
                fired[number] = STICKY
        candidates = sorted(self._candidates() - fired.keys())
        for place, number in enumerate(candidates):
            if self._deadline.is_over:
                what = f"checked {place:,} of {len(candidates):,} entries in {self._deadline.seconds:g} s"
                self._deadline.skipped.setdefault("lorebook", what)
                break
            if self._can_fire(number, fired_at):
                key = self._matching_key(number)
                if key is not None and self._passes_probability(number):
                    fired[number] = key
        fired = dict(sorted(fired.items()))
        self._recurse(fired, fired_at)
        return fired

    def _candidates(self) -> set[int]:
        """Return the numbers of the entries that the turns may fire. Read the turns of each scan depth."""
        index = self._lore.index
        numbers = set(index.constant)
        for depth in dict.fromkeys(min(depth, self._now) for depth in index.depths):
            self._texts[depth] = text = self._scanned("\n".join(turn.text for turn in self._turns[-depth:]))
            found = index.candidates(text, self._deadline)
            numbers |= {number for number in found if index.depth(number, self._now) == depth}
            if not self._room or self._deadline.is_over:
                break
        return numbers

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
        return self._lore.entries[number][0].delay <= self._now and not self._timing(number, fired_at)

    def _passes_probability(self, number: int) -> bool:
        return self._lore.passes_probability(self._lore.entries[number][0], number, self._now)

    def _matching_key(self, number: int) -> str | None:
        if number in self._lore.index.constant:
            return ALWAYS
        text = self._texts.get(self._lore.index.depth(number, self._now))
        return self._lore.found_in(self._lore.entries[number][0], text, self._deadline) if text else None

    def _scanned(self, text: str) -> ScannedText:
        """Return the end of the text, as much as may still be searched at this turn."""
        if len(text) > self._room:
            self._deadline.skipped["lore text"] = f"searched {MAX_SCANNED:,} characters"
            text = text[len(text) - self._room :]
        self._room -= len(text)
        return ScannedText(text)

    def _recurse(self, fired: dict[int, str], fired_at: Mapping[int, int]) -> None:
        """Add to `fired` the entries whose keys occur in fired entries of a recursive lorebook."""
        lore, new = self._lore, [*self._lore.always(), *fired]
        for _ in range(_MAX_ROUNDS):
            sources = [n for n in new if lore.entries[n][0].recurses and lore.entries[n][1].recursive]
            texts = list[tuple[str, ScannedText]]()
            for n in sources if self._room else ():
                text = lore.text(n, self._now, self._deadline)
                texts.append((lore.entries[n][0].title, self._scanned(text)))
                if not self._room or self._deadline.is_over:
                    break
            new, joined = [], ScannedText("\n".join(scanned.text for _, scanned in texts))
            for number in sorted(lore.index.candidates(joined, self._deadline)) if texts else ():
                entry = lore.entries[number][0]
                if self._deadline.is_over:
                    self._deadline.skipped.setdefault("lorebook", "recursion ended early")
                    return
                if number in fired or not entry.recursable or not self._can_fire(number, fired_at):
                    continue
                key = lore.found_in(entry, joined, self._deadline)
                if key is not None and self._passes_probability(number):
                    fired[number] = f"{key}, in {self._title(key, entry, texts)}"
                    new.append(number)
            if not new:
                return

    def _title(self, key: str, entry: LoreEntry, texts: Sequence[tuple[str, ScannedText]]) -> str:
        """Return the title of the first text with the key; empty if there is none before the deadline."""
        for title, scanned in texts:
            if self._deadline.is_over:
                break
            if self._lore.occurs(key, entry, scanned, self._deadline):
                return title
        return ""


def _compile_plain(word: str, *, case: bool, whole: bool) -> Any:
    """Return a plain key as a compiled pattern."""
    import regex

    literal = regex.escape(word, literal_spaces=True)
    literal = rf"(?<!\w){literal}(?!\w)" if whole else literal
    return regex.compile(literal, regex.V0 | (0 if case else regex.IGNORECASE))
