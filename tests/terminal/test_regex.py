"""Regex scripts for the display, on a terminal."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.run_hermes import script
from tests.terminal.screen import PROMPT, Terminal

pytestmark = pytest.mark.slow
ADA = r"""
name = "Ada"
character = "A mathematician."
greeting = "Hello four."
[[regex]]
name = "Hide"
find = '/<think>[\s\S]*?<\/think>\s*/g'
display = true
[[regex]]
name = "Four"
find = '/four/g'
replace = "<b>4</b>\u001b[31m"
targets = ["answer", "user"]
display = true
[[regex]]
name = "Late"
find = '/Alpha(?![\s\S]*Omega)/'
replace = "ALPHA"
display = true
"""
FIRST = "It is four, and I am quite sure about it.\n\n<think>Is\n\nit?</think>\n\nSo much for that."
SECOND = "Alpha is a letter that every child knows, and so are the others: Omega is the last of them."


def test_what_a_terminal_displays(home: Mapping[str, str], tmp_path: Path) -> None:
    """Hidden text never appears, HTML and control sequences are text, and a late change is printed again."""
    (tmp_path / "ada.toml").write_text(ADA)
    model = script(tmp_path, *({"text": text, "delay": 0.001} for text in (FIRST, SECOND)))
    with Terminal(["chat", "-p", str(tmp_path / "ada.toml"), "-m", model], home) as term:
        term.expect(r"^Hello <b>4</b>␛\[31m\.\n")
        term.expect(PROMPT)
        term.type("Is it four?\r")
        term.expect(r"^It is <b>4</b>␛\[31m, and I am quite sure about it\.\n\nSo much for that\.\n\n>")
        assert b"think" not in term.raw
        term.type("Go\r")
        term.expect(
            r"^ALPHA is a letter.*\n(?:.*\n)*\(a regex script changed the text above.*\)\nAda\nAlpha is a"
        )
        term.type("\x04")
        assert term.leave() == 0
