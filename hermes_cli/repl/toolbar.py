"""The toolbar under the prompt: one line with the model, the persona, the context and the speed."""

from typing import NamedTuple

from hermes_cli.screen.cells import cell_count, cut
from hermes_cli.screen.waiting import FRAMES

NARROW = 40
"""Width of the terminal in cells below which there is no toolbar."""
WARM, HOT = 0.8, 0.95
"""Used shares of the context window at which the token count changes color."""
BETWEEN = " · "
ABOUT = "≈"
"""Precedes an estimated number of tokens."""

Part = tuple[str, str]
"""A style name and the text to show in it."""


class Facts(NamedTuple):
    """The contents of the toolbar.

    `loading` describes the model being loaded, and `failed` the error if loading failed. `used` and `size`
    are the tokens in the prompt and in the context window; `used` and `speed` are None if unknown. If `used`
    `is_estimated`, a sign says so.
    """

    model: str
    persona: str
    loading: str = ""
    failed: str = ""
    used: int | None = None
    size: int = 0
    is_estimated: bool = False
    speed: float | None = None
    remarks: tuple[str, ...] = ()


def toolbar(facts: Facts, width: int, tick: int = 0) -> list[Part]:
    """Return the parts that fit in the line, or no parts if the terminal is narrow."""
    if width < NARROW:
        return []
    parts: list[Part] = []
    if facts.failed:
        parts.append(("class:toolbar.hot", facts.failed))
    elif facts.loading:
        parts.append(("class:toolbar.busy", f"{FRAMES[tick % len(FRAMES)]} loading {facts.loading}"))
    else:
        parts.append(("class:toolbar", facts.model))
    parts.append(("class:toolbar", facts.persona))
    parts += [("class:toolbar", remark) for remark in facts.remarks]
    if facts.used is not None and facts.size:
        share = facts.used / facts.size
        about = ABOUT if facts.is_estimated else ""
        style = "hot" if share >= HOT else "warm" if share >= WARM else ""
        parts.append(
            (f"class:toolbar.{style}".rstrip("."), f"{about}{facts.used:,} of {facts.size:,} tokens")
        )
    if facts.speed is not None:
        parts.append(("class:toolbar", f"{facts.speed:.0f} tok/s"))
    return _fitted(parts, width)


def _fitted(parts: list[Part], width: int) -> list[Part]:
    line: list[Part] = []
    used = 0
    for style, text in parts:
        between = BETWEEN if line else ""
        if used + cell_count(between + text) >= width:
            if not line:
                line.append((style, cut(text, width - 1)))
            break
        line += [("class:toolbar", between), (style, text)] if between else [(style, text)]
        used += cell_count(between + text)
    return line
