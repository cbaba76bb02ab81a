"""Finds problems in a valid persona: missing text, text that is too long, and lore entries that never fire.

The caller supplies the context size and the function that counts tokens.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Opening
from hermes_cli.personas.loader import Worlds
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry
from hermes_cli.personas.persona import Persona

USUAL_WINDOW: Final = 8192
"""The context size, in tokens, to assume if no model is given. OpenHermes 2 is loaded with this size."""
_BYTES_A_TOKEN: Final = 4


def estimate(text: str) -> int:
    """Estimate the number of tokens in a text without a tokenizer: one per four bytes of UTF-8."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN)


class Scale(NamedTuple):
    """The limits and functions used to check a persona.

    `window` is the context size in tokens. `lore` holds the defaults of the lorebooks. `tokens` counts the
    tokens in a text. `mistake` returns why a lore key is invalid, or an empty string.
    """

    window: int
    lore: LoreSettings
    tokens: Callable[[str], int]
    mistake: Callable[[str], str]


class PersonaPart(NamedTuple):
    """A part of the prompt: its name, its texts, and whether every prompt contains it."""

    name: str
    texts: tuple[str, ...]
    pinned: bool = False


def parts(
    persona: Persona, opening: Opening, books: Sequence[Lorebook], left_out: Collection[int] = ()
) -> list[PersonaPart]:
    """Return the parts that a persona adds to its prompts, except empty ones.

    `left_out` has the numbers of the constant entries that do not fit in the prompt, counted over all books.
    """
    note = persona.note.text if persona.note else ""
    numbered = [*enumerate(entry for book in books for entry in book.entries)]
    entries = [entry for number, entry in numbered if entry.enabled and number not in left_out]
    all_parts = [
        PersonaPart("system prompt", (opening.system or "",), pinned=True),
        PersonaPart("post-history", (persona.post_history,), pinned=True),
        PersonaPart("note", (note,), pinned=True),
        PersonaPart(
            "lore, constant", tuple(entry.content for entry in entries if entry.constant), pinned=True
        ),
        PersonaPart("lore, constant, left out", tuple(numbered[n][1].content for n in sorted(left_out))),
        PersonaPart("lore, by key", tuple(entry.content for entry in entries if not entry.constant)),
        PersonaPart("examples", tuple(message.text for message in opening.examples)),
        PersonaPart("greetings", opening.greetings),
    ]
    return [part for part in all_parts if any(text.strip() for text in part.texts)]


def findings(
    persona: Persona, opening: Opening, worlds: Worlds, scale: Scale, left_out: Collection[int] = ()
) -> list[str]:
    """Return the problems found in a persona, one sentence each. `left_out` is as in `parts`."""
    return [
        *_missing_parts(persona, opening, worlds),
        *_too_long(parts(persona, opening, worlds.books, left_out), scale),
        *(finding for book in worlds.books for finding in book_findings(book, worlds.books, scale)),
    ]


def book_findings(book: Lorebook, books: Sequence[Lorebook], scale: Scale) -> list[str]:
    """Return the problems found in a lorebook. `books` are all lorebooks in use, including this one."""
    keys = dict.fromkeys(key for entry in book.entries for key in (*entry.keys, *entry.secondary))
    broken = [f"the key {key} is ignored: {reason}" for key in keys if (reason := scale.mistake(key))]
    unreachable = [
        f"the entry '{entry.title}' never fires: {reason}"
        for entry in book.entries
        if (reason := never_fires_reason(entry, book, books, scale))
    ]
    return [*broken, *unreachable]


def never_fires_reason(entry: LoreEntry, book: Lorebook, books: Sequence[Lorebook], scale: Scale) -> str:
    """Return why an entry never fires, or an empty string if it can fire."""
    reason = (
        _disabled_reason(entry)
        or _unmatched_reason(entry, scale)
        or _recursion_reason(entry, book, books, scale)
    )
    if reason or entry.ignores_budget:
        return reason
    share = scale.lore.share if book.share is None else book.share
    room = scale.window * (scale.lore.constant_share if entry.constant else share) // 100
    room = room if book.token_budget is None else min(room, book.token_budget)
    tokens = scale.tokens(entry.content)
    return f"it has {tokens:,} tokens, and the budget is {room:,}" if tokens > room else ""


