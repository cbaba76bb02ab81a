"""The painter: the screen holds the painted rows, and only changes are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style
from rich.text import Text

from hermes_cli.screen.paint import BEGIN_UPDATE, Painter
from tests.screen.markdown.examples import screen

BOLD = Style(bold=True)
lines = st.lists(st.text("ab日é ", max_size=5).map(str.rstrip), max_size=6)


def rows(*texts: str) -> list[Text]:
    """Return rows of plain text."""
    return [Text(text) for text in texts]


class Recorder:
    """A painter on a terminal whose size can change, with a record of its output."""

    def __init__(self, *, reflows: bool = True, colour: bool = True) -> None:
        self.size = (20, 6)
        self.written: list[str] = []
        self.painter = Painter(self.written.append, lambda: self.size, colour=colour, reflows=reflows)

    def paint(self, final: list[Text], live: list[Text]) -> str:
        """Paint, and return the output."""
        self.written.clear()
        self.painter.paint(final, live)
        return "".join(self.written)


@given(st.lists(st.tuples(lines, lines), max_size=8))
def test_the_screen_shows_the_final_rows_and_then_the_live_rows(
    updates: list[tuple[list[str], list[str]]],
) -> None:
    """The screen holds all final rows and then the last live rows."""
    expected: list[str] = []

    def write(painter: Painter) -> None:
        live: list[str] = []
        for final, live in updates:
            painter.paint(rows(*final), rows(*live))
            expected.extend(final)
        expected.extend(live)
        painter.end()

    cells = screen((10, 8), write)
    while expected and not expected[-1]:
        expected.pop()
    assert ["".join(cell.data for cell in row).rstrip() for row in cells] == expected


def test_only_the_new_characters_of_growing_text_are_written() -> None:
    """For text that grows only the new characters are written."""
    painter = Recorder()
    assert painter.paint([], rows("Hello")) == "Hello"
    assert painter.paint([], rows("Hello there")) == " there"
    assert painter.paint(rows("Hello there"), rows("you")) == "\r\nyou"
    assert painter.paint(rows("you"), []) == "\r\n"


def test_changed_text_is_rewritten_in_one_update() -> None:
    """Changed text is rewritten from the first change on, in one synchronized update."""
    painter = Recorder()
    painter.paint([], rows("one two", "three"))
    assert painter.paint([], rows("one 2")) == f"{BEGIN_UPDATE}\x1b[1A\r\x1b[4C\x1b[J2\x1b[?2026l"


def test_a_style_is_written_once_and_reset_at_the_end() -> None:
    """A style is written once while it lasts, and reset at the end."""
    painter = Recorder()
    assert painter.paint([], [Text("bo", BOLD)]) == "\x1b[1mbo"
    assert painter.paint([], [Text("bold", BOLD)]) == "ld"
    painter.written.clear()
    painter.painter.end()
    assert painter.written == ["\x1b[m\r\n"]


def test_italics_are_kept_without_color() -> None:
    """Without color the text keeps its italics."""
    painter = Recorder(colour=False)
    assert painter.paint([], [Text("x", Style(color="red", italic=True))]) == "\x1b[3mx"


def test_a_tail_taller_than_the_screen_shows_its_end() -> None:
    """Of a tail taller than the screen the end is shown, and the scrollback holds each row once."""

    def write(painter: Painter) -> None:
        for count in range(1, 12):
            painter.paint([], rows(*(f"row {n}" for n in range(count))))
        painter.paint(rows(*(f"row {n}" for n in range(11))), [])
        painter.end()

    shown = ["".join(cell.data for cell in row).rstrip() for row in screen((10, 4), write)]
    assert shown == [f"row {n}" for n in range(11)]


@pytest.mark.parametrize(("reflows", "up"), [(True, 3), (False, 1)])
def test_all_rows_of_the_tail_are_erased_if_the_terminal_narrows(*, reflows: bool, up: int) -> None:
    """After the terminal becomes narrower all rows of the tail are erased, those from reflow included."""
    painter = Recorder(reflows=reflows)
    painter.paint([], rows("fifteen letters", "and fifteen mor"))
    painter.size = (8, 6)
    assert f"\x1b[{up}A\r\x1b[J" in painter.paint([], rows("fifteen", "letters"))
