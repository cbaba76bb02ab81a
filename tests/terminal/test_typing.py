"""Typing and pasting at the prompt, on a terminal."""

import stat
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.run_hermes import script
from tests.terminal.screen import PROMPT, Terminal, at_the_prompt

Env = Mapping[str, str]
PASTE = "\x1b[200~{}\x1b[201~"

pytestmark = pytest.mark.slow


def editor(folder: Path, text: str) -> str:
    """Return an editor that copies its file to `given` and writes a text to it."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\ncp \"$1\" '{folder}/given'\nprintf '%s' '{text}' > \"$1\"\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_large_paste_is_folded_and_sent_in_full(home: Env, tmp_path: Path) -> None:
    """A large paste is shown as a mark, sent in full and in full in the history."""
    lines = [f"line {n}" for n in range(312)]
    with at_the_prompt(script(tmp_path, {"text": "fine"}, context_size=9999), home) as term:
        term.type("Look: " + PASTE.format("\r".join(lines)))
        term.expect(r"^> Look: \[pasted 312 lines\]$")
        term.type(" What is it?\r")
        term.expect(r"Hermes 2\nfine")
        term.type("/show prompt\r")
        text = term.expect(r"line 311 What is it\?<")
        assert "user\nLook: line 0\nline 1\n" in text
        assert text.count("line 150") == 1
        term.type("\x1b[A\x1b[A")
        term.expect(r"line 311 What is it\?$")


def test_a_paste_during_an_answer_does_not_send_itself(home: Env, tmp_path: Path) -> None:
    """The terminal marks pastes during an answer too, so the lines are in the next prompt."""
    model = script(tmp_path, {"text": "One two three four five.", "delay": 0.05}, {"text": "Next."})
    with at_the_prompt(model, home) as term:
        term.type("hello\r")
        term.expect("One two")
        assert term.marks_pastes
        term.type(PASTE.format("first\r/exit\rsecond\r"))
        assert "Next." not in term.expect(r"five\.\n\n> first\n\. /exit\n\. second\n\.")
        term.type("\x03\x04")
        assert term.leave() == 0
        assert not term.marks_pastes


def test_a_line_sent_during_an_answer_is_put_back_after_ctrl_c(home: Env, tmp_path: Path) -> None:
    """It is not sent until Enter is pressed again."""
    model = script(tmp_path, {"text": "tick ", "forever": True, "delay": 0.02}, {"text": "Next."})
    with at_the_prompt(model, home) as term:
        term.type("hello\r")
        term.expect("tick tick")
        term.type("and then?\r")
        term.type("\x03")
        term.expect(r"\(stopped; the text so far is kept\)\n> and then\?$")
        term.type(" Really?\r")
        term.expect(r"> and then\? Really\?\nHermes 2\nNext\.")


def test_a_paste_of_megabytes_is_refused(home: Env, tmp_path: Path) -> None:
    """A paste of 3 MB is refused with its length, and the line stays."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home) as term:
        term.type("before ")
        for piece in [PASTE[:6], *["x" * 10_000 + "\r"] * 300, PASTE[8:]]:
            term.type(piece)
        term.expect(r"A paste of 3,000,300 characters is too long for a line; /file PATH sends a file\.")
        term.type("after\r")
        term.expect(r"^> before after\nHermes 2\nfine")


def test_a_block_between_triple_quotes_is_one_turn(home: Env, tmp_path: Path) -> None:
    """A block between triple quotes is one turn, even if a line in it is a command."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home) as term:
        term.type('"""/bye\rtwo\r\rfour"""\r')
        term.expect(r"Hermes 2\nfine")
        term.type("/show prompt\r")
        term.expect(r"user\n/bye\ntwo\n\nfour<")


def test_alt_enter_ctrl_j_and_multiline_start_new_lines(home: Env, tmp_path: Path) -> None:
    """Alt-Enter and Ctrl-J start a new line; after `/multiline` Enter does, and Alt-Enter sends."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}, {"text": "good"}), home) as term:
        term.type("a\x1b\rb\nc\r")
        term.expect(r"^> a\n\. b\n\. c\nHermes 2\nfine\n\n>")
        term.type("/multiline\r")
        term.expect("Alt-Enter sends")
        term.type("one\rtwo")
        term.expect(r"^> one\n\. two$")
        term.type("\x1b\r")
        term.expect(r"Hermes 2\ngood")


def test_the_editor_opens_the_line_and_its_text_replaces_it(home: Env, tmp_path: Path) -> None:
    """Ctrl-X Ctrl-E opens the line in $EDITOR, and the saved text replaces it."""
    env = {**home, "EDITOR": editor(tmp_path, "from the editor")}
    with at_the_prompt(script(tmp_path, {"text": "fine"}), env) as term:
        term.type("a draft\x18\x05")
        term.expect(r"^> from the editor$")
        assert (tmp_path / "given").read_text() == "a draft"
        term.type("\r")
        term.expect(r"Hermes 2\nfine")


