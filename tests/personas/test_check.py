"""The findings of `personas check`: missing parts, long parts, and entries that never fire."""

from pathlib import Path

import pytest

from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.check import Scale, book_findings, estimate, findings, never_fires_reason, parts
from hermes_cli.personas.loader import Worlds
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Note, Persona

SERA = Persona("Sera", "", Path("sera.toml"), character="A guardian.", greetings=("Hello.",))
START = Opening("You are Sera.", (Message(Role.USER, "Who?"), Message(Role.ASSISTANT, "I.")), ("Hello.",))


def scale(invalid_keys: dict[str, str]) -> Scale:
    """Return a scale of 1,000 tokens, one a character, on which these keys are invalid."""
    return Scale(1000, LoreSettings(), len, lambda key: invalid_keys.get(key, ""))


SCALE = scale({"/(/": "it is not a regular expression"})
FIRES = LoreEntry("text", ("key",))
RECURSIVE = Lorebook((FIRES,), recursive=True)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (FIRES, ""),
        (LoreEntry("text", constant=True), ""),
        (LoreEntry("text", ("", "key")), ""),
        (LoreEntry("text", ("/(/", "key")), ""),
        (LoreEntry("x" * 250, ("key",)), ""),
        (LoreEntry("x" * 251, ("key",), ignores_budget=True), ""),
        (LoreEntry("text", ("key",), secondary=("/(/",), logic=Logic.NOT_ANY), ""),
        (FIRES._replace(enabled=False), "it is disabled"),
        (FIRES._replace(content=" \n"), "it has no content"),
        (FIRES._replace(probability=0), "its probability is 0"),
        (LoreEntry("text", constant=True, probability=0), "its probability is 0"),
        (LoreEntry("text"), "it has no key"),
        (LoreEntry("text", (" ",)), "it has no key"),
        (LoreEntry("text", ("/(/",)), "none of its keys is valid"),
        (LoreEntry("text", ("key",), secondary=("/(/",)), "none of its secondary keys is valid"),
        (LoreEntry("x" * 251, ("key",)), "it has 251 tokens, and the budget is 250"),
        (LoreEntry("x" * 501, constant=True), "it has 501 tokens, and the budget is 500"),
        (
            LoreEntry("text", constant=True, only_recursion=True),
            "only other entries can fire it, and no lorebook is recursive",
        ),
        (
            LoreEntry("text", ("key",), only_recursion=True),
            "only other entries can fire it, and no lorebook is recursive",
        ),
        (LoreEntry("text", ("key",), scan_depth=0), "its scan depth is 0, and no lorebook is recursive"),
        (LoreEntry("text", constant=True, scan_depth=0), ""),
    ],
)
def test_the_reason_why_an_entry_never_fires_is_returned(entry: LoreEntry, reason: str) -> None:
    """The reason why an entry never fires is returned, or nothing if it can fire."""
    book = Lorebook((entry,), recursive=False)
    assert never_fires_reason(entry, book, [book], SCALE) == reason


def test_an_entry_larger_than_the_budget_of_its_book_never_fires() -> None:
    """An entry larger than the budget of its own book never fires."""
    book = Lorebook((LoreEntry("x" * 50, ("key",)),), token_budget=49)
    assert (
        never_fires_reason(book.entries[0], book, [book], SCALE) == "it has 50 tokens, and the budget is 49"
    )
    assert never_fires_reason(book.entries[0], book._replace(token_budget=9999), [book], SCALE) == ""


def test_an_entry_that_only_others_fire_needs_one_that_recurses() -> None:
    """An entry that only others can fire never fires if none of them does."""
    dependent = LoreEntry("text", ("key",), only_recursion=True)
    book = Lorebook((dependent, FIRES), recursive=True)
    single = Lorebook((dependent,), recursive=True)
    not_recursing = Lorebook((dependent, FIRES._replace(recurses=False)), recursive=True)
    assert never_fires_reason(dependent, book, [book], SCALE) == ""
    assert never_fires_reason(dependent, single, [single, RECURSIVE], SCALE) == ""
    for lorebook in (single, not_recursing):
        assert (
            never_fires_reason(dependent, lorebook, [lorebook], SCALE)
            == "only other entries can fire it, and no other entry recurses"
        )
    not_recursable = dependent._replace(recursable=False)
    assert (
        never_fires_reason(not_recursable, book, [book], SCALE)
        == "only other entries can fire it, and it is not recursable"
    )
    without_scan = book._replace(scan_depth=0)
    assert never_fires_reason(FIRES, without_scan, [without_scan], SCALE) == ""


