"""The reasoning of a model on a terminal: folded to a status line, or dimmed above the answer."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.run_hermes import script
from tests.terminal.screen import PROMPT, Terminal

pytestmark = pytest.mark.slow
REASONING = "Two and three make five, unless I am mistaken, and I am not."
FIRST = {"text": f"<think>{REASONING}</think>\n\n**Five**.", "delay": 0.02}
SECOND = {"text": "<think>Six\x1b[31m \u202e!</think>Six.", "delay": 0.002}


def test_reasoning_is_folded_and_can_be_opened(home: Mapping[str, str], tmp_path: Path) -> None:
    """The status line has the time and the last words; later, the reasoning is above the answer."""
    model = script(tmp_path, FIRST, SECOND)
    with Terminal(["chat", "-m", model], home) as term:
        term.expect(PROMPT)
        term.type("2 + 3?\r")
        term.expect(r". thinking · [0-9] s · Two and three")
        term.expect(r"^\(thought for [0-9] s; /thinking shows it\)\nHermes 2\nFive\.\n\n>")
        term.type("/thinking show\r")
        term.expect(r"^The reasoning of the model is shown\.\nTwo and three make five")
        term.type("3 + 3?\r")
        term.expect(r"^Six␛\[31m .*!\n\nHermes 2\nSix\.\n")
        assert b"\x1b[31m " not in term.raw
        term.type("\x04")
        assert term.leave() == 0


def test_ctrl_c_stops_reasoning(home: Mapping[str, str], tmp_path: Path) -> None:
    """There is no answer; the message is at the prompt again, and what was reasoned can be shown."""
    model = script(tmp_path, {"text": "<think>on and on ", "delay": 0.01, "forever": True})
    with Terminal(["chat", "-m", model], home) as term:
        term.expect(PROMPT)
        term.type("2 + 3?\r")
        term.expect("thinking · ")
        term.type("\x03")
        term.expect(r"^\(stopped; the conversation is unchanged\)\n> 2 \+ 3\?")
        term.type("\x15/thinking\r")
        term.expect(r"^on and on")
        term.type("\x04")
        assert term.leave() == 0
