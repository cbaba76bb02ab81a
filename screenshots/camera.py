"""The camera: runs the real `hermes chat` on a pty, presses a scene's keys, and captures the screen.

Pictures are reproducible: the home is empty, the hub cannot be reached, the environment is fixed, the script
is named without its folder, and two figures are pinned.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pexpect
import pyte

from screenshots.picture import Picture
from screenshots.scenes import CONTEXT_SIZE, Scene, Step
from tests.cli import environment
from tests.terminal.screen import PATIENCE_S, Screen, Terminal

ROOT = Path(__file__).parents[1]
SCRIPT = "answers.toml"
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
_INDEXED, _DIRECT = 5, 2
_DIM, _NORMAL = 2, {0, 22}


class DimScreen(Screen):
    """A screen that stores the dim attribute, which pyte does not.

    It is stored in pyte's blink attribute, which hermes does not use.
    """

    def select_graphic_rendition(self, *codes: int) -> None:
        """Apply style codes, including dim."""
        dim, rest = self.cursor.attrs.blink, iter(codes or (0,))
        super().select_graphic_rendition(*codes)
        for code in rest:
            if code in _EXTENDED:  # an index or three color values follow, which are not styles
                for _ in range({_INDEXED: 1, _DIRECT: 3}.get(next(rest, 0), 0)):
                    next(rest, 0)
            elif code == _DIM or code in _NORMAL:
                dim = code == _DIM
        self.cursor.attrs = self.cursor.attrs._replace(blink=dim)

    def picture(self) -> Picture:
        """Return the content of the screen."""
        rows = [[self.buffer[y][x] for x in range(self.columns)] for y in range(self.lines)]
        return Picture(rows, None if self.cursor.hidden else (self.cursor.x, self.cursor.y))


class Camera(Terminal):
    """A terminal whose screen can be captured. It runs the program of this checkout in `folder`."""

    def __init__(self, folder: Path, arguments: list[str], columns: int, rows: int) -> None:
        self._screen = self._shown = DimScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self.child: Any = pexpect.spawn(
            sys.executable,
            ["-m", "hermes_cli", *arguments],
            cwd=str(folder),
            env={**environment(folder), "PYTHONPATH": str(ROOT)},
            dimensions=(rows, columns),
            timeout=PATIENCE_S,
        )
        self.child.delaybeforesend = None
        self._screen.write_process_input = self.child.send  # type: ignore[method-assign] # as in the base class

    def press(self, step: Step) -> None:
        """Press keys, and wait for their result."""
        prompts = self._prompts + step.keys.count("\r")
        self.type(step.keys)
        self.wait_for_prompt(prompts, step.until)

    def wait_for_prompt(self, number: int = 1, words: str = "") -> None:
        """Wait until prompt `number` is stable and the words are on the screen, regardless of line breaks."""
        end, quiet_since = time.monotonic() + PATIENCE_S, time.monotonic()
        while time.monotonic() < end:
            before = len(self.raw)
            is_alive = self._read()
            is_ready = self._prompts >= number and READY in self._shown.display[-1]
            if not is_ready or len(self.raw) > before or words not in " ".join(self.text.split()):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > QUIET_S:
                return
            if not is_alive:
                break
        message = f"prompt {number} with {words!r} never came; the screen:\n{self.text}"
        raise AssertionError(message)

    @property
    def _prompts(self) -> int:
        """The number of prompts so far."""
        return self.raw.count(ASKS_FOR_THE_CURSOR)

    def picture(self) -> Picture:
        """Return the current screen."""
        return self._shown.picture().pinned(PINNED)


def take(scene: Scene, columns: int, rows: int) -> Picture:
    """Return the screen at the end of a scene. Raises AssertionError if expected output does not appear."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # JSON strings are valid TOML strings.
        turns = "".join(f"[[turns]]\ntext = {json.dumps(text)}\n" for text in scene.answers)
        script = f"context_size = {CONTEXT_SIZE}\n{turns}"
        (folder / SCRIPT).write_text(script, encoding="utf-8")
        arguments = ["chat", "-m", f"scripted:{SCRIPT}", *scene.arguments]
        with Camera(folder, arguments, columns, rows) as camera:
            camera.wait_for_prompt()
            for step in scene.steps:
                camera.press(step)
            return camera.picture()
