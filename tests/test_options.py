"""Tests of the options: one table checks every value, whatever its source."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.options import (
    FIELDS,
    GenerationOptions,
    LayeredOptions,
    OptionError,
    check_value,
    parse_context,
    parse_text,
    suggestion,
)

HUGE = pytest.param(10**400, id="401 digits")
NUMBERS = [name for name, known in FIELDS.items() if known.kind is not str]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("4,096", 4096),
        ("1,048,576", 1_048_576),
        ("8k", 8192),
        ("128K", 131_072),
        (" 512 ", 512),
        *((text, None) for text in ("4.096", "4,09", "40,96", "4k5", "", "k", "-1", "8 k", "٤٠٩٦", "4,096,")),
    ],
)
def test_a_context_size_can_have_commas_or_a_k(text: str, size: int | None) -> None:
    """Text with two readings, such as 4.096, is not a size."""
    assert parse_context(text) == size


def test_every_default_is_accepted() -> None:
    """The table has the type of each option."""
    defaults = GenerationOptions()
    for name, known in FIELDS.items():
        value = getattr(defaults, name)
        assert known.default == value
        if value is not None:
            assert check_value(name, value) == value
    kinds = {name: FIELDS[name].kind for name in ("temperature", "top_k", "seed", "stop")}
    assert kinds == {"temperature": float, "top_k": int, "seed": int, "stop": str}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "bad",
    [
        math.nan,
        math.inf,
        -math.inf,
        True,
        False,
        None,
        "1",
        [1],
        -1,
        -1e308,
        HUGE,
        pytest.param(10**5000, id="5001 digits"),
    ],
)
def test_a_value_that_is_no_usable_number_is_refused(name: str, bad: object) -> None:
    """Such values are NaN, infinity, huge numbers and other types; the message names the option."""
    with pytest.raises(OptionError, match=name):
        check_value(name, bad)


@pytest.mark.parametrize("name", NUMBERS)
def test_both_ends_of_a_range_are_accepted(name: str) -> None:
    """One more than the upper end is refused, and the message has the range."""
    known = FIELDS[name]
    for end in (known.low, known.high):
        value = check_value(name, end)
        assert value == end
        assert type(value) is known.kind
    with pytest.raises(OptionError, match=f"{name} cannot be .*; it can be {known.low:g} to"):
        check_value(name, known.high + 1)


def test_an_integer_option_accepts_40_0_and_refuses_40_5() -> None:
    """40.0 becomes an int."""
    assert check_value("top_k", 40.0) == 40
    assert type(check_value("top_k", 40.0)) is int
    assert type(check_value("temperature", 1)) is float
    with pytest.raises(OptionError, match="whole number"):
        check_value("top_k", 40.5)


def test_stop_accepts_one_or_several_texts_that_are_not_empty() -> None:
    """Other types are refused."""
    assert check_value("stop", "END") == ("END",)
    assert check_value("stop", ["a", "b"]) == ("a", "b")
    assert check_value("stop", []) == ()
    for bad in ("", ["a", ""], [1], 1, None, {"a": 1}):
        with pytest.raises(OptionError, match="stop"):
            check_value("stop", bad)


def test_an_unknown_option_is_refused_with_a_suggestion() -> None:
    """A name may have hyphens."""
    assert check_value("top-p", 0.5) == 0.5
    with pytest.raises(OptionError, match="there is no option 'temprature'; did you mean 'temperature'"):
        check_value("temprature", 1)
    assert suggestion("zzz", FIELDS) == ""


def test_text_is_parsed_by_the_type_of_the_option() -> None:
    """Text that is not a valid value is refused."""
    assert parse_text("temperature", "0.5") == 0.5
    assert parse_text("max-tokens", "64") == 64
    assert parse_text("stop", "a,b ") == ("a,b ",)
    for name, text in (
        ("temperature", "warm"),
        ("temperature", ""),
        ("temperature", "nan"),
        ("top_k", "1.5"),
        ("top_k", "9" * 5000),
        ("seed", "0x10"),
        ("zeal", "1"),
    ):
        with pytest.raises(OptionError):
            parse_text(name, text)


@given(
    st.sampled_from([*FIELDS, "zeal"]),
    st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.booleans()),
)
def test_any_value_is_accepted_in_range_or_refused(name: str, value: object) -> None:
    """Any value is either checked to its type and range or refused with a short error."""
    try:
        checked = check_value(name, value)
    except OptionError as error:
        assert len(str(error)) < 500  # noqa: PT017 - both outcomes are correct, for different values
        return
    known = FIELDS[name]
    if isinstance(checked, int | float):
        assert type(checked) is known.kind
        assert known.low <= checked <= known.high
    else:
        assert name in ("stop", "ban")


@given(st.sampled_from(list(FIELDS)), st.text())
def test_any_text_is_parsed_or_refused(name: str, text: str) -> None:
    """No text raises another exception than OptionError."""
    try:
        value = parse_text(name, text)
    except OptionError:
        return
    assert check_value(name, value) == value


def test_an_error_about_a_long_value_is_short() -> None:
    """The error about a long value or name has fewer than 200 characters."""
    for bad in ("x" * 10_000, ["x"] * 10_000, {"x" * 10_000: 1}):
        with pytest.raises(OptionError) as caught:
            check_value("temperature", bad)
        assert len(str(caught.value)) < 200
    with pytest.raises(OptionError) as caught:
        check_value("x" * 10_000, 1)
    assert len(str(caught.value)) < 200


def test_the_last_layer_overrides_the_others_and_is_the_source() -> None:
    """The source of a value is the name of its layer."""
    low = LayeredOptions().with_layer({"temperature": 0.1, "top_k": 5}, "config")
    both = low.with_layer({"temperature": 0.2}, "--temperature").with_layer({}, "nothing")
    assert (both.options.temperature, both.options.top_k, both.options.top_p) == (0.2, 5, 0.95)
    assert [both.source(name) for name in ("temperature", "top_k", "top_p")] == [
        "--temperature",
        "config",
        "default",
    ]
    assert low.options.temperature == 0.1


def test_a_text_option_that_is_not_utf_8_is_refused() -> None:
    """A byte of the environment or the command line that is not UTF-8 gives an OptionError."""
    with pytest.raises(OptionError, match="stop is not UTF-8 text"):
        parse_text("stop", "a\udcff")
