"""A sequence of pictures as one animated SVG.

The frames are side by side, and a CSS animation moves them past the window in steps. Each different row is
drawn once and used by all frames that contain it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from xml.sax.saxutils import escape

from screenshots.camera import Picture
from screenshots.svg import CELL_HEIGHT, CELL_WIDTH, CSS, MARGIN, Palette, draw_row, with_cursor


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture, and how long it is shown."""

    picture: Picture
    seconds: float


def film(frames: Sequence[Frame], palette: Palette, title: str) -> str:
    """Return the animation, which repeats. If the viewer prefers no motion, the last frame is shown."""
    columns, rows = len(frames[0].picture.rows[0]), len(frames[0].picture.rows)
    inner = columns * CELL_WIDTH
    width, height = inner + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN
    defined: dict[str, int] = {}
    shown = []
    for number, frame in enumerate(frames):
        uses = []
        for y, row in enumerate(with_cursor(frame.picture)):
            drawn = "".join(draw_row(row, 0, palette))
            if drawn:
                name = defined.setdefault(drawn, len(defined))
                uses.append(f'<use href="#r{name}" y="{y * CELL_HEIGHT}"/>')
        shown.append(f'<g transform="translate({number * inner:g} 0)">{"".join(uses)}</g>')
    rows_by_name = "\n".join(f'<g id="r{name}">{drawn}</g>' for drawn, name in defined.items())
    last = f"transform:translateX(-{(len(frames) - 1) * inner:g}px)"
    style = f"{_keyframes(frames, inner)}@media(prefers-reduced-motion){{.film{{animation:none;{last}}}}}"
    colors = f'fill="{palette.background}" stroke="{palette.frame}"'
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>',
            f"<title>{escape(title)}</title>",
            f"<style>{CSS}{style}</style>",
            f"<defs>\n{rows_by_name}\n</defs>",
            f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="6" {colors}/>',
            f'<svg x="{MARGIN}" y="{MARGIN}" width="{inner:g}" height="{rows * CELL_HEIGHT}">',
            f'<g class="film" fill="{palette.foreground}">',
            *shown,
            "</g>",
            "</svg>",
            "</svg>",
            "",
        ]
    )


def _keyframes(frames: Sequence[Frame], inner: float) -> str:
    total = sum(frame.seconds for frame in frames)
    starts = accumulate((frame.seconds for frame in frames[:-1]), initial=0.0)
    steps = "".join(
        f"{100 * start / total:.3f}%{{transform:translateX(-{number * inner:g}px)}}"
        for number, start in enumerate(starts)
    )
    end = f"100%{{transform:translateX(-{(len(frames) - 1) * inner:g}px)}}"
    return f"@keyframes film{{{steps}{end}}}.film{{animation:film {total:.1f}s steps(1,end) infinite}}"
