"""Tests of the recorded session: its files, and how frames and the animation are made."""

import json
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pyte
import pytest
from pyte.screens import Char

from screenshots.__main__ import FOLDER
from screenshots.camera import Picture
from screenshots.film import Frame, film
from screenshots.recording import COLUMNS, FRAME_S, LINES, ROWS, Recording
from screenshots.svg import DARK
from tests.terminal.screen import Screen

SVG = "{http://www.w3.org/2000/svg}"


def picture(*lines: str) -> Picture:
    """Return a picture of plain cells."""
    return Picture([[Char(character) for character in line] for line in lines])


def test_the_cast_is_an_asciicast_with_every_typed_line() -> None:
    """Its times increase, and the answers are those of a real run."""
    header, *events = (FOLDER / "session.cast").read_text(encoding="utf-8").splitlines()
    assert json.loads(header)["version"] == 2
    times = [json.loads(event)[0] for event in events]
    assert all(earlier <= later for earlier, later in pairwise(times))
    screen: Any = Screen(COLUMNS, ROWS, history=5000)
    pyte.Stream(screen).feed("".join(json.loads(event)[2] for event in events))
    above = ["".join(line[x].data for x in range(COLUMNS)).rstrip() for line in screen.history.top]
    shown = [*above, *(line.rstrip() for line in screen.display)]
    assert shown[0].startswith("hermes ")
    assert "starter" in shown[0]
    assert {f"> {line}" for line, _ in LINES} <= {*shown}


@pytest.mark.parametrize("color", ["dark", "light"])
def test_the_animation_shows_the_last_answer(color: str) -> None:
    """The rows of the animation contain the texts of the session."""
    root = ET.fromstring((FOLDER / f"session-{color}.svg").read_text(encoding="utf-8"))  # noqa: S314 - our own
    texts = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert "How dare you even think of me being shorter?" in texts
    assert "The capital of France is Paris." in texts


def test_frames_are_the_different_screens() -> None:
    """Screens that follow within FRAME_S seconds become one frame, and the times add up."""
    events = [(0.0, b"a"), (FRAME_S / 3, b"b"), (1.0, b""), (2.0, b"c")]
    frames = list(Recording(5, 1, events, 0.0).frames())
    texts = ["".join(cell.data for cell in frame.picture.rows[0]).strip() for frame in frames]
    assert texts == ["ab", "abc"]
    assert frames[0].seconds == pytest.approx(2.0 - FRAME_S / 3)


def test_a_repeated_row_is_drawn_once() -> None:
    """A film of two frames that share a row has three drawn rows, four uses, and a step for each frame."""
    frames = [Frame(picture("one", "two"), 1.0), Frame(picture("one", "six"), 3.0)]
    drawn = film(frames, DARK, "title")
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    assert [len(list(root.iter(f"{SVG}{tag}"))) for tag in ("text", "use")] == [3, 4]
    assert "25.000%{transform:translateX(-25.2px)}" in drawn
    assert "animation:film 4.0s" in drawn
