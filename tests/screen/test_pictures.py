"""Pictures at a terminal: the recognition of terminals, and the sequences of the protocols."""

import base64
import re

import pytest

from hermes_cli.personas.formats.png import Picture
from hermes_cli.screen import pictures

KITTY = {"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}
WIDE, TALL = Picture(b"wide", 40, 10), Picture(b"tall", 10, 40)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (KITTY, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "mintty"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode", "KITTY_WINDOW_ID": "1"}, ""),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, ""),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "linux"}, ""),
        ({}, ""),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, ""),
        ({**KITTY, "TMUX": "default,1,0"}, ""),
        ({"TERM": "tmux-256color", "LC_TERMINAL": "iTerm2"}, ""),
        ({"TERM": "screen.xterm-256color", "KITTY_WINDOW_ID": "1"}, ""),
        ({**KITTY, "STY": "1.pts"}, ""),
        ({**KITTY, "ZELLIJ": "0"}, ""),
    ],
)
def test_the_terminal_is_recognized_by_its_environment(environ: dict[str, str], expected: str) -> None:
    """Terminals that show pictures are recognized, but not inside a multiplexer."""
    assert pictures.protocol("auto", environ) == expected


def test_the_setting_selects_a_protocol() -> None:
    """The setting turns pictures off, or on in an unrecognized terminal, but not in a multiplexer."""
    assert pictures.protocol("off", KITTY) == ""
    assert pictures.protocol("iterm2", KITTY) == "iterm2"
    assert pictures.protocol("kitty", {"TERM": "xterm"}) == "kitty"
    assert pictures.protocol("kitty", {"TERM": "dumb"}) == ""
    assert pictures.protocol("kitty", {"TERM": "tmux"}) == ""


def test_kitty_receives_one_sequence_for_a_small_picture() -> None:
    """The control data says: show PNG, be silent, and the dimension that limits the size; base64 follows."""
    assert pictures.encode(WIDE, "kitty", (80, 24)) == "\x1b_Ga=T,f=100,q=2,c=20,m=0;d2lkZQ==\x1b\\\n"
    assert pictures.encode(TALL, "kitty", (80, 24)) == "\x1b_Ga=T,f=100,q=2,r=10,m=0;dGFsbA==\x1b\\\n"


def test_kitty_receives_a_large_picture_in_chunks() -> None:
    """Each sequence has at most 4,096 bytes, and only the first has more keys than `m`."""
    data = bytes(range(256)) * 30  # 7,680 bytes are 10,240 in base64
    text = pictures.encode(Picture(data, 1, 1), "kitty", (80, 24))
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert [keys for keys, _ in parts] == ["a=T,f=100,q=2,c=20,m=1", "m=1", "m=0"]
    assert [len(part) for _, part in parts] == [4096, 4096, 2048]
    assert base64.b64decode("".join(part for _, part in parts)) == data


def test_iterm2_receives_one_sequence() -> None:
    """The arguments are the size of the file and of the area in cells."""
    assert pictures.encode(WIDE, "iterm2", (80, 24)) == (
        "\x1b]1337;File=inline=1;size=4;width=20;height=10;preserveAspectRatio=1:d2lkZQ==\x07\n"
    )


def test_a_small_terminal_limits_the_size() -> None:
    """A picture is narrower than the terminal, lower than it by two rows, and left out if nothing fits."""
    assert "c=11," in pictures.encode(WIDE, "kitty", (12, 24))
    assert "r=4," in pictures.encode(TALL, "kitty", (80, 6))
    assert "width=11;height=4;" in pictures.encode(TALL, "iterm2", (12, 6))
    assert pictures.encode(WIDE, "kitty", (80, 2)) == pictures.encode(WIDE, "kitty", (1, 24)) == ""
