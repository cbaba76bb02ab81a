"""Encodes pictures for terminals that show them: the protocols of kitty and iTerm2, which accept PNG files.

The terminal is recognized by its environment variables. A query would take time at the start, and its reply
would arrive among the keys that the user types.

Sources: kitty's "Terminal graphics protocol" and iTerm2's "Inline Images Protocol".
"""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hermes_cli.personas.formats.png import Picture

KITTY, ITERM2 = "kitty", "iterm2"
AUTO, OFF = "auto", "off"
MAX_COLUMNS, MAX_ROWS = 20, 10
_CELL_RATIO: Final = 2
"""The height of a cell divided by its width, in most fonts."""
_KITTY_CHUNK: Final = 4096
"""The most bytes of base64 in one of kitty's sequences."""
_MULTIPLEXERS: Final = ("TMUX", "STY", "ZELLIJ")
_PROGRAMS: Final = {
    "iterm.app": ITERM2,
    "wezterm": ITERM2,
    "mintty": ITERM2,
    "kitty": KITTY,
    "ghostty": KITTY,
}
"""The protocols of terminals by $TERM_PROGRAM."""
_TERMS: Final = {"xterm-kitty": KITTY, "xterm-ghostty": KITTY}
"""The protocols of terminals by $TERM."""


def protocol(setting: str, environ: Mapping[str, str]) -> str:
    """Return KITTY, ITERM2, or an empty string if the terminal shows no pictures or the setting is "off".

    Terminal multiplexers do not pass pictures on, so there are none in them.
    """
    term = environ.get("TERM", "")
    is_inside = any(map(environ.get, _MULTIPLEXERS)) or term.startswith(("screen", "tmux"))
    if setting == OFF or is_inside or term in {"", "dumb"}:
        return ""
    if setting != AUTO:
        return setting
    if program := environ.get("TERM_PROGRAM", ""):
        return _PROGRAMS.get(program.lower(), "")
    if environ.get("LC_TERMINAL") == "iTerm2":  # ssh passes it on
        return ITERM2
    # Terminals that are started from kitty inherit this variable; those with pictures set $TERM_PROGRAM.
    return KITTY if environ.get("KITTY_WINDOW_ID") else _TERMS.get(term, "")


def encode(picture: "Picture", name: str, size: tuple[int, int]) -> str:
    """Return the sequences that show a picture with the protocol `name`, and a line break.

    `size` is that of the terminal in columns and rows. The picture keeps its aspect ratio and is at most
    MAX_COLUMNS wide and MAX_ROWS high. The result is empty if the terminal is too small.
    """
    columns, rows = min(MAX_COLUMNS, size[0] - 1), min(MAX_ROWS, size[1] - 2)
    if columns < 1 or rows < 1:
        return ""
    data = base64.b64encode(picture.png).decode("ascii")
    if name == ITERM2:
        keys = f"inline=1;size={len(picture.png)};width={columns};height={rows};preserveAspectRatio=1"
        return f"\x1b]1337;File={keys}:{data}\x07\n"
    # The terminal computes the other dimension from the aspect ratio.
    is_wide = picture.width * rows * _CELL_RATIO >= picture.height * columns
    return _kitty(data, f"c={columns}" if is_wide else f"r={rows}") + "\n"


def _kitty(data: str, dimension: str) -> str:
    """Return the sequences for base64 in chunks. `q=2` suppresses the terminal's replies."""
    starts = range(0, len(data), _KITTY_CHUNK)
    parts = list[str]()
    for start in starts:
        keys = "" if start else f"a=T,f=100,q=2,{dimension},"
        more = int(start + _KITTY_CHUNK < len(data))
        parts.append(f"\x1b_G{keys}m={more};{data[start : start + _KITTY_CHUNK]}\x1b\\")
    return "".join(parts)
