"""Tests of which entries fire: keys and their logic, recursion, time, chance, and hostile keys."""

import time
from dataclasses import replace
from typing import Any

import pytest

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.lore_scan import ALWAYS, STICKY
from hermes_cli.lore_settings import LoreSettings
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
        ("cat", "a category", {}, False),
        ("cat", "a category", {"whole_words": False}, True),
        ("Ki", "in the kitchen", {}, False),
        ("Ki", "die Küche", {}, False),
        ("Od", "Od! he said", {}, True),
        ("k2", "k23", {}, False),
        ("red dragon", "two red dragons", {}, True),
        ("red dragon", "red dragonfly", {"whole_words": True}, True),
        ("дракон", "два дракона", {}, True),
        ("용", "용이 왔다", {}, True),
        ("Ed", "白Ed龍", {}, True),
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
    assert fired(*chain, texts=("the king",)) == matches  # the default of SillyTavern
    assert fired(*chain, texts=("the king",), recursive=False) == {0: "king"}
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
    first = LoreEntry("A dragon lives in the north.", constant=True, name="World")
    matches = fired(first, LoreEntry("x", ("dragon",)), texts=("hello",), recursive=True)
    assert matches == {1: "dragon, in World"}


def test_a_recursive_scan_of_many_entries_is_fast() -> None:
    """A recursive scan of 2,000 entries, of which 1,000 fire, takes less than 3 s of CPU time."""
    entries = [LoreEntry(f"town{n} " * 5, ("start",)) for n in range(1000)]
    entries += [LoreEntry("x", (f"village{n}",)) for n in range(1000)]
    began = time.process_time()
    assert len(fired(*entries, texts=("start",), recursive=True)) == 1000
    assert time.process_time() - began < 3


def test_secondary_keys_are_searched_in_the_chat_and_the_fired_entries_together() -> None:
    """In a recursion, the key may be in the chat and the secondary key in a fired entry, or the reverse."""
    king = LoreEntry("The king wears a crown.", ("king",), name="King")
    chat_then_lore = LoreEntry("x", ("throne",), secondary=("crown",))
    lore_then_chat = LoreEntry("y", ("crown",), secondary=("throne",))
    both = fired(king, chat_then_lore, lore_then_chat, texts=("the king on his throne",))
    assert both == {0: "king", 1: "throne", 2: "crown, in King"}
    assert fired(king, chat_then_lore, lore_then_chat, texts=("the king",)) == {0: "king"}
    assert fired(king, LoreEntry("z", ("throne",), secondary=("sword",)), texts=("king, throne",)) == {
        0: "king"
    }


def test_a_delayed_entry_fires_by_the_chat_in_a_round_of_recursion() -> None:
    """An entry that is delayed until recursion fires by a key in the chat once another entry has fired."""
    king, late = LoreEntry("He is old.", ("king",)), LoreEntry("x", ("throne",), only_recursion=True)
    assert fired(king, late, texts=("king, throne",)) == {0: "king", 1: "throne"}
    assert fired(king, late, texts=("throne",)) == {}
    assert fired(king._replace(recurses=False), late, texts=("king, throne",)) == {0: "king"}
    constant = LoreEntry("x", constant=True, only_recursion=True)
    assert fired(king, constant, texts=("king",)) == {0: "king", 1: ALWAYS}


def test_recursion_levels_follow_each_other() -> None:
    """Entries of a later level are searched only after a round in which no other entry fires."""
    first = LoreEntry("a", ("x",), only_recursion=True, recursion_level=1)
    second = LoreEntry("b", ("x",), only_recursion=True, recursion_level=3)
    start = LoreEntry("nothing", ("go",))
    order = list(fired(second, first, start, texts=("go x",)))
    assert order == [2, 1, 0]
    assert fired(second, texts=("go x",)) == {}
    assert list(fired(second, first, texts=("go x",))) == [0, 1]  # a level that is left starts a round


