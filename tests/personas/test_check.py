"""The findings of `personas check`: missing parts, long parts, and entries that never fire."""

from dataclasses import replace
from pathlib import Path

import pytest

from hermes_cli.messages import Message, Opening, Role
from hermes_cli.personas.check import Scale, book_findings, estimate, findings, never_fires_reason, parts
from hermes_cli.personas.loader import Worlds
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry, Position
from hermes_cli.personas.persona import Note, Persona

SERA = Persona("Sera", "", Path("sera.toml"), character="A guardian.", greetings=("Hello.",))
BEGUN = Opening("You are Sera.", (Message(Role.USER, "Who?"), Message(Role.ASSISTANT, "I.")), ("Hello.",))


def scale(mistakes: dict[str, str]) -> Scale:
    """Return a scale of 1,000 tokens, one a character, on which these keys are invalid."""
    return Scale(1000, 250, len, lambda key: mistakes.get(key, ""))


BROKEN = scale({"/(/": "it is not a regular expression"})
FIRES = LoreEntry("text", ("key",))
RECURSIVE = Lorebook((FIRES,), recursive=True)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (FIRES, ""),
        (LoreEntry("text", constant=True), ""),
        (LoreEntry("text", ("", "key")), ""),
        (LoreEntry("text", ("/(/", "key")), ""),
        (LoreEntry("x" * 250, ("key",)), ""),
        (LoreEntry("x" * 251, ("key",), ignores_budget=True), ""),
        (LoreEntry("text", ("key",), secondary=("/(/",), logic=Logic.NOT_ANY), ""),
        (replace(FIRES, enabled=False), "it is disabled"),
        (replace(FIRES, content=" \n"), "it has no content"),
        (replace(FIRES, probability=0), "its probability is 0"),
        (LoreEntry("text", constant=True, probability=0), "its probability is 0"),
        (LoreEntry("text"), "it has no key"),
        (LoreEntry("text", (" ",)), "it has no key"),
        (LoreEntry("text", ("/(/",)), "none of its keys is valid"),
        (LoreEntry("text", ("key",), secondary=("/(/",)), "none of its secondary keys is valid"),
        (LoreEntry("x" * 251, ("key",)), "it has 251 tokens, and the budget is 250"),
        (LoreEntry("x" * 251, constant=True), "it has 251 tokens, and the budget is 250"),
        (
            LoreEntry("text", ("key",), only_recursion=True),
            "only other entries can fire it, and no lorebook is recursive",
        ),
        (LoreEntry("text", ("key",), scan_depth=0), "its scan depth is 0, and no lorebook is recursive"),
        (LoreEntry("text", constant=True, scan_depth=0), ""),
    ],
)
def test_why_an_entry_never_fires(entry: LoreEntry, why: str) -> None:
    """The reason why an entry never fires is returned, or nothing if it can fire."""
    book = Lorebook((entry,))
    assert never_fires_reason(entry, book, [book], BROKEN) == why


def test_a_book_can_be_too_small_for_its_entry() -> None:
    """An entry larger than the budget of its own book never fires."""
    book = Lorebook((LoreEntry("x" * 50, ("key",)),), token_budget=49)
    assert (
        never_fires_reason(book.entries[0], book, [book], BROKEN) == "it has 50 tokens, and the budget is 49"
    )
    assert never_fires_reason(book.entries[0], replace(book, token_budget=9999), [book], BROKEN) == ""


