"""Tests of which entries fire: keys and their logic, recursion, time, chance, and hostile keys."""

import time
from typing import Any

import pytest

from hermes_cli.chat.lore import ALWAYS, STICKY, LoreMatcher
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros

MACROS = Macros("Ed", "Ann", 7)


def turns(*texts: str) -> list[Message]:
    """Return turns that alternate between the user and the assistant, the last of them the user's."""
    roles = [Role.USER, Role.ASSISTANT]
    return [Message(roles[(len(texts) - 1 - n) % 2], text) for n, text in enumerate(texts)]


def fired(*entries: LoreEntry, texts: tuple[str, ...], **book: Any) -> dict[int, str]:
    """Return the entries that fire at the last turn if none has fired before."""
    return LoreMatcher([Lorebook(tuple(entries), **book)], MACROS).fires(turns(*texts), {})


@pytest.mark.parametrize(
    ("key", "text", "options", "fires"),
    [
        ("dragon", "A DRAGON!", {}, True),
        ("dragon", "A DRAGON!", {"case_sensitive": True}, False),
        ("Straße", "die STRASSE", {}, False),
        ("cat", "a category", {}, True),
        ("cat", "a category", {"whole_words": True}, False),
        ("cat", "a (cat)", {"whole_words": True}, True),
        ("red cat", "a red cat.", {"whole_words": True}, True),
        ("c++", "in C++ and", {}, True),
        ("a.c", "abc", {}, False),
        ("/dra+gon/", "a draaagon", {}, True),
        ("/dragon/", "a DRAGON", {}, False),
        ("/dragon/i", "a DRAGON", {}, True),
        ("/^b$/m", "a\nb\nc", {}, True),
        ("/a.b/s", "a\nb", {}, True),
        ("/a/b/c", "a/b/c", {}, False),  # not a regex: c is not a flag
        (" ", "a b", {}, False),
        ("", "a b", {}, False),
        ("龍", "白龍だ", {}, True),
    ],
)
def test_a_key_fires_on_its_text(key: str, text: str, options: dict[str, Any], fires: bool) -> None:  # noqa: FBT001 - a row
    """A key fires on its text, by case, whole words, regex and flags as listed."""
    matches = fired(LoreEntry("x", (key,), **options), texts=(text,))
    assert matches == ({0: key} if fires else {})


@pytest.mark.parametrize(
    ("logic", "both", "one", "none"),
    [
        (Logic.AND_ANY, True, True, False),
        (Logic.AND_ALL, True, False, False),
        (Logic.NOT_ANY, False, False, True),
        (Logic.NOT_ALL, False, True, True),
    ],
)
def test_secondary_keys_follow_their_logic(logic: Logic, both: bool, one: bool, none: bool) -> None:  # noqa: FBT001
    """The four logics fire as listed, and only together with a primary key."""
    entry = LoreEntry("x", ("king",), secondary=("north", "south"), logic=logic)
    texts = ("king north south", "king north", "king")
    assert [bool(fired(entry, texts=(text,))) for text in texts] == [both, one, none]
    assert not fired(entry, texts=("north south",))


def test_a_key_fires_only_within_the_scan_depth() -> None:
    """A key fires only if it is in the last `scan_depth` turns; an entry's own depth overrides the book's."""
    entry, texts = LoreEntry("x", ("dragon",)), ("dragon", "b", "c", "d")
    assert not fired(entry, texts=texts)
    assert fired(entry, texts=texts, scan_depth=4)
    assert fired(entry, texts=texts[:3], scan_depth=3)
    assert not fired(LoreEntry("x", ("dragon",), scan_depth=1), texts=texts, scan_depth=4)
    assert not fired(entry, texts=("dragon",), scan_depth=0)


def test_the_text_of_a_fired_entry_can_fire_others() -> None:
    """With recursion the text of a fired entry fires others, as their flags allow."""
    chain = (
        LoreEntry("the tower holds a relic", ("king",), name="King"),
        LoreEntry("the relic is cursed by the king", ("relic",), name="Relic"),
        LoreEntry("curses", ("cursed",), recursable=False),
        LoreEntry("only so", ("cursed",), only_recursion=True, recurses=False),
    )
    matches = fired(*chain, texts=("the king",), recursive=True)
    assert matches == {0: "king", 1: "relic, in King", 3: "cursed, in Relic"}
    assert fired(*chain, texts=("the king",)) == {0: "king"}
    assert fired(chain[3], texts=("cursed",), recursive=True) == {}
    silent = LoreEntry("the relic", ("king",), recurses=False)
    assert fired(silent, chain[1], texts=("the king",), recursive=True) == {0: "king"}


