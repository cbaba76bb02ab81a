"""Blocks between triple quotes: when one is open, and what stands in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.repl.blocks import content, is_open

inside = st.text('ab" \t\n/é', max_size=12)


@pytest.mark.parametrize(
    "text",
    [
        '"""',
        '""""',
        '"""""',
        '"""one',
        '"""one\ntwo',
        '"""one""',
        '"""one"""two',
        '"""one"""\ntwo',
        '"""\n',
    ],
)
def test_a_block_that_has_begun_is_open(text: str) -> None:
    """Enter would send half of a text."""
    assert is_open(text)
    assert content(text) is None


@given(st.text(" \t\n", max_size=8))
def test_blanks_do_not_close_a_block(blanks: str) -> None:
    """Enter would send nothing at all, where a text begins with empty lines."""
    assert is_open(f'"""{blanks}')
    assert content(f'"""{blanks}') is None


@pytest.mark.parametrize("text", ["", "one", '""', '"one"', ' """one', 'one """two"""', "'''one"])
def test_what_does_not_begin_with_three_quotes_is_no_block(text: str) -> None:
    """Enter would not send a line that only quotes something."""
    assert not is_open(text)
    assert content(text) is None


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ('""""""', ""),
        ('"""one"""', "one"),
        ('"""/exit"""', "/exit"),
        ('"""one\ntwo"""', "one\ntwo"),
        ('"""\none\n\ntwo\n"""', "one\n\ntwo"),
        ('"""one""" \n', "one"),
        ('"""  one  """', "  one  "),
        ('"""say "hello""""', 'say "hello"'),
        ('"""a"""b"""', 'a"""b'),
    ],
)
def test_what_stands_in_a_block(text: str, held: str) -> None:
    """The quotes would go to the model, or something of the text be lost."""
    assert not is_open(text)
    assert content(text) == held


@given(inside)
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    """Indentation and empty lines in pasted code would be lost."""
    block = f'"""\n{text}\n"""'
    assert not is_open(block)
    assert content(block) == text.strip("\n")


@given(st.text('a" \n', max_size=12))
def test_a_block_is_open_or_it_has_a_content(text: str) -> None:
    """Enter would neither send nor begin a line."""
    assert (content(text) is not None) == (text.startswith('"""') and not is_open(text))
