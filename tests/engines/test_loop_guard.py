"""Tests of the loop guard: it reports endless repetition and nothing else."""

from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.engines.loop_guard import LoopGuard


def caught_after(ids: list[int], limit: int) -> int | None:
    """Return after how many ids the guard reports a loop, or None if it does not."""
    guard = LoopGuard(limit)
    return next((n for n, token in enumerate(ids, 1) if guard.feed(token)), None)


@pytest.mark.parametrize("period", [1, 2, 5, 37, 150])
def test_a_loop_of_any_length_is_caught(period: int) -> None:
    """A loop of 1 to 150 ids is reported once it has repeated for the limit and for two whole periods."""
    before = list(range(1000, 1100))
    loop = list(islice(cycle(range(period)), 2000))
    found = caught_after(before + loop, 64)
    assert found is not None
    # The first copy repeats nothing; then 64 ids, or two whole copies if they are longer.
    assert found == len(before) + period + max(64, 2 * period)


def test_a_loop_whose_words_repeat_inside_it_is_caught() -> None:
    """A loop is reported although the same words repeat inside it."""
    refrain = [1, 2, 3, 4, 5]
    period = [*refrain, 10, *refrain, 11, *refrain, 12]
    assert caught_after(period * 20, 100) is not None


def test_no_limit_is_no_guard() -> None:
    """With a limit of 0 nothing is reported."""
    assert caught_after([7] * 5000, 0) is None


def test_a_refrain_between_verses_is_no_loop() -> None:
    """A chorus that repeats between different verses is not reported."""
    chorus = list(range(50))
    song = [i for verse in range(20) for i in [*chorus, *range(1000 * verse + 100, 1000 * verse + 140)]]
    assert caught_after(song, 64) is None


@given(st.lists(st.integers(0, 3), max_size=300), st.integers(8, 40))
def test_it_agrees_with_looking_at_all_of_it(ids: list[int], limit: int) -> None:
    """What is reported is a repeat by the plain definition, computed over all ids."""
    found = caught_after(ids, limit)
    if found is not None:
        said = ids[:found]
        runs = [
            next((n for n in range(found - p) if said[found - 1 - n] != said[found - 1 - n - p]), found - p)
            for p in range(1, found)
        ]
        assert any(run >= max(limit, 2 * p) for p, run in enumerate(runs, 1))