def test_a_disabled_entry_never_fires_and_a_constant_one_always() -> None:
    """A disabled entry never fires; a constant one is always in, from its delay on."""
    lore = LoreMatcher(
        [Lorebook((LoreEntry("x", ("a",), enabled=False), LoreEntry("y", constant=True)))], MACROS
    )
    assert lore.fires(turns("a"), {}) == {}
    assert lore.always() == [1]
    rare = LoreMatcher([Lorebook((LoreEntry("y", constant=True, delay=3),))], MACROS)
    assert rare.always() == []
    assert rare.fires(turns("a"), {}) == {}
    assert rare.fires(turns("a", "b", "c"), {}) == {0: ALWAYS}


def test_sticky_and_cooldown_are_counted_in_turns() -> None:
    """A sticky entry fires for 2 more turns, then not for the 2 of its cooldown, then by its key again."""
    lore = LoreMatcher([Lorebook((LoreEntry("x", ("a",), sticky=2, cooldown=2),))], MACROS)
    at = {0: 1}
    assert lore.fires(turns("a", "b", "c"), at) == {0: STICKY}
    assert lore.fires(turns("a", "b", "a", "a"), at) == {}
    assert lore.fires(turns("a", "b", "a", "a", "a"), at) == {}
    assert lore.fires(turns("a", "b", "a", "a", "a", "a"), at) == {0: "a"}


def test_an_entry_with_a_probability_fires_in_the_same_turns_again() -> None:
    """An entry with a chance of 30 % fires in the same turns in both runs, and in 20 % to 40 % of them."""
    lore = LoreMatcher([Lorebook((LoreEntry("x", ("a",), probability=30),))], MACROS)
    runs = [[bool(lore.fires(turns(*"a" * n), {})) for n in range(1, 301)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert 60 < sum(runs[0]) < 120
    assert not fired(LoreEntry("x", ("a",), probability=0), texts=("a",))


@pytest.mark.parametrize("key", ["/(a+)+$/", "/(?:a|a)*b/", "/(a|aa)+!/"])
def test_a_slow_regex_is_reported_and_not_tried_again(key: str) -> None:
    """A regex that takes longer than 50 ms is reported and not tried again; the entry's other key fires."""
    lore = LoreMatcher(
        [
            Lorebook(
                (
                    LoreEntry(
                        "x",
                        (key, "b"),
                    ),
                )
            )
        ],
        MACROS,
    )
    began = time.thread_time()
    for _ in range(20):
        assert lore.fires(turns("a" * 5000 + "?b"), {}) == {0: "b"}
    assert time.thread_time() - began < 5
    assert "longer than 50 ms" in lore.disabled_keys[key]


@pytest.mark.parametrize(
    "key", ["/(/", "/[/", "/a{99999999999}/", f"/{'(' * 1900}/", f"/{'a' * 2001}/", "/(?P<x/"]
)
def test_an_invalid_regex_is_reported_and_skipped(key: str) -> None:
    """A key that is not a valid regex is reported and skipped; the entry's other key fires."""
    lore = LoreMatcher([Lorebook((LoreEntry("x", (key, "word")),))], MACROS)
    assert lore.fires(turns("a word"), {}) == {0: "word"}
    assert list(lore.disabled_keys) == [key]


def test_macros_in_an_entry_are_filled_in() -> None:
    """Macros in an entry's text are filled in."""
    lore = LoreMatcher([Lorebook((LoreEntry("{{char}} knows {{user}}.", ("a",)),))], MACROS)
    assert lore.text(0, 1) == "Ed knows Ann."


def test_many_slow_regexes_are_disabled_together() -> None:
    """400 slow regexes are disabled within 3 s of CPU time, and a plain key still fires."""
    keys = tuple(f"/(a+)+{n}$/" for n in range(400))
    lore = LoreMatcher(
        [Lorebook((*(LoreEntry("x", (key,)) for key in keys), LoreEntry("y", ("/q.ick/", "plain"))))], MACROS
    )
    lore.fires(turns("quick"), {})
    began = time.thread_time()
    for _ in range(3):
        assert lore.fires(turns("a" * 201 + "! plain"), {}) == {400: "plain"}
    assert time.thread_time() - began < 3
    assert len(lore.disabled_keys) > 300


def test_the_text_of_a_constant_entry_can_fire_others() -> None:
    """With recursion the text of a constant entry fires others."""
    first = LoreEntry("Dragons live in the north.", constant=True, name="World")
    matches = fired(first, LoreEntry("x", ("dragon",)), texts=("hello",), recursive=True)
    assert matches == {1: "dragon, in World"}


def test_a_recursive_scan_of_many_entries_is_fast() -> None:
    """A recursive scan of 2,000 entries, of which 1,000 fire, takes less than 3 s of CPU time."""
    entries = [LoreEntry(f"town{n} " * 5, ("start",)) for n in range(1000)]
    entries += [LoreEntry("x", (f"village{n}",)) for n in range(1000)]
    began = time.process_time()
    assert len(fired(*entries, texts=("start",), recursive=True)) == 1000
    assert time.process_time() - began < 3
