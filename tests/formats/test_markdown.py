"""Tests of the Markdown format: it is readable, and every text is read back unchanged."""

import pytest
from hypothesis import given, settings

from hermes_cli.errors import FormatError
from hermes_cli.formats import markdown
from hermes_cli.formats.transcript import Transcript
from hermes_cli.messages import Role
from hermes_cli.tree import MessageState
from tests.formats.trees import alchemy, trees


def test_each_visible_turn_has_a_heading() -> None:
    """The text has a heading for each visible turn, with speaker, time and model."""
    assert (
        markdown.write(alchemy())
        == """\
<!-- hermes {"title": "Alchemy", "is_named": false, "persona": "edward-elric"} -->
# Alchemy

<!-- hermes {"role": "system"} -->
## System

You are Ed.

<!-- hermes {"role": "assistant", "created": 1767225600.0} -->
## edward-elric · 2026-01-01 00:00 UTC

You again?

<!-- hermes {"role": "user", "created": 1767225660.0} -->
## You · 2026-01-01 00:01 UTC

What is
alchemy?

<!-- hermes {"role": "assistant", "created": 1767225662.0, "model": "openhermes-2"} -->
## edward-elric · 2026-01-01 00:01 UTC · openhermes-2

Art. “…”
"""
    )


@given(trees(least=1))
@settings(max_examples=150, deadline=None)
def test_no_text_can_forge_a_turn(transcript: Transcript) -> None:
    """Any texts, also Markdown of hermes itself, are read back as the same turns."""
    (read,) = markdown.read(markdown.write(transcript))
    assert [(t.role, t.text) for t in read.turns] == [(t.role, t.text) for t in transcript.turns]
    conversation = transcript.conversation
    assert not conversation.title or read.conversation.title == conversation.title
    if not conversation.opening or conversation.opening[-1].role is Role.SYSTEM:
        records = [(m.created, m.state, m.generation.model) for m in transcript.tree.path]
        assert [(m.created, m.state, m.generation.model) for m in read.tree.path] == records


def test_an_open_code_block_is_closed_after_its_turn() -> None:
    """A code block that a turn leaves open is closed after it, and the turn is read back unchanged."""
    head = '<!-- hermes {"title": ""} -->\n# x\n\n<!-- hermes {"role": "assistant"} -->\n## A\n\n'
    (transcript,) = markdown.read(head + "~~~py\nx = 1\n```\n")
    written = markdown.write(transcript)
    assert '"closed": "~~~"' in written
    assert written.endswith("~~~py\nx = 1\n```\n~~~\n")
    assert markdown.read(written)[0].turns == transcript.turns


def test_an_edited_file_is_read_with_all_its_turns() -> None:
    """A file with CRLF, edited texts and a turn added by hand is read with all its turns."""
    text = markdown.write(alchemy()).replace("You again?", "You? Again?\n\nWell.").replace("\n", "\r\n")
    edited = text + '\r\n<!-- hermes {"role": "user"} -->\r\nWhy?\r\n'
    (transcript,) = markdown.read(edited)
    assert [turn.text for turn in transcript.turns][1:] == [
        "You? Again?\n\nWell.",
        "What is\nalchemy?",
        "Art. “…”",
        "Why?",
    ]
    assert transcript.tree.nodes[-1].state is MessageState.COMPLETE


@pytest.mark.parametrize(
    ("good", "bad", "line", "reason"),
    [
        ("<!-- hermes {", "# Notes\n<!-- hermes {", 1, "not Markdown that hermes wrote"),
        ("\n# Alchemy", "\n# Alchemy\nsaid by nobody", 3, "outside of a turn"),
        ('"role": "user"', '"role": "tool"', 14, "role is 'tool'"),
        ('{"role": "user"', "{role: user", 14, "not JSON"),
        ("1767225660.0} -->", "1767225660.0}", 14, "does not end with '-->'"),
        ('"role": "user", ', "", 14, "has no 'role'"),
        ('"model": "openhermes-2"', '"model": "\\ud8aa"', 20, "lone surrogate"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(good: str, bad: str, line: int, reason: str) -> None:
    """A malformed file is refused with the reason and the line."""
    with pytest.raises(FormatError, match=reason) as caught:
        markdown.read(markdown.write(alchemy()).replace(good, bad, 1))
    assert caught.value.line == line


def test_a_file_with_a_title_and_no_turn_is_refused() -> None:
    """A file with a title and no turn is refused."""
    with pytest.raises(FormatError, match="has no turn after it"):
        markdown.read('<!-- hermes {"title": "x"} -->\n# x\n')