def test_invalid_keys_and_entries_that_never_fire_are_reported() -> None:
    """Invalid keys and entries that never fire are both reported."""
    book = Lorebook((LoreEntry("a", ("/(/", "key"), name="One"), LoreEntry("b", name="Two")))
    assert book_findings(book, [book], SCALE) == [
        "the key /(/ is ignored: it is not a regular expression",
        "the entry 'Two' never fires: it has no key",
    ]


def test_a_complete_card_has_no_findings() -> None:
    """A complete card has no findings."""
    assert findings(SERA, START, Worlds((RECURSIVE,)), SCALE) == []


@pytest.mark.parametrize(
    ("persona", "opening", "worlds", "message"),
    [
        (SERA._replace(greetings=()), START, Worlds(), "it has no greeting: you write the first message"),
        (SERA._replace(character=""), START, Worlds(), "it does not describe the character"),
        (SERA, START._replace(examples=()), Worlds(), "it has no examples"),
        (SERA, START, Worlds(missing=("Eldoria",)), "there is no world 'Eldoria' in the lore folder"),
        (SERA, START._replace(system="x" * 1000), Worlds(), "take 1,000 of 1,000 tokens: no room is left"),
        (SERA, START._replace(system="x" * 501), Worlds(), "take 501 of 1,000 tokens: little room is left"),
        (SERA._replace(post_history="x" * 600), START, Worlds(), "take 613 of 1,000 tokens"),
        (SERA._replace(note=Note("x" * 600)), START, Worlds(), "take 613 of 1,000 tokens"),
        (SERA, START, Worlds((Lorebook((LoreEntry("x" * 250, constant=True),) * 2),)), "take 513"),
        (SERA, START._replace(examples=(Message(Role.USER, "x" * 500),)), Worlds(), "the examples take 500"),
        (SERA, START._replace(greetings=("a", "x" * 251)), Worlds(), "greeting 2 takes 251 of 1,000 tokens"),
    ],
)
def test_a_missing_part_and_a_long_part_give_one_finding_each(
    persona: Persona, opening: Opening, worlds: Worlds, message: str
) -> None:
    """A missing part and a part that is too long give one finding each."""
    (finding,) = findings(persona, opening, worlds, SCALE)
    assert message in finding


def test_a_plain_instruction_needs_no_greeting() -> None:
    """A plain instruction has no findings, though it has no greeting and no examples."""
    plain = Persona("x", "Be brief.", Path("x.txt"), verbatim=True)
    assert findings(plain, Opening("Be brief."), Worlds(), SCALE) == []


def test_the_parts_are_the_texts_of_the_prompt() -> None:
    """The parts are the texts of the prompt, without disabled entries and creator's notes."""
    persona = SERA._replace(note=Note("n", 1), post_history="p", creator_notes="never")
    entries = (
        LoreEntry("always", constant=True),
        LoreEntry("by word", ("k",), position=Position.DEPTH),
        LoreEntry("off", ("k",), enabled=False),
    )
    texts = {part.name: part.texts for part in parts(persona, START, [Lorebook(entries)])}
    assert texts == {
        "system prompt": ("You are Sera.",),
        "post-history": ("p",),
        "note": ("n",),
        "lore, constant": ("always",),
        "lore, by key": ("by word",),
        "examples": ("Who?", "I."),
        "greetings": ("Hello.",),
    }


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("\u00e9\u00e9\u00e9", 2)]
)
def test_the_estimate_is_one_token_for_every_four_bytes(text: str, tokens: int) -> None:
    """The estimate is one token for every four bytes, rounded up."""
    assert estimate(text) == tokens


def test_constant_entries_without_room_are_reported_and_not_counted_as_fixed() -> None:
    """Constant entries that the prompt has no room for are one finding; the prompt is not too long."""
    book = Lorebook((LoreEntry("a" * 400, constant=True), LoreEntry("b" * 9000, constant=True)))
    (too_large, finding) = sorted(findings(SERA, START, Worlds((book,)), SCALE, {1}), key=len)
    assert too_large.endswith("never fires: it has 9,000 tokens, and the budget is 500")
    assert "1 constant lore entry with 9,000 tokens do not fit and are left out" in finding
