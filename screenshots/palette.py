"""The color palettes of the screenshots: a dark and a light one.

Every color except black and white, which hermes does not use, has a contrast of at least 4.5 to 1 with the
background, as in a terminal with readable colors. Most of them are from GitHub's Primer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
"""pyte's names for the eight colors in the terminals' order; its "brown" is yellow."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The CSS colors of `default` and of the sixteen names. `frame` is the border of the picture."""

    name: str
    foreground: str
    background: str
    frame: str
    colours: Mapping[str, str]

    def colour(self, name: str, default: str) -> str:
        """Return the CSS color of a cell's color name. Six hexadecimal digits are used as they are."""
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
