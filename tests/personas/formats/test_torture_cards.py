"""The torture run with damaged persona files: a small run, and its detection of faults."""

from typing import Any

import pytest

from torture import cards, mutants

pytestmark = pytest.mark.long


def test_a_small_torture_finds_nothing() -> None:
    """A run with 600 damaged files has no faults; the long run checks more bounds."""
    result = cards.torture(600)
    assert (result.count, dict(result.wrong)) == (600, {})
    assert 100 < result.read < 500


def test_every_large_file_is_among_the_mutants() -> None:
    """Every large file comes in turn, and is read without a fault; equal seeds give equal mutants."""
    names = []
    for number in range(mutants.RARE - 1, len(mutants.LARGE) * mutants.RARE, mutants.RARE):
        name, data = mutants.mutant(1, number)
        names.append(name)
        assert cards._report(data, [])["wrong"] == [], name
    assert names == list(mutants.LARGE)
    assert mutants.mutant(1, 7) == mutants.mutant(1, 7) != mutants.mutant(2, 7)


def test_write_calls_slow_files_and_large_memory_are_faults() -> None:
    """Calls that write, slow files and large amounts of memory are counted as faults."""
    calls = list[str]()
    cards._audit("open", ("x", "w", 0), calls)
    cards._audit("open", ("x", None, 1), calls)
    cards._audit("os.rename", ("a", "b"), calls)
    cards._audit("open", ("x", "rb", 0), calls)
    assert len(calls) == 3
    report = {"what": "a file", "read": True, "seconds": 0.1, "memory": 50, "wrong": []}
    assert _result_of(report).is_good
    assert _result_of(report).largest == (50, "a file")
    assert _result_of(report | {"wrong": calls}).wrong.total() == 3
    for bad in ({"wrong": calls}, {"seconds": 1.1}, {"memory": 200 << 20}):
        assert not _result_of(report | bad).is_good


def _result_of(report: dict[str, Any]) -> cards.Result:
    result = cards.Result()
    result.add(report)
    return result
