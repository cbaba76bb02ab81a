"""JSON with limits: within them it is parsed as usual, and the rest is refused with a reason."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import card, card_write
from hermes_cli.untrusted import json_parser
from hermes_cli.untrusted.json_parser import JsonLimits, UnfitNumber
from hermes_cli.untrusted.source import Source
from tests.personas.formats.test_card_write import json_values

SOURCE = Path("some.json")
FILE = Source("some.json", PersonaError)


@given(json_values)
def test_any_json_has_the_values_of_the_standard_library(value: Any) -> None:
    """JSON is read and written with the same values as by the standard library."""
    written = (card_write.text(value, SOURCE), card_write.text(value, SOURCE, short=True))
    for data in (json.dumps(value).encode(), *written):
        assert card.parse_json(data, SOURCE) == json.loads(data) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    """Any bytes are read, or are a PersonaError that names the file."""
    try:
        card.parse_json(data, SOURCE)
    except PersonaError as error:
        assert str(SOURCE) in error.message  # noqa: PT017 - most bytes raise it


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not JSON: expecting value, line 1, column 1"),
        (b'{\n"a": tru}', "is not JSON: expecting value, line 2, column 6"),
        (b'"\xff"', "is not UTF-8: byte 1 is 0xff"),
        (b'\xef\xbb\xbf"\xff"', "is not UTF-8: byte 4 is 0xff"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8: byte 0 is 0xff"),
        (b"[NaN]", "contains the number NaN, which is too large or not finite"),
        (b"[-Infinity]", "contains the number -Infinity, which"),
        (b"[1e999]", "contains the number 1e999, which is too large"),
        (b"[" + b"1" * 5_000 + b"]", "contains a number of 5,000 digits"),
        (b'["\\ud800"]', "contains a lone surrogate (U+D800)"),
        (b'[{"\\udfff": 1}]', "contains a lone surrogate (U+DFFF)"),
        (b"[" * 101 + b"]" * 101, "nested too deeply"),
        (b"[" * 99_999, "nested too deeply"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nested too deeply"),
        (b"[" + b"[]," * 100_000 + b"1]", "has too many values"),
        (b"[" + b"1," * 250_001 + b"1]", "has too many values"),
        (b" " * (4 << 20) + b"1", "is larger than 4 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_json_that_is_invalid_or_too_large_is_refused(data: bytes, reason: str) -> None:
    """Invalid JSON and JSON out of bounds are refused with a reason and a hint."""
    with pytest.raises(PersonaError) as caught:
        card.parse_json(data, SOURCE)
    assert reason in caught.value.message
    assert str(SOURCE) in caught.value.message
    assert caught.value.hint


def test_json_just_within_the_limits_is_read() -> None:
    """JSON just within the bounds is read, with the usual recursion limit."""
    assert card.parse_json(b"[" * 100 + b"]" * 100, SOURCE)
    assert card.parse_json(b"9" * 100, SOURCE) == 10**100 - 1
    assert card.parse_json(b" " * ((4 << 20) - 1) + b"1", SOURCE) == 1
    assert card.parse_json(b'"\\ud83d\\ude00"', SOURCE) == "\U0001f600"
    assert sys.getrecursionlimit() == 1_000


def test_the_last_of_two_equal_keys_counts_and_a_bom_is_skipped() -> None:
    """Of two equal keys the last counts, and a byte order mark is skipped."""
    assert card.parse_json(b'\xef\xbb\xbf{"a": 1, "a": 2}', SOURCE) == {"a": 2}


def test_numbers_beyond_the_limits_can_be_marked_or_infinite() -> None:
    """A limit can mark a number in place of an error, or allow infinity; it never allows endless digits."""
    text = '["' + '", 1e999, NaN, ' + "9" * 101 + "]"
    marks = JsonLimits(size=1, marks_numbers=True)
    assert [type(value) for value in json_parser.parse_text(text, FILE, marks)] == [str, *[UnfitNumber] * 3]
    infinity = JsonLimits(size=1, allows_infinity=True)
    assert json_parser.parse_text("[1e999, -Infinity]", FILE, infinity) == [float("inf"), -float("inf")]
    with pytest.raises(PersonaError, match="a number of 101 digits"):
        json_parser.parse_text(text, FILE, infinity)


@pytest.mark.parametrize("limits", [JsonLimits(size=1), JsonLimits(size=1, allows_surrogates=True)])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":1},', "]")])
def test_the_depth_limit_does_not_depend_on_the_recursion_limit(
    limits: JsonLimits, opening: str, closing: str
) -> None:
    """100 levels are parsed and 101 are refused, whatever the recursion limit."""
    assert json_parser.parse_text(opening * 99 + "[1]" + closing * 99, FILE, limits)
    with pytest.raises(PersonaError, match="nested too deeply"):
        json_parser.parse_text(opening * 100 + "[1]" + closing * 100, FILE, limits)


def test_lone_surrogates_can_be_allowed() -> None:
    """A vocabulary may contain lone surrogates."""
    assert json_parser.parse_text('["\\ud800"]', FILE, JsonLimits(size=1, allows_surrogates=True)) == [
        "\ud800"
    ]
