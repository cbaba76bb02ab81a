"""The loop guard: endless repetition is noticed, and what only looks like it is not."""

from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.loops import LoopGuard


def caught_after(ids: list[int], limit: int) -> int | None:
    """Return after how many ids the guard speaks up; None where it never does."""
    guard = LoopGuard(limit)
    return next((n for n, token in enumerate(ids, 1) if guard.feed(token)), None)


@pytest.mark.parametrize("period", [1, 2, 5, 37, 150])
def test_a_loop_of_any_length_is_caught(period: int) -> None:
    """A small model would repeat its paragraph until the context is full."""
    before = list(range(1000, 1100))
    loop = list(islice(cycle(range(period)), 2000))
    found = caught_after(before + loop, 64)
    assert found is not None
    # The first copy repeats nothing; then 64 ids, or two whole copies where they are longer.
    assert found == len(before) + period + max(64, 2 * period)


def test_a_loop_whose_words_repeat_inside_it_is_caught() -> None:
    """A refrain within the loop would hide the loop."""
    refrain = [1, 2, 3, 4, 5]
    period = [*refrain, 10, *refrain, 11, *refrain, 12]
    assert caught_after(period * 20, 100) is not None


def test_no_limit_is_no_guard() -> None:
    """Somebody who wants a thousand 'ha's could not have them."""
    assert caught_after([7] * 5000, 0) is None


def test_a_refrain_between_verses_is_no_loop() -> None:
    """A song would be cut at its third chorus."""
    chorus = list(range(50))
    song = [i for verse in range(20) for i in [*chorus, *range(1000 * verse + 100, 1000 * verse + 140)]]
    assert caught_after(song, 64) is None


@given(st.lists(st.integers(0, 3), max_size=300), st.integers(8, 40))
def test_it_agrees_with_looking_at_all_of_it(ids: list[int], limit: int) -> None:
    """It would speak up where nothing repeats: checked against the plain definition of a repeat."""
    found = caught_after(ids, limit)
    if found is not None:
        said = ids[:found]
        runs = [
            next((n for n in range(found - p) if said[found - 1 - n] != said[found - 1 - n - p]), found - p)
            for p in range(1, found)
        ]
        assert any(run >= max(limit, 2 * p) for p, run in enumerate(runs, 1))
