"""The camera: runs the real `hermes chat` on a pty, presses a scene's keys, and captures the screen.

Pictures are reproducible: the home is empty, the hub cannot be reached, the environment is fixed, the script
is named without its folder, and two figures are pinned.
"""

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyte.screens import Char

from screenshots.scenes import CONTEXT_SIZE, Scene
from tests.run_hermes import environment, script
from tests.terminal.screen import PATIENCE_S, Screen, Terminal

SCRIPT = "answers.toml"
ROOT = Path(__file__).parents[1]
QUIET_S = 0.25
"""Seconds without output before a capture: prompt_toolkit paints again when it gets the cursor position."""
READY = f"of {CONTEXT_SIZE:,} tokens"
"""Text of the toolbar, which is the last row, while a prompt waits and its model is loaded."""
ASKS_FOR_THE_CURSOR = b"\x1b[6n"
"""prompt_toolkit writes this once per prompt, which distinguishes a new prompt from the old one."""
PINNED = {
    # The version, which a release would change on every picture.
    r"(?<=hermes )\d+\.\d+\.\d+\S*": "x.y.z",
    # The speed of a script is not that of a model, and differs each time.
    r"\b[\d,]+ tok/s": "42 tok/s",
}
_EXTENDED = {38, 48}
_ARGUMENTS = {5: 1, 2: 3}
"""After an extended color, by its kind: the number of values that follow."""
_DIM, _NORMAL = 2, {0, 22}

Row = Sequence[Char]
"""pyte's cells, but with dim in the attribute blink. The second cell of a wide character is empty."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows of cells, all of one length. `cursor` is a column and a row, or None if it is hidden."""

    rows: Sequence[Row]
    cursor: tuple[int, int] | None = None

    def text(self) -> str:
        """Return only the characters: one line per row, without trailing blanks."""
        return "".join(f"{''.join(cell.data for cell in row).rstrip()}\n" for row in self.rows)

    def pinned(self, figures: Mapping[str, str]) -> "Picture":
        """Return the picture with each match of a pattern in a row replaced; the row keeps its length."""
        return replace(self, rows=[_pinned(row, figures) for row in self.rows])


def _pinned(row: Row, figures: Mapping[str, str]) -> list[Char]:
    cells = list(row)
    for pattern, text in figures.items():
        characters = "".join(cell.data[:1] or "\0" for cell in cells)  # one per cell, so that indices agree
        for found in reversed([*re.finditer(pattern, characters)]):
            style = cells[found.start()]
            cells[found.start() : found.end()] = [style._replace(data=character) for character in text]
    return (cells + [Char(" ")] * len(row))[: len(row)]


class DimScreen(Screen):
    """A screen that stores the dim attribute, which pyte does not, in the attribute blink."""

    def select_graphic_rendition(self, *codes: int) -> None:
        dim, rest = self.cursor.attrs.blink, iter(codes or (0,))
        super().select_graphic_rendition(*codes)
        for code in rest:
            if code in _EXTENDED:
                for _ in range(_ARGUMENTS.get(next(rest, 0), 0)):
                    next(rest, 0)
            elif code == _DIM or code in _NORMAL:
                dim = code == _DIM
        self.cursor.attrs = self.cursor.attrs._replace(blink=dim)

    def picture(self) -> Picture:
        rows = [[self.buffer[y][x] for x in range(self.columns)] for y in range(self.lines)]
        return Picture(rows, None if self.cursor.hidden else (self.cursor.x, self.cursor.y))


class Camera(Terminal):
    screen_class = DimScreen

    def picture(self) -> Picture:
        picture: Picture = self._screen.picture()
        return picture

    def press(self, keys: str, words: str = "") -> None:
        """Press keys, and wait for the words and, after each Enter, for a new prompt."""
        prompts = self.raw.count(ASKS_FOR_THE_CURSOR) + keys.count("\r")
        self.type(keys)
        self.wait_for_prompt(prompts, words)

    def wait_for_prompt(self, number: int = 1, words: str = "") -> None:
        """Wait until prompt `number` is stable and the words are on the screen, regardless of line breaks."""
        end, quiet_since = time.monotonic() + PATIENCE_S, time.monotonic()
        while time.monotonic() < end:
            before = len(self.raw)
            is_alive = self._read()
            is_ready = self.raw.count(ASKS_FOR_THE_CURSOR) >= number and READY in self._screen.display[-1]
            if not is_ready or len(self.raw) > before or words not in " ".join(self.text.split()):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > QUIET_S:
                return
            if not is_alive:
                break
        message = f"prompt {number} with {words!r} never came; the screen:\n{self.text}"
        raise AssertionError(message)


def take(scene: Scene, columns: int, rows: int) -> Picture:
    """Return the screen at the end of a scene. Raises AssertionError if expected output does not appear."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script(folder, *({"text": text} for text in scene.answers), context_size=CONTEXT_SIZE)
        (folder / "script.toml").rename(folder / SCRIPT)
        arguments = ["chat", "-m", f"scripted:{SCRIPT}", *scene.arguments]
        env = {**environment(folder), "PYTHONPATH": str(ROOT)}
        with Camera(arguments, env, columns, rows, folder) as camera:
            camera.wait_for_prompt()
            for step in scene.steps:
                camera.press(*step)
            return camera.picture().pinned(PINNED)
