"""Tests of inclusion groups. The rules are those of SillyTavern's world info."""

from collections import Counter

import pytest

from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.lore_groups import one_of_each_group
from hermes_cli.chat.lore_scan import ALWAYS, STICKY
from hermes_cli.messages import Message, Role
from hermes_cli.personas.lorebook import Logic, Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros

MOOD = ("mood",)


def fired(*entries: LoreEntry, text: str = "a b c", before: int | None = None, seed: int = 1) -> list[int]:
    """Return the numbers of the entries that fire at a turn with the text. Entry 0 fired `before`."""
    turns = [Message(Role.USER, text)] * 3
    matcher = LoreMatcher([Lorebook(entries)], Macros("Ed", "Ann", seed))
    return list(matcher.fires(turns, {} if before is None else {0: before}))


def entry(*keys: str, groups: tuple[str, ...] = MOOD, **more: object) -> LoreEntry:
    """Return an entry of the group `mood`."""
    return LoreEntry("text", keys or ("a",), groups=groups, **more)  # type: ignore[arg-type]


def test_one_entry_of_a_group_fires_and_all_others_do() -> None:
    """The draw depends on the seed, and is the same for the same turn."""
    entries = (entry(), entry(), entry(groups=()))
    draws = [fired(*entries, seed=seed) for seed in range(40)]
    assert {tuple(draw) for draw in draws} == {(0, 2), (1, 2)}
    assert draws == [fired(*entries, seed=seed) for seed in range(40)]


def test_the_draw_follows_the_weights() -> None:
    """An entry with three times the weight is drawn about three times as often; one with weight 0 never."""
    entries = (entry(group_weight=30), entry(group_weight=90), entry(group_weight=0))
    counts = Counter(fired(*entries, seed=seed)[0] for seed in range(400))
    assert counts[2] == 0
    assert 70 <= counts[0] <= 130  # 100 expected; the standard deviation is 9
    assert fired(entry(group_weight=0), entry(group_weight=0)) == [0]


def test_the_highest_order_wins_among_those_with_an_override() -> None:
    """Among several entries with an override, the order decides, and no draw."""
    entries = (entry(order=900), entry(group_override=True, order=1), entry(group_override=True, order=2))
    assert {tuple(fired(*entries, seed=seed)) for seed in range(20)} == {(2,)}


def test_scored_entries_with_fewer_matching_keys_are_left_out() -> None:
    """Secondary keys count for the logics that require them; an entry without scoring always remains."""
    more, fewer = entry("a", "b", group_scoring=True), entry("a", "x", group_scoring=True)
    assert {tuple(fired(fewer, more, seed=seed)) for seed in range(20)} == {(1,)}
    unscored = entry("a")
    assert {tuple(fired(fewer, more, unscored, seed=seed)) for seed in range(40)} == {(1,), (2,)}
    both = entry("a", secondary=("b", "c"), logic=Logic.AND_ALL, group_scoring=True)
    assert {tuple(fired(more, both, seed=seed)) for seed in range(20)} == {(1,)}
    neither = entry("a", secondary=("x", "y"), logic=Logic.NOT_ANY, group_scoring=True)
    assert {tuple(fired(more, neither, seed=seed)) for seed in range(20)} == {(0,)}


def test_a_sticky_entry_keeps_its_group() -> None:
    """While it is sticky, no other entry of the group fires; before and afterwards, one is drawn."""
    entries = (entry("x", sticky=2), entry("a"))
    assert fired(*entries, before=1) == [0]
    assert fired(*entries) == [1]


def test_an_entry_of_recursion_does_not_join_a_group_that_has_one() -> None:
    """A group that has an entry at this turn gets no other one by recursion."""
    first = LoreEntry("it says deep", ("a",), groups=MOOD)
    assert fired(first, entry("deep")) == [0]
    assert fired(first, entry("deep", groups=("other",))) == [0, 1]


def test_a_constant_entry_with_a_group_takes_part_in_the_draw() -> None:
    """It is not included in every prompt, because another entry of its group may win."""
    entries = (entry(constant=True), entry())
    assert {tuple(fired(*entries, seed=seed)) for seed in range(40)} == {(0,), (1,)}
    assert LoreMatcher([Lorebook(entries)], Macros("Ed", "Ann")).always() == []


def test_an_entry_in_two_groups_must_win_both() -> None:
    """It is left out if another group that it is in has an active entry."""
    both, other = entry(groups=("mood", "weather"), group_override=True), entry(groups=("weather",))
    entries = [both, other, entry(groups=("weather",))]
    found = {0: "a", 1: "a"}
    assert one_of_each_group(found, (), entries.__getitem__, lambda _: 1, "1") == {0: "a"}
    assert one_of_each_group(found, (2,), entries.__getitem__, lambda _: 1, "1") == {}


def test_the_winner_of_a_group_may_fail_its_probability() -> None:
    """As in SillyTavern, the probability is tried after the draw, and no other entry takes its place."""
    assert fired(entry(group_override=True, probability=0.0), entry()) == []


@pytest.mark.parametrize("number", [10_000])
def test_many_entries_in_one_group_are_fast(number: int) -> None:
    """The work grows with the number of entries, and not with its square."""
    looked_at = Counter[int]()
    shared = entry()

    def entry_of(index: int) -> LoreEntry:
        looked_at[index] += 1
        return shared

    found = dict.fromkeys(range(number), ALWAYS)
    assert len(one_of_each_group(found, {number: STICKY}, entry_of, lambda _: 1, "1")) == 0
    assert len(one_of_each_group(found, (), entry_of, lambda _: 1, "1")) == 1
    assert max(looked_at.values()) <= 10
