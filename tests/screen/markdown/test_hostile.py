"""No text from outside controls the terminal, with any markup and in any pieces."""

import io
import random
import re

import pytest

from hermes_cli.screen.render import MarkdownRenderer, PlainRenderer, Renderer
from hermes_cli.screen.terminal import Terminal
from tests.screen.markdown.examples import examples, pieces
from tests.screen.test_sanitize import ATTACKS, ORDINARY, dangerous

ALLOWED = re.compile(r"\x1b\[(?:[0-9;]*m|[0-9]*[AC]|J|\?2026[hl])|\r\n|\r(?=\x1b\[[0-9]*[CJ])")
"""Colors; up, right, erase below; the marks of an update; a row's end, and its start before these."""

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
    """A stream that calls itself a terminal but has no size, which then is 80x24."""

    def isatty(self) -> bool:
        return True


def shown(kind: str, parts: list[str]) -> str:
    """Return the output at a terminal for a text that comes in parts."""
    out = _Tty()
    terminal = Terminal(io.BytesIO(), out, io.StringIO(), False, True, False, obeys=True, colour=True)  # noqa: FBT003
    renderer: Renderer
    now = iter(range(10**6))
    if kind == "plain":
        renderer = PlainRenderer(terminal)
    else:
        renderer = MarkdownRenderer(terminal, speech=True, clock=lambda: float(next(now)))
    for part in parts:
        renderer.write(part)
    renderer.end()
    return out.getvalue().decode()


def hostile(rng: random.Random) -> str:
    """Return a text made of attacks, ordinary texts and Markdown."""
    pool = [*ATTACKS, *ENTITIES, *ORDINARY]
    parts = []
    for _ in range(rng.randrange(1, 6)):
        piece = rng.choice(pool)
        parts.append(rng.choice(WRAPPED).replace("{}", piece) if rng.random() < 0.6 else piece)
        parts.append(rng.choice(["", " ", "\n", "\n\n"]))
    if rng.random() < 0.3:
        parts.append(rng.choice(list(examples().values())))
    return "".join(parts)


def check(kind: str, count: int, seed: int) -> None:
    """Assert for `count` hostile texts that only allowed control sequences are written."""
    rng = random.Random(seed)
    for _ in range(count):
        text = hostile(rng)
        written = shown(kind, pieces(text, rng))
        left = (ALLOWED.sub("", written) if kind == "markdown" else written).replace("\r\n", "\n")
        assert dangerous(left) == [], (text, left)


@pytest.mark.parametrize("kind", ["markdown", "plain"])
def test_hostile_texts_write_only_allowed_control_sequences(kind: str) -> None:
    """For 400 hostile texts only allowed control sequences are written."""
    check(kind, 400, 1)


@pytest.mark.long
def test_ten_thousand_hostile_texts_write_only_allowed_sequences() -> None:
    """For 10,000 hostile texts only allowed control sequences are written."""
    check("markdown", 10_000, 2)


def test_dangerous_sequences_are_not_allowed() -> None:
    """The pattern of allowed sequences does not match titles, clipboard writes, links and the like."""
    refused = [
        "\x1b]0;x\x07",
        "\x1b]52;c;eA==\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1b[2J",
        "\x1b[8;1;1t",
        "\x9b1m",
    ]
    assert all(dangerous(ALLOWED.sub("", sequence)) for sequence in refused)
