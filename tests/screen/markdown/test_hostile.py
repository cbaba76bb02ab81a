"""No text of a stranger's steers the terminal, however it is marked up and in whatever pieces it comes."""

import io
import random
import re

import pytest

from hermes_cli.screen.render import MarkdownRenderer, PlainRenderer, Renderer
from hermes_cli.screen.terminal import Terminal
from tests.screen.markdown.examples import examples, pieces
from tests.screen.test_sanitize import ATTACKS, ORDINARY, dangerous

ALLOWED = re.compile(r"\x1b\[(?:[0-9;]*m|[0-9]*[AC]|J|\?2026[hl])|\r\n|\r(?=\x1b\[[0-9]*[CJ])")
"""Colours; up, right, erase below; the marks of an update; a row's end, and its beginning before these."""

ENTITIES = ["&#27;[2J", "&#x9b;31m", "&#x202E;", "&#7;", "&#xFEFF;", "&#x200f;", "&#13;", "&Tab;", "&#x2028;"]
WRAPPED = [
    "[{}](http://a.example)",
    "[a]({})",
    "`{}`",
    "```{}\n{}\n```\n",
    "**{}**",
    "| {} | b |\n|-|-|\n| c | {} |\n",
    "> {}\n",
    "![{}]({})",
    "[{}]: {}\n",
    "<http://{}>",
]


class _Tty(io.BytesIO):
    """A terminal that is none: it has no size, which is then 80x24."""

    def isatty(self) -> bool:
        return True


def shown(kind: str, parts: list[str]) -> str:
    """Return what is written to a terminal for a text that comes in parts."""
    out = _Tty()
    terminal = Terminal(io.BytesIO(), out, io.StringIO(), False, True, False, obeys=True, colour=True)  # noqa: FBT003
    shows: Renderer
    now = iter(range(10**6))
    if kind == "plain":
        shows = PlainRenderer(terminal)
    else:
        shows = MarkdownRenderer(terminal, speech=True, clock=lambda: float(next(now)))
    for part in parts:
        shows.write(part)
    shows.end()
    return out.getvalue().decode()


def hostile(rng: random.Random) -> str:
    """Return a text made of attacks, ordinary ones and Markdown."""
    pool = [*ATTACKS, *ENTITIES, *ORDINARY]
    parts = []
    for _ in range(rng.randrange(1, 6)):
        one = rng.choice(pool)
        parts.append(rng.choice(WRAPPED).replace("{}", one) if rng.random() < 0.6 else one)
        parts.append(rng.choice(["", " ", "\n", "\n\n"]))
    if rng.random() < 0.3:
        parts.append(rng.choice(list(examples().values())))
    return "".join(parts)


def check(kind: str, count: int, seed: int) -> None:
    """Look at everything that is written for `count` hostile texts."""
    rng = random.Random(seed)
    for _ in range(count):
        text = hostile(rng)
        written = shown(kind, pieces(text, rng))
        left = (ALLOWED.sub("", written) if kind == "markdown" else written).replace("\r\n", "\n")
        assert dangerous(left) == [], (text, left)


@pytest.mark.parametrize("kind", ["markdown", "plain"])
def test_hostile_texts_leave_no_other_control_sequence(kind: str) -> None:
    """A model, a card or a page that was pasted could set the title, write the clipboard, or hide a text."""
    check(kind, 400, 1)


@pytest.mark.long
def test_ten_thousand_hostile_texts_leave_no_other_control_sequence() -> None:
    """The same, for as many as the issue asks."""
    check("markdown", 10_000, 2)


def test_the_list_of_what_is_allowed_is_a_short_one() -> None:
    """The test above would let something through."""
    refused = [
        "\x1b]0;x\x07",
        "\x1b]52;c;eA==\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1b[2J",
        "\x1b[8;1;1t",
        "\x9b1m",
    ]
    assert all(dangerous(ALLOWED.sub("", sequence)) for sequence in refused)