def test_the_names_of_the_speakers_are_scanned() -> None:
    """The names before the turns fire entries, unless the settings exclude them."""
    book = Lorebook((LoreEntry("x", ("Ann",)), LoreEntry("y", ("/^Ed: /m",))))
    assert LoreMatcher([book], MACROS).fires(turns("hello", "hi", "well"), {}) == {0: "Ann", 1: "/^Ed: /m"}
    settings = LoreSettings(names=False)
    assert LoreMatcher([book], MACROS, settings).fires(turns("hello", "hi", "well"), {}) == {}


def test_macros_in_keys_are_expanded() -> None:
    """Keys and secondary keys contain the names of the character and the user."""
    entry = LoreEntry("x", ("{{user}}'s sword",), secondary=("/<char>|{{bot}}/",))
    lore = LoreMatcher([Lorebook((entry,))], MACROS, LoreSettings(names=False))
    assert lore.fires(turns("Ed has Ann's sword"), {}) == {0: "Ann's sword"}
    assert lore.fires(turns("a sword"), {}) == {}


def test_settings_apply_to_a_book_that_sets_nothing() -> None:
    """An entry, a book and the settings have precedence in this order."""
    settings = LoreSettings(scan_depth=1, whole_words=False, recursive=False)
    cat, dog = LoreEntry("a dog", ("cat",)), LoreEntry("x", ("dog",))

    def fires(book: Lorebook, *texts: str) -> list[int]:
        return list(LoreMatcher([book], MACROS, settings).fires(turns(*texts), {}))

    assert fires(Lorebook((cat, dog)), "a category") == [0]
    assert fires(Lorebook((cat, dog), recursive=True), "a category") == [0, 1]
    assert fires(Lorebook((cat,), whole_words=True), "a category") == []
    assert fires(Lorebook((cat._replace(whole_words=False),), whole_words=True), "a category") == [0]
    assert fires(Lorebook((cat,)), "cat", "no") == []
    assert fires(Lorebook((cat,), scan_depth=2), "cat", "no") == [0]
    assert fires(Lorebook((cat._replace(scan_depth=1),), scan_depth=2), "cat", "no") == []


def test_an_entry_waits_for_the_answers_and_the_greeting_that_it_needs() -> None:
    """An entry fires after as many answers as it needs, and only in a chat with its greeting."""
    late = LoreEntry("x", ("a",), after_answers=2)
    assert not fired(late, texts=("a", "b", "a"))
    assert fired(late, texts=("a", "b", "a", "b", "a"))
    constant = Lorebook((LoreEntry("x", constant=True, after_answers=1),))
    assert LoreMatcher([constant], MACROS).always() == []
    second = LoreMatcher([Lorebook((LoreEntry("x", ("a",), greeting=1),))], MACROS, greetings=["Hi", "Oh"])
    assert [bool(second.fires(turns(start, "a"), {})) for start in ("Hi", "Oh", "?")] == [False, True, False]
    assert not second.fires(turns("Oh"), {})  # said by the user


def test_entries_of_other_characters_and_switched_off_ones_do_not_fire() -> None:
    """An entry fires for its characters, and not if its title is switched off."""
    mine, theirs = LoreEntry("x", ("a",), characters=("ed",)), LoreEntry("x", ("a",), characters=("Al",))
    not_mine = LoreEntry("x", ("a",), except_characters=("Ed",))
    assert list(fired(mine, theirs, not_mine, texts=("a",))) == [0]
    lore = LoreMatcher(
        [Lorebook((LoreEntry("x", ("a",), name="One"), LoreEntry("y", ("a",))))],
        MACROS,
        off=frozenset({"One"}),
    )
    assert list(lore.fires(turns("a"), {})) == [1]


def test_an_entry_searches_the_texts_of_the_persona_that_it_names() -> None:
    """A key fires an entry by a text of the persona, together with secondary keys in the chat."""
    macros = replace(MACROS, texts={"scenario": "a castle", "persona": "a knight"})
    entries = (
        LoreEntry("x", ("castle",), matches=("scenario",)),
        LoreEntry("x", ("castle",), matches=("user", "note")),
        LoreEntry("x", ("knight",), secondary=("hello",), matches=("user",)),
        LoreEntry("x", ("castle",)),
    )
    fires = LoreMatcher([Lorebook(entries)], macros).fires(turns("hello"), {})
    assert fires == {0: "castle", 2: "knight"}
