"""Blocks between triple quotes: when a block is open, and its content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.repl.line_reader import block_content, is_open_block

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
    """A block without closing quotes at its end is open and has no content."""
    assert is_open_block(text)
    assert block_content(text) is None


@given(st.text(" \t\n", max_size=8))
def test_blanks_do_not_close_a_block(blanks: str) -> None:
    """A block that holds only spaces, tabs and newlines is open."""
    assert is_open_block(f'"""{blanks}')
    assert block_content(f'"""{blanks}') is None


@pytest.mark.parametrize("text", ["", "one", '""', '"one"', ' """one', 'one """two"""', "'''one"])
def test_what_does_not_begin_with_three_quotes_is_no_block(text: str) -> None:
    """Text that does not begin with three double quotes is not a block."""
    assert not is_open_block(text)
    assert block_content(text) is None


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
    """The content is the text between the quotes, without the newlines at its ends."""
    assert not is_open_block(text)
    assert block_content(text) == held


@given(inside)
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    """Any text in a block is returned unchanged, without the newlines at its ends."""
    block = f'"""\n{text}\n"""'
    assert not is_open_block(block)
    assert block_content(block) == text.strip("\n")


@given(st.text('a" \n', max_size=12))
def test_a_block_is_open_or_it_has_a_content(text: str) -> None:
    """Text that begins with three quotes is an open block or has content; other text is neither."""
    assert (block_content(text) is not None) == (text.startswith('"""') and not is_open_block(text))
