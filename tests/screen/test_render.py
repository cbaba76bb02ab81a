"""The choice of the renderer, its output, and how often it updates the screen."""

import io

import pytest

from hermes_cli.screen.render import INTERVAL_S, MarkdownRenderer, PlainRenderer, renderer
from hermes_cli.screen.terminal import Terminal


class Tty(io.BytesIO):
    """A stream that counts its writes."""

    writes = 0

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.writes += 1
        return super().write(data)


def terminal(out: io.BytesIO, *, tty: bool = True, obeys: bool = True) -> Terminal:
    """Return a terminal whose standard output is `out`."""
    return Terminal(io.BytesIO(), out, io.StringIO(), False, tty, False, obeys=obeys)  # noqa: FBT003 - see tests/run_hermes.py


@pytest.mark.parametrize(
    ("tty", "obeys", "plain", "kind"),
    [
        (True, True, False, MarkdownRenderer),
        (True, False, False, PlainRenderer),  # TERM=dumb
        (True, True, True, PlainRenderer),
        (False, True, False, PlainRenderer),
    ],
)
def test_markdown_is_for_a_terminal_that_obeys(*, tty: bool, obeys: bool, plain: bool, kind: type) -> None:
    """Markdown is rendered only at a terminal with control sequences, if plain text is not requested."""
    assert type(renderer(terminal(io.BytesIO(), tty=tty, obeys=obeys), plain=plain)) is kind


@pytest.mark.parametrize("text", ["**a**\x1b[2J\r\n", "", "no end", "two\n\n"])
def test_a_pipe_gets_the_bytes_and_one_newline(text: str) -> None:
    """A pipe gets the answer's bytes and one newline."""
    out = io.BytesIO()
    shows = renderer(terminal(out, tty=False))
    for character in text:
        shows.write(character)
    shows.end()
    assert out.getvalue() == text.encode() + b"\n"


def test_a_plain_terminal_gets_the_text_sanitised_and_its_line_ended() -> None:
    """A plain terminal gets the sanitized text and a newline."""
    out = io.BytesIO()
    shows = PlainRenderer(terminal(out))
    shows.write("# a\x1b[2J")
    shows.end()
    assert out.getvalue().decode() == "# a\u241b[2J\n"


def test_twenty_looks_a_second_at_most() -> None:
    """The screen is updated at most once every INTERVAL_S seconds, and the whole text is printed."""
    out, now = Tty(), [0.0]
    shows = MarkdownRenderer(terminal(out), clock=lambda: now[0])
    for _ in range(1000):  # ten seconds of a hundred tokens each
        shows.write("word ")
        now[0] += 0.01
    assert out.writes <= 10 / INTERVAL_S + 1
    shows.end()
    assert out.getvalue().decode().split() == ["word"] * 1000


def test_a_look_that_takes_long_is_taken_less_often() -> None:
    """The longer an update takes, the less often the screen is updated."""
    out, now = Tty(), [0.0]

    def clock() -> float:
        now[0] += 0.05  # the duration of each update
        return now[0]

    shows = MarkdownRenderer(terminal(out), clock=clock)
    for _ in range(100):
        shows.write("word ")
    assert out.writes <= 14