def _disabled_reason(entry: LoreEntry) -> str:
    if not entry.enabled:
        return "it is disabled"
    if not entry.content.strip():
        return "it has no content"
    return "its probability is 0" if entry.probability <= 0 else ""


def _unmatched_reason(entry: LoreEntry, scale: Scale) -> str:
    """Return why no key can fire an entry that needs a key, or an empty string."""
    if entry.constant:
        return ""
    if not any(key.strip() for key in entry.keys):
        return "it has no key"
    if not _usable(entry.keys, scale):
        return "none of its keys is valid"
    needed = entry.secondary if entry.logic in {Logic.AND_ANY, Logic.AND_ALL} else ()
    return "none of its secondary keys is valid" if needed and not _usable(needed, scale) else ""


def _usable(keys: Iterable[str], scale: Scale) -> bool:
    return any(key.strip() and not scale.mistake(key) for key in keys)


def _recursion_reason(entry: LoreEntry, book: Lorebook, books: Sequence[Lorebook], scale: Scale) -> str:
    """Return why no other entry can fire an entry that only other entries can fire, or an empty string."""
    scan_depth = _first(entry.scan_depth, book.scan_depth, scale.lore.scan_depth)
    if not entry.only_recursion and (entry.constant or scan_depth != 0):
        return ""
    condition = "only other entries can fire it" if entry.only_recursion else "its scan depth is 0"
    if not entry.recursable:
        return f"{condition}, and it is not recursable"
    recursive = [book for book in books if _first(book.recursive, scale.lore.recursive)]
    others = [other_entry for other in recursive for other_entry in other.entries if other_entry is not entry]
    if any(other.enabled and other.recurses for other in others):
        return ""
    if recursive:
        return f"{condition}, and no other entry recurses"
    return f"{condition}, and no lorebook is recursive"


def _first(*values: int | None) -> int:
    """Return the first value that is not None."""
    return next(value for value in values if value is not None)


def _missing_parts(persona: Persona, opening: Opening, worlds: Worlds) -> Iterable[str]:
    if persona.is_character:
        if not persona.greetings:
            yield "it has no greeting: you write the first message"
        if not (persona.system.strip() or persona.character.strip() or persona.personality.strip()):
            yield "it does not describe the character"
        if persona.character.strip() and not opening.examples:
            yield "it has no examples: only the description shows the model how the character speaks"
    for world in worlds.missing:
        yield f"there is no world '{world}' in the lore folder"


def _too_long(persona_parts: Sequence[PersonaPart], scale: Scale) -> Iterable[str]:
    sizes = {part.name: sum(map(scale.tokens, part.texts)) for part in persona_parts}
    pinned = sum(sizes[part.name] for part in persona_parts if part.pinned)
    if pinned >= scale.window:
        yield f"the fixed parts of the prompt take {pinned:,} of {scale.window:,} tokens: no room is left"
    elif pinned > scale.window // 2:
        yield f"the fixed parts of the prompt take {pinned:,} of {scale.window:,} tokens: little room is left"
    elif pinned + sizes.get("examples", 0) > scale.window // 2:
        yield f"the examples take {sizes['examples']:,} tokens; they are removed when the context is full"
    for part in persona_parts:
        if part.name == "lore, constant, left out":
            yield (
                f"{_entries(len(part.texts))} with {sizes[part.name]:,} tokens do not fit and are left out; "
                "constant_share under [lore] in the config file sets their part of the context"
            )
        if part.name == "greetings":
            for number, text in enumerate(part.texts, 1):
                if (tokens := scale.tokens(text)) > scale.window // 4:
                    yield f"greeting {number} takes {tokens:,} of {scale.window:,} tokens"


def _entries(count: int) -> str:
    return "1 constant lore entry" if count == 1 else f"{count:,} constant lore entries"
