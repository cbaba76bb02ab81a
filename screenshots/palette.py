"""The colours that stand in for a person's terminal: a dark and a light one.

Every colour but black and white, which hermes leaves alone, has a contrast of at least 4.5 to 1 with the
background, as in a terminal that somebody has set up to be read. Most of them are those of GitHub's Primer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
"""pyte's names for the eight colours in the terminals' order; what it calls brown is yellow."""


@dataclass(frozen=True, slots=True)
class Palette:
    """What `default` and the sixteen names look like, as CSS colours. `frame` is the line around it all."""

    name: str
    foreground: str
    background: str
    frame: str
    colours: Mapping[str, str]

    def colour(self, name: str, default: str) -> str:
        """Return the CSS colour for a cell's: six digits stand for themselves."""
        if name == "default":
            return default
        return self.colours.get(name) or f"#{name}"


def _sixteen(normal: str, bright: str) -> Mapping[str, str]:
    names = (*NAMES, *(f"bright{name}" for name in NAMES))
    return dict(zip(names, [*normal.split(), *bright.split()], strict=True))


DARK = Palette(
    "dark",
    foreground="#e6edf3",
    background="#0d1117",
    frame="#30363d",
    colours=_sixteen(
        "#484f58 #ff7b72 #3fb950 #d29922 #58a6ff #bc8cff #39c5cf #b1bac4",
        "#8b949e #ffa198 #56d364 #e3b341 #79c0ff #d2a8ff #56d4dd #ffffff",
    ),
)
LIGHT = Palette(
    "light",
    foreground="#1f2328",
    background="#ffffff",
    frame="#d0d7de",
    colours=_sixteen(
        "#24292f #cf222e #116329 #7d4e00 #0969da #8250df #1b7c83 #6e7781",
        "#57606a #a40e26 #1a7f37 #633c01 #0550ae #6639ba #136061 #8c959f",
    ),
)
