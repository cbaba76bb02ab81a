"""Record a session with the starter model: `python -m screenshots.recording`.

Writes docs/screens/session.cast (asciicast, for terminal players), an animated SVG of it, and an SVG of one
screen, each SVG in a dark and a light palette. The answers are the starter's own; it is downloaded first.
"""

import codecs
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyte

from screenshots.__main__ import FOLDER
from screenshots.camera import ROOT, DimScreen, Picture
from screenshots.film import Frame, film
from screenshots.svg import DARK, LIGHT, svg
from tests.run_hermes import environment
from tests.terminal.screen import Terminal

COLUMNS, ROWS = 80, 24
TITLE: Final = "A session: a character greets and answers, the parts of the prompt, and two questions"
STILL_TITLE: Final = "Edward Elric greets and answers; /context shows the parts of the prompt"
ARGUMENTS: Final = ("chat", "-p", "edward-elric", "--seed", "1")
LINES: Final = (
    ("Are you short?", 3.0),
    ("/context", 3.0),
    ("/set temperature 0", 0.5),
    ("/persona hermes-2", 1.0),
    ("What is the capital of France?", 2.0),
    ("Give three tips for a good night's sleep.", 4.0),
)
"""The typed lines, and the seconds to read the result."""
STILL_AFTER: Final = 2
"""The number of lines before the screen that becomes the still picture."""
KEY_S, QUIET_S, LONGEST_PAUSE_S, FRAME_S = 0.06, 0.5, 3.0, 0.15
READY: Final = "of 8,192 tokens"


@dataclass(frozen=True, slots=True)
class Recording:
    """The output of a session: pairs of seconds and bytes. `still_s` is the time of the still picture."""

    columns: int
    rows: int
    events: Sequence[tuple[float, bytes]]
    still_s: float

    def cast(self) -> str:
        """Return the session in the asciicast format, version 2."""
        header = {"version": 2, "width": self.columns, "height": self.rows, "title": TITLE}
        decoder = codecs.getincrementaldecoder("utf-8")()
        lines = [json.dumps(header)]
        lines += [json.dumps([round(at, 3), "o", decoder.decode(data)]) for at, data in self.events]
        return "\n".join([*lines, ""])

    def still(self) -> Picture:
        """Return the still picture."""
        screen: Any = DimScreen(self.columns, self.rows, history=5000)
        pyte.ByteStream(screen).feed(b"".join(data for at, data in self.events if at <= self.still_s))
        picture: Picture = screen.picture()
        return picture

    def frames(self) -> Iterator[Frame]:
        """Yield the different screens, at most one in FRAME_S seconds, with the time that each is shown."""
        screen: Any = DimScreen(self.columns, self.rows, history=5000)
        stream = pyte.ByteStream(screen)
        shown: Picture | None = None
        since = 0.0
        for number, (at, data) in enumerate(self.events):
            stream.feed(data)
            following = self.events[number + 1][0] if number + 1 < len(self.events) else at + LONGEST_PAUSE_S
            picture = screen.picture()
            is_due = following - since >= FRAME_S
            if not is_due or picture == shown:
                continue
            if shown is not None:
                yield Frame(shown, at - since)
            shown, since = picture, at
        if shown is not None:
            yield Frame(shown, LONGEST_PAUSE_S)


class Recorder(Terminal):
    """A terminal that notes when hermes wrote what. Pauses longer than LONGEST_PAUSE_S are shortened."""

    screen_class = DimScreen

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.events: list[tuple[float, bytes]] = []
        self._time, self._read_at = 0.0, time.monotonic()

    def _read(self) -> bool:
        before = len(self.raw)
        is_alive = super()._read()
        if len(self.raw) > before:
            now = time.monotonic()
            self._time += min(now - self._read_at, LONGEST_PAUSE_S)
            self._read_at = now
            self.events.append((self._time, self.raw[before:]))
        return is_alive

    def wait(self, seconds: float) -> None:
        """Read for some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._read():
            pass

    def wait_for_prompt(self, seconds: float = 120) -> None:
        """Wait until the prompt is empty and nothing is written for half a second."""
        end = time.monotonic() + seconds
        quiet_since = time.monotonic()
        while time.monotonic() < end:
            before = len(self.raw)
            if not self._read():
                raise AssertionError(f"hermes ended:\n{self.text}")
            is_ready = READY in self._screen.display[-1] and self.text.split("\n")[-2:][0].strip() in {
                ">",
                "",
            }
            if len(self.raw) > before or not is_ready:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > QUIET_S:
                return
        raise AssertionError(f"no prompt appeared:\n{self.text}")


def record(env: Mapping[str, str]) -> Recording:
    with Recorder(list(ARGUMENTS), env, COLUMNS, ROWS) as terminal:
        terminal.wait_for_prompt()
        still_s = 0.0
        for number, (line, seconds) in enumerate(LINES, 1):
            for key in line:
                terminal.type(key)
                terminal.wait(KEY_S)
            terminal.type("\r")
            terminal.wait(1.0)
            terminal.wait_for_prompt()
            terminal.wait(seconds)
            still_s = terminal.events[-1][0] if number == STILL_AFTER else still_s
        return Recording(COLUMNS, ROWS, terminal.events, still_s)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        env = {**environment(Path(name)), "PYTHONPATH": str(ROOT)}
        if home := os.environ.get("OPENHERMES_HOME"):  # one that has the starter already
            env["OPENHERMES_HOME"] = home
        recording = record(env)
    frames = list(recording.frames())
    (FOLDER / "session.cast").write_text(recording.cast(), encoding="utf-8")
    for palette in (DARK, LIGHT):
        (FOLDER / f"session-{palette.name}.svg").write_text(film(frames, palette, TITLE), encoding="utf-8")
        still = svg(recording.still(), palette, STILL_TITLE)
        (FOLDER / f"session-still-{palette.name}.svg").write_text(still, encoding="utf-8")
    print(f"{len(recording.events)} events, {len(frames)} frames")


if __name__ == "__main__":
    main()