def test_an_entry_that_only_others_fire() -> None:
    """An entry that only others can fire never fires if none of them does."""
    waits = LoreEntry("text", ("key",), only_recursion=True)
    book = Lorebook((waits, FIRES), recursive=True)
    alone = Lorebook((waits,), recursive=True)
    mute = Lorebook((waits, replace(FIRES, recurses=False)), recursive=True)
    assert never_fires_reason(waits, book, [book], BROKEN) == ""
    assert never_fires_reason(waits, alone, [alone, RECURSIVE], BROKEN) == ""
    for lonely in (alone, mute):
        assert (
            never_fires_reason(waits, lonely, [lonely], BROKEN)
            == "only other entries can fire it, and no other entry recurses"
        )
    shut = replace(waits, recursable=False)
    assert (
        never_fires_reason(shut, book, [book], BROKEN)
        == "only other entries can fire it, and it is not recursable"
    )
    deaf = replace(book, scan_depth=0)
    assert never_fires_reason(FIRES, deaf, [deaf], BROKEN) == ""


def test_a_book_is_told_its_keys_and_its_entries() -> None:
    """Invalid keys and entries that never fire are both reported."""
    book = Lorebook((LoreEntry("a", ("/(/", "key"), name="One"), LoreEntry("b", name="Two")))
    assert book_findings(book, [book], BROKEN) == [
        "the key /(/ is ignored: it is not a regular expression",
        "the entry 'Two' never fires: it has no key",
    ]


def test_a_whole_card_has_nothing_to_be_said_about() -> None:
    """A complete card has no findings."""
    assert findings(SERA, BEGUN, Worlds((RECURSIVE,)), BROKEN) == []


@pytest.mark.parametrize(
    ("persona", "opening", "worlds", "said"),
    [
        (replace(SERA, greetings=()), BEGUN, Worlds(), "it has no greeting: you write the first message"),
        (replace(SERA, character=""), BEGUN, Worlds(), "it does not describe the character"),
        (SERA, replace(BEGUN, examples=()), Worlds(), "it has no examples"),
        (SERA, BEGUN, Worlds(missing=("Eldoria",)), "there is no world 'Eldoria' in the lore folder"),
        (SERA, replace(BEGUN, system="x" * 1000), Worlds(), "take 1,000 of 1,000 tokens: no room is left"),
        (SERA, replace(BEGUN, system="x" * 501), Worlds(), "take 501 of 1,000 tokens: little room is left"),
        (replace(SERA, post_history="x" * 600), BEGUN, Worlds(), "take 613 of 1,000 tokens"),
        (replace(SERA, note=Note("x" * 600)), BEGUN, Worlds(), "take 613 of 1,000 tokens"),
        (SERA, BEGUN, Worlds((Lorebook((LoreEntry("x" * 250, constant=True),) * 2),)), "take 513"),
        (SERA, replace(BEGUN, examples=(Message(Role.USER, "x" * 500),)), Worlds(), "the examples take 500"),
        (SERA, replace(BEGUN, greetings=("a", "x" * 251)), Worlds(), "greeting 2 takes 251 of 1,000 tokens"),
    ],
)
def test_what_a_card_lacks_and_what_is_too_long(
    persona: Persona, opening: Opening, worlds: Worlds, said: str
) -> None:
    """A missing part and a part that is too long give one finding each."""
    (finding,) = findings(persona, opening, worlds, BROKEN)
    assert said in finding


def test_an_instruction_needs_no_greeting() -> None:
    """A plain instruction has no findings, though it has no greeting and no examples."""
    plain = Persona("x", "Be brief.", Path("x.txt"), verbatim=True)
    assert findings(plain, Opening("Be brief."), Worlds(), BROKEN) == []


def test_the_parts_are_what_goes_into_the_prompt() -> None:
    """The parts are the texts of the prompt, without disabled entries and creator's notes."""
    note = replace(SERA, note=Note("n", 1), post_history="p", creator_notes="never")
    entries = (
        LoreEntry("always", constant=True),
        LoreEntry("by word", ("k",), position=Position.DEPTH),
        LoreEntry("off", ("k",), enabled=False),
    )
    found = {part.name: part.texts for part in parts(note, BEGUN, [Lorebook(entries)])}
    assert found == {
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
def test_an_estimate_counts_bytes(text: str, tokens: int) -> None:
    """The estimate is one token for every four bytes, rounded up."""
    assert estimate(text) == tokens
