"""Blocks between triple quotes: when a block is open, and its content."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import UsageError
from hermes_cli.repl import line_reader
from hermes_cli.repl.line_reader import LineReader, block_content, is_open_block

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
def test_a_block_without_closing_quotes_is_open(text: str) -> None:
    """A block without closing quotes at its end is open and has no content."""
    assert is_open_block(text)
    assert block_content(text) is None


@given(st.text(" \t\n", max_size=8))
def test_whitespace_does_not_close_a_block(whitespace: str) -> None:
    """A block that holds only spaces, tabs and newlines is open."""
    assert is_open_block(f'"""{whitespace}')
    assert block_content(f'"""{whitespace}') is None


@pytest.mark.parametrize("text", ["", "one", '""', '"one"', ' """one', 'one """two"""', "'''one"])
def test_text_that_does_not_begin_with_three_quotes_is_no_block(text: str) -> None:
    """A space, other quotes or text before the quotes makes a line plain text."""
    assert not is_open_block(text)
    assert block_content(text) is None


@pytest.mark.parametrize(
    ("text", "content"),
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
def test_the_content_of_a_block_is_between_its_quotes(text: str, content: str) -> None:
    """Newlines at the ends of the content are removed."""
    assert not is_open_block(text)
    assert block_content(text) == content


@given(inside)
def test_any_text_in_a_block_is_returned_unchanged(text: str) -> None:
    """Only newlines at the ends of the content are removed."""
    block = f'"""\n{text}\n"""'
    assert not is_open_block(block)
    assert block_content(block) == text.strip("\n")


@given(st.text('a" \n', max_size=12))
def test_a_block_is_either_open_or_has_content(text: str) -> None:
    """Text that does not begin with three quotes is neither."""
    assert (block_content(text) is not None) == (text.startswith('"""') and not is_open_block(text))


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a line, as from /dev/zero, is not read into memory, and its rest is not taken for other lines."""
    monkeypatch.setattr(line_reader, "MAX_BYTES", 4)
    monkeypatch.setattr("hermes_cli.chat.input_text.MAX_BYTES", 4)
    stdin = io.BytesIO(b"one\nfour\nlonger\nlast\n")
    reader = LineReader(stdin)
    assert [line.text for line in (reader.read(), reader.read()) if line] == ["one", "four"]
    with pytest.raises(UsageError, match="line 3 is larger than"):
        reader.read()
    assert reader.read() is None
    assert stdin.tell() < len(stdin.getvalue())
