"""Tests of the display of reasoning: dimmed and wrapped, or as one status line."""

import io

from hermes_cli.screen.reasoning_view import ReasoningView
from hermes_cli.screen.terminal import Terminal


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def terminal_of(columns: int) -> tuple[Terminal, io.StringIO]:
    """Return a terminal of this width, and its standard error."""
    errors = io.StringIO()

    class Narrow(Terminal):
        def size(self) -> tuple[int, int]:
            return columns, 24

    return Narrow(io.BytesIO(), io.BytesIO(), errors, False, False, False), errors  # noqa: FBT003 - three streams


def shown(*pieces: str, columns: int = 20) -> str:
    """Return what is printed for a reasoning in pieces."""
    terminal, errors = terminal_of(columns)
    view = ReasoningView(terminal, shown=True)
    for piece in pieces:
        view.write(piece)
    view.end()
    view.end()
    return errors.getvalue()


def test_lines_break_between_words() -> None:
    """However the text is split, and an empty line follows it."""
    text = "the second train arrives first"
    assert shown(text) == "the second train\narrives first\n\n"
    assert shown(*text) == shown(text)
    assert shown("\n\nOne\n", "two\n") == "One\ntwo\n\n"


def test_a_long_word_is_not_held_back() -> None:
    """Text without spaces is printed as it comes."""
    terminal, errors = terminal_of(80)
    view = ReasoningView(terminal, shown=True)
    view.write("x" * 30)
    assert errors.getvalue() == "x" * 30


def test_control_sequences_are_not_printed() -> None:
    """The reasoning comes from a model, as the answer does."""
    assert "\x1b" not in shown("a\x1b[2Jb\x9b5n")


def test_hidden_reasoning_is_one_status_line() -> None:
    """It has the time and the last words, and nothing is printed."""
    terminal, errors = terminal_of(80)
    clock = Clock()
    view = ReasoningView(terminal, shown=False, clock=clock)
    assert not view.has_begun
    view.write("Let me\n\nsee. ")
    clock.now = 12.3
    assert view.status == "thinking · 12 s · Let me see."
    view.end()
    clock.now = 20.0
    assert view.seconds == 12.3
    assert errors.getvalue() == ""
