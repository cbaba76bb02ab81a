"""The choice of the renderer, its output, and how often it updates the screen."""

import io
import time

import pytest

from hermes_cli.screen.render import (
    INTERVAL_S,
    MARKDOWN_LIMIT,
    MarkdownRenderer,
    PlainRenderer,
    renderer,
)
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
def test_markdown_is_rendered_only_with_control_sequences(
    *, tty: bool, obeys: bool, plain: bool, kind: type
) -> None:
    """Markdown is rendered only at a terminal with control sequences, if plain text is not requested."""
    assert type(renderer(terminal(io.BytesIO(), tty=tty, obeys=obeys), plain=plain)) is kind


@pytest.mark.parametrize("text", ["**a**\x1b[2J\r\n", "", "no end", "two\n\n"])
def test_a_pipe_gets_the_bytes_and_one_newline(text: str) -> None:
    """A pipe gets the answer's bytes and one newline."""
    out = io.BytesIO()
    writer = renderer(terminal(out, tty=False))
    for character in text:
        writer.write(character)
    writer.end()
    assert out.getvalue() == text.encode() + b"\n"


def test_a_plain_terminal_gets_sanitized_text_and_a_newline() -> None:
    """A plain terminal gets the sanitized text and a newline."""
    out = io.BytesIO()
    writer = PlainRenderer(terminal(out))
    writer.write("# a\x1b[2J")
    writer.end()
    assert out.getvalue().decode() == "# a\u241b[2J\n"


def test_the_screen_is_updated_at_most_once_per_interval() -> None:
    """The screen is updated at most once every INTERVAL_S seconds, and the whole text is printed."""
    out, now = Tty(), [0.0]
    writer = MarkdownRenderer(terminal(out), clock=lambda: now[0])
    for _ in range(1000):  # ten seconds of a hundred tokens each
        writer.write("word ")
        now[0] += 0.01
    assert out.writes <= 10 / INTERVAL_S + 1
    writer.end()
    assert out.getvalue().decode().split() == ["word"] * 1000


def test_text_before_a_pause_is_painted_although_none_follows() -> None:
    """The second piece comes too soon after the first to be painted at once."""
    out = Tty()
    writer = MarkdownRenderer(terminal(out))
    writer.write("Once ")
    writer.write("upon")
    end = time.monotonic() + 30
    while b"upon" not in out.getvalue():
        assert time.monotonic() < end
        time.sleep(0.01)
    writer.write(" a time")
    writer.end()
    assert b"a time" in out.getvalue()


def test_slow_updates_are_made_less_often() -> None:
    """The longer an update takes, the less often the screen is updated."""
    out, now = Tty(), [0.0]

    def clock() -> float:
        now[0] += 0.05  # the duration of each update
        return now[0]

    writer = MarkdownRenderer(terminal(out), clock=clock)
    for _ in range(100):
        writer.write("word ")
    assert out.writes <= 14


@pytest.mark.parametrize("size", [7, 100_000])
def test_a_long_answer_is_rendered_to_a_limit_and_then_plain(size: int) -> None:
    """Text beyond the limit is complete, but not parsed, in pieces or as a whole."""
    out = io.BytesIO()
    writer = MarkdownRenderer(terminal(out))
    text = "".join(f"- **item** {number}\n" for number in range(6000))
    for start in range(0, len(text), size):
        writer.write(text[start : start + size])
    writer.end()
    shown = out.getvalue().decode()
    assert shown.endswith("- **item** 5999\n")
    assert 1000 < shown.count("•") < MARKDOWN_LIMIT // len("- **item** 1000\n")
    assert all(f" {number}" in shown for number in (0, 2500, 5000))
