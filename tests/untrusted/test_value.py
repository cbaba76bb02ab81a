"""Typed access to values: conversions with remarks, and errors without conversions."""

from typing import Any

import pytest

from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.untrusted.value import Value


@pytest.mark.parametrize(
    ("value", "expected", "remark"),
    [
        ("a\0b", "ab", "NUL characters"),
        (3, "3", ""),
        (2.5, "2.5", ""),
        (None, "", ""),
        (True, "", "'k' is true or false, not a string; ignored"),
        ([1], "", "'k' is a list, not a string"),
    ],
)
def test_numbers_become_texts_and_other_types_are_ignored(value: Any, expected: str, remark: str) -> None:
    """Numbers become texts, NUL characters are removed, and other types are left out with a remark."""
    remarks = Remarks()
    assert Value({"k": value}, remarks).get("k").text() == expected
    assert remark in "".join(remarks.summary())
    assert bool(remark) == bool(remarks.summary())


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (0, False), (2.5, True), ("TRUE ", True), ("false", False), ("yes", None), (None, None)],
)
def test_numbers_true_and_false_become_flags(value: Any, expected: bool | None) -> None:  # noqa: FBT001 - a case's answer
    """Numbers and the words true and false are flags, and other values are not."""
    assert Value({"k": value}, Remarks()).get("k").boolean_or_none() is expected
    assert Value({"k": value}, Remarks()).get("k").boolean(default=True) is (expected is not False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4, 4),
        ("4", 4),
        (4.9, 4),
        (-1, None),
        (11, None),
        ("1e400", None),
        ("nan", None),
        ("1" * 99, None),
        (10**99, None),
        (True, None),
        ([], None),
        (None, None),
    ],
)
def test_numbers_within_the_range_become_integers(value: Any, expected: int | None) -> None:
    """Numbers and numbers in quotes become integers; values out of range are None."""
    assert Value({"k": value}, Remarks()).get("k").integer_or_none(0, 10) == expected


def test_tables_are_read_from_lists_and_tables() -> None:
    """Tables are read from a list, or from the values of a table."""
    fields = Value({"a": [{"x": 1}, 2], "b": {"0": {"x": 2}}, "c": 3}, Remarks())
    tables = [[table.value for table in fields.get(key).tables()] for key in "abc"]
    assert tables == [[{"x": 1}], [{"x": 2}], []]
    assert fields.get("c").table().value == {}
    assert fields.get("b").get("0").get("x").integer(0, 9) == 2


def test_equal_remarks_are_counted_and_their_number_is_limited() -> None:
    """Equal remarks are counted, and the number and the length of remarks are limited."""
    remarks = Remarks()
    for n in range(1_000):
        remarks.add(f"remark {n % 50}" + "x" * 1_000)
    summary = remarks.summary()
    assert len(summary) == 41
    assert summary[0].endswith("(20 times)")
    assert max(map(len, summary)) < 400
    assert summary[-1] == "and 200 more remarks"


def test_a_long_name_is_cut_with_a_remark() -> None:
    """A name is cut after 10,000 characters, with a remark."""
    remarks = Remarks()
    assert len(Value({"k": "ab " * 9_999}, remarks).get("k").line()) == 10_000
    assert remarks.summary() == ("'k' has 19,997 characters after the first 10,000; ignored",)
