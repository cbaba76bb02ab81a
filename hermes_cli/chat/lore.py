"""Lorebook matching: finds the entries that fire at a turn, and the key that fired each.

An entry fires if one of its keys occurs in the latest turns. The result depends only on the turns and the
seed, so the same entries fire again after a resume, a swipe or an undo. `lore_scan.py` searches one turn.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from random import Random
from typing import Any, Final

from hermes_cli.chat.expressions import REGEX_LIMIT_S, Expressions
from hermes_cli.chat.key_index import ScannedText
from hermes_cli.chat.lore_index import LoreIndex, is_pinned
from hermes_cli.chat.lore_keys import MAX_LENGTH, compile_plain
from hermes_cli.chat.lore_scan import Scan
from hermes_cli.chat.regex_scripts import RegexScripts, Stage
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Message
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position, labels
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.regex_script import Target
from hermes_cli.untrusted.deadline import Deadline

_PLAIN_PATTERNS: Final = 500
"""Maximum compiled patterns of plain keys that are kept."""
_DEFAULTS: Final = LoreSettings()
_AVATAR: Final = "default_"
"""SillyTavern names a character by its file. Those of its own characters begin with this."""


class LoreMatcher:
    """Matches the entries of several lorebooks. An entry's number is its index in `entries`.

    The entries have the settings of their lorebook or the default ones, and the macros in their keys are
    expanded. Those with a title or a label in `off` are disabled, and so are those for other characters.
    `greetings` are those of the chat. Regex `scripts` for lore change the texts. `disabled_keys` maps each
    disabled key to the reason: it is invalid or too slow.
    """

    def __init__(
        self,
        books: Sequence[Lorebook],
        macros: Macros,
        settings: LoreSettings = _DEFAULTS,
        *,
        greetings: Sequence[str] = (),
        off: frozenset[str] = frozenset(),
        scripts: RegexScripts | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self.macros = macros
        self._scripts = scripts or RegexScripts()
        self.settings = settings
        self.books = tuple(books)
        self.greetings = greetings
        with deadline or Deadline() as limit:
            entries = ((entry, book) for book in self.books for entry in book.entries)
            self.entries = [
                (self._prepared(entry, book, limit, is_off=not off.isdisjoint((label, entry.title))), book)
                for label, (entry, book) in zip(labels(self.books), entries, strict=True)
            ]
        self.disabled_keys: dict[str, str] = {}
        self._expressions = Expressions("these books", self.disabled_keys)
        self._plain_pattern = lru_cache(_PLAIN_PATTERNS)(compile_plain)

    def _prepared(self, entry: LoreEntry, book: Lorebook, deadline: Deadline, *, is_off: bool) -> LoreEntry:
        """Return an entry with the settings that apply to it."""
        is_recursive = _first(book.recursive, self.settings.recursive)
        return entry._replace(
            keys=self._filled(entry.keys, deadline),
            secondary=self._filled(entry.secondary, deadline),
            scan_depth=_first(entry.scan_depth, book.scan_depth, self.settings.scan_depth),
            whole_words=_first(entry.whole_words, book.whole_words, self.settings.whole_words),
            recurses=entry.recurses and is_recursive,
            enabled=entry.enabled and not is_off and self._is_for_character(entry),
        )

    def _filled(self, keys: tuple[str, ...], deadline: Deadline) -> tuple[str, ...]:
        """Return keys with their macros expanded. `{{random}}` and `{{roll}}` keep their value."""
        if not any("{{" in key or "<" in key for key in keys) or deadline.is_over:
            return keys
        return tuple(self.macros.fill(key, f"key {key}", deadline=deadline) for key in keys)

    def _is_for_character(self, entry: LoreEntry) -> bool:
        if not (entry.characters or entry.except_characters):
            return True
        name = self.macros.char.strip().casefold()
        only, never = (
            {other.strip().casefold().removeprefix(_AVATAR) for other in names}
            for names in (entry.characters, entry.except_characters)
        )
        return (name in only or not only) and name not in never

    @cached_property
    def index(self) -> LoreIndex:
        """The index of the entries. It is built at the first turn, as a part of its work."""
        return LoreIndex([entry for entry, _ in self.entries])

    def text(
        self, number: int, moment: int, deadline: Deadline | None = None, turns: Sequence[Message] = ()
    ) -> str:
        """Return the text of an entry, with macros expanded for the last of `turns`, which is at `moment`."""
        entry, macros = self.entries[number][0], self.macros
        text = macros.fill(entry.content, f"lore {number}", moment, deadline=deadline, turns=turns)
        depth = entry.depth if entry.position is Position.DEPTH else None
        scripts = self._scripts.select(Target.LORE, Stage.PROMPT, depth)
        return self._scripts.run(text, scripts, macros, moment=moment, turns=turns, deadline=deadline)

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
            return Scan(self, turns, limit).fires(fired_at)

    def found_in(self, entry: LoreEntry, texts: Sequence[ScannedText], deadline: Deadline) -> str | None:
        """Return the first key of the entry that occurs in one of the texts.

        Return None if no key occurs, or if the secondary keys in all texts do not satisfy the entry's logic.
        """
        possible = [self.index.possible_keys(scanned, deadline) for scanned in texts]
        keys = (
            key
            for key in entry.keys
            if key in self.index.expression_keys or any(key in found for found in possible)
        )
        found = next((key for key in keys if self._occurs_in(key, entry, texts, deadline)), None)
        if found is None or not entry.secondary:
            return found
        hits = [self._occurs_in(key, entry, texts, deadline) for key in entry.secondary]
        if deadline.is_over:  # some were perhaps not searched
            return None
        accepted = {
            Logic.AND_ANY: any(hits),
            Logic.AND_ALL: all(hits),
            Logic.NOT_ANY: not any(hits),
            Logic.NOT_ALL: not all(hits),
        }
        return found if accepted[entry.logic] else None

    def count_matches(
        self, keys: Sequence[str], entry: LoreEntry, texts: Sequence[ScannedText], deadline: Deadline
    ) -> int:
        """Return how many of the keys occur in one of the texts."""
        return sum(self._occurs_in(key, entry, texts, deadline) for key in keys)

    def _occurs_in(
        self, key: str, entry: LoreEntry, texts: Sequence[ScannedText], deadline: Deadline
    ) -> bool:
        return any(self.occurs(key, entry, scanned, deadline) for scanned in texts)

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
        """Return whether an expression matches. It is disabled if it is invalid or too slow."""
        return bool(
            self._expressions.run(
                key, lambda pattern: pattern.search(text, timeout=REGEX_LIMIT_S) is not None
            )
        )

    def passes_probability(self, entry: LoreEntry, number: int, moment: int) -> bool:
        """Return whether a draw with the entry's probability succeeds; the same at the same turn."""
        if entry.probability >= 100:  # noqa: PLR2004 - percent
            return True
        random = Random(f"{self.macros.seed}/luck/{number}/{moment}")  # noqa: S311 - the draw must be repeatable
        return random.uniform(0, 100) < entry.probability


def _first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next(value for value in values if value is not None)
