"""Blocks between triple quotes: when a block is open, and its content."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import UsageError
from hermes_cli.repl import line_reader
from hermes_cli.repl.line_reader import CONTINUATION, PROMPT, Line, LineReader, block_content, is_open_block

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


def test_a_block_in_a_pipe_is_one_turn() -> None:
    """Commands and empty lines inside it are text; a line that closes its own block is one turn too."""
    prompts: list[str] = []
    stdin = io.BytesIO(b'one\n"""two\n/exit\n\n  three """ \n"""four"""\nfive"""\n')
    reader = LineReader(stdin, prompts.append)
    assert [*iter(reader.read, None)] == [
        Line("one"),
        Line("two\n/exit\n\n  three ", verbatim=True),
        Line("four", verbatim=True),
        Line('five"""'),
    ]
    assert prompts == [PROMPT, PROMPT, *[CONTINUATION] * 3, PROMPT, PROMPT, PROMPT]


def test_a_block_that_is_not_closed_is_refused() -> None:
    """No part of it is a turn."""
    reader = LineReader(io.BytesIO(b'one\n"""two\nthree\n'))
    assert reader.read() == Line("one")
    with pytest.raises(UsageError, match="the block that begins in line 2 is not closed"):
        reader.read()
    assert reader.read() is None


def test_no_line_of_a_block_with_invalid_text_is_a_turn() -> None:
    """The next turn is the line below the block."""
    reader = LineReader(io.BytesIO(b'"""a\n\xff\n/exit\n"""\nnext\n'))
    with pytest.raises(UsageError, match="the block from line 1 to 4 is not UTF-8"):
        reader.read()
    assert reader.read() == Line("next")


def test_a_block_without_an_end_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is limited as that of a line is."""
    monkeypatch.setattr(line_reader, "MAX_BYTES", 9)
    monkeypatch.setattr("hermes_cli.chat.input_text.MAX_BYTES", 9)
    stdin = io.BytesIO(b'"""a\n' + b"b\n" * 100)
    reader = LineReader(stdin)
    with pytest.raises(UsageError, match="the block from line 1 is larger than"):
        reader.read()
    assert reader.read() is None
    assert stdin.tell() < 20


def test_a_line_that_is_not_utf_8_is_named_once() -> None:
    """The position in a single line has no line number of its own."""
    reader = LineReader(io.BytesIO(b"a\nb\xff\n"))
    reader.read()
    with pytest.raises(UsageError, match=r"^line 2 is not UTF-8: byte 1 is 0xff$"):
        reader.read()