def test_edit_opens_the_last_turn_in_the_editor(home: Env, tmp_path: Path) -> None:
    """`/edit` opens the last turn in $EDITOR, and the saved text is the new turn."""
    env = {**home, "EDITOR": editor(tmp_path, "better words")}
    with at_the_prompt(script(tmp_path, {"text": "One."}, {"text": "Two."}), env) as term:
        term.type("some words\r")
        term.expect(r"One\.\n\n>")
        term.type("/edit\r")
        term.expect(r"^> better words$")
        assert (tmp_path / "given").read_text() == "some words"
        term.type("\r")
        term.expect(r"Two\.\n\n>")
        term.type("/show prompt\r")
        term.expect("user\nbetter words<")


def test_the_arguments_of_file_and_resume_are_completed(home: Env, tmp_path: Path) -> None:
    """The arguments of `/file` and `/resume` are completed."""
    (tmp_path / "a long name.txt").write_text("What the file says.")
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home) as term:
        term.type(f"/file {tmp_path}/a l")
        term.expect(r"^ +a long name\.txt")  # the menu
        term.type("\t\r")
        term.expect(r"is\s+sent\s+with\s+your\s+next\s+message")
        term.expect("1 file attached")
        term.type("Read it\r")
        term.expect(r"Hermes 2\nfine\n\n>")
        term.type("/show prompt\r")
        term.expect(r"a long name\.txt:\s+What the file says\.\n\nRead it<")
        term.type("/resume ")
        term.expect(r"^ +1 +Read it")  # the menu, with the title
        term.type("\t")
        term.expect(r"^> /resume 1")


def test_windows_share_the_history_without_lines_after_a_space(home: Env, tmp_path: Path) -> None:
    """Windows share the history by arrow, search and suggestion; it has no line after a space."""
    model = script(tmp_path, *[{"text": "ok"}] * 4)
    with Terminal(["chat", "-m", model], home) as one, Terminal(["chat", "-m", model], home) as two:
        one.expect(PROMPT)
        two.expect(PROMPT)
        one.type("first window\r")
        one.expect(r"Hermes 2\nok\n\n>")
        one.type(" secret word\r")
        one.expect(r"secret word\nHermes 2\nok\n\n>")
        two.type("x\r")
        two.expect(r"Hermes 2\nok\n\n>")
        two.type("\x1b[A\x1b[A")
        two.expect(r"^> first window$")
        two.type("\x03\x12win")
        two.expect(r"\(reverse-i-search\)`win'")
        two.type("\x03")
        two.expect(r"^> *$")
        two.type("\x03")
        two.expect(r"to leave\.\n>$")
        two.type("firs")
        two.expect(r"to leave\.\n> first window$")  # the gray suggestion
        two.type("\x1b[C\r")
        two.expect(r"^> first window\nHermes 2\nok")
    assert "secret" not in (Path(home["OPENHERMES_HOME"]) / "state" / "history").read_text()


def test_vi_keys_are_enabled_by_the_config(home: Env, tmp_path: Path) -> None:
    """`keys = "vi"` in the config enables vi keys."""
    config = Path(home["OPENHERMES_HOME"]) / "config"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('keys = "vi"\n')
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home) as term:
        term.type("wrong word\x1b")
        time.sleep(0.7)  # Escape waits for a key that may follow
        term.type("bcwright\r")
        term.expect(r"^> wrong right\nHermes 2\nfine")


KEY_SEQUENCES = [
    *("\x00", "\x07", "\x0c", "\x0f", "\x14", "\x1b", "\x1c", "\x1d", "\x1f"),
    *("\x1b[99~", "\x1b[1;1R", "\x1b[200~\x00\x04\x03\x1b[201~", "\udc80", "é日👩\u200d👧"),
]


@pytest.mark.parametrize("keys", KEY_SEQUENCES)
def test_no_key_sequence_ends_the_chat(home: Env, tmp_path: Path, keys: str) -> None:
    """No control key, sequence or paste ends the chat."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}, {"text": "fine"}), home) as term:
        term.child.send(keys.encode("utf-8", "surrogateescape"))
        time.sleep(0.1)
        term.type("\x03")
        term.type("Go\r")
        assert "Traceback" not in term.expect(r"> Go\nHermes 2\nfine")


def test_the_edited_line_cannot_control_the_terminal(home: Env, tmp_path: Path) -> None:
    """Control and direction characters in the line are not written to the terminal."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home) as term:
        term.child.send(PASTE.format("a\x9b31mb\u202ec\u200fd").encode())
        term.expect(r"^> a.31mb.c.d$")
        assert not any(bad in term.raw.decode("utf-8", "replace") for bad in ("\x9b", "\u202e", "\u200f"))
        term.type("\r")
        term.expect(r"Hermes 2\nfine")
        term.type("/export json /dev/null\r/show prompt\r")
        term.expect("empty user turn")
