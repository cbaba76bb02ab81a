"""The keyboard and the screen of `hermes chat` as a person meets them, on a real terminal."""

import base64
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.repl import table
from tests.cli import script
from tests.terminal.screen import PATIENCE_S, Terminal

Env = Mapping[str, str]
PROMPT = r"^> $|^>$"
SLOWLY = {"text": "tick ", "forever": True, "delay": 0.02}
PASTE = "\x1b[200~{}\x1b[201~"

pytestmark = pytest.mark.slow


def editor(folder: Path, text: str) -> str:
    """Return an editor that writes a text, and beside it what it was given."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\ncp \"$1\" '{folder}/given'\nprintf '%s' '{text}' > \"$1\"\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_first_key_is_taken_while_the_model_loads(home: Env, tmp_path: Path) -> None:
    """A person would wait for the model before the first word could be typed."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"}, load=3.0)], home) as term:
        term.expect(PROMPT)
        term.expect(r"^\S loading scripted · /")  # the plan, as far as there is room
        term.type("Hello")
        term.expect(r"^> Hello$")
        assert "loading scripted" in term.text
        term.type(" there\r")
        term.expect(r"^. loading scripted · \d s · Ctrl-C takes the message back$")
        assert "loading" not in term.expect(r"^> Hello there\nHermes 2\nfine\n\n>")
        term.expect(r"^scripted · Hermes 2 · \d+ of 4,096 tokens$")


def test_a_message_that_was_sent_early_can_be_taken_back(home: Env, tmp_path: Path) -> None:
    """It would be lost, or sent all the same."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"}, load=3.0)], home) as term:
        term.expect(PROMPT)
        term.type("Hello\r")
        term.expect("Ctrl-C takes the message back")
        term.type("\x03")
        term.expect(r"nothing was said, so all is as it was before\)\n> Hello$")
        term.type(" again\r")
        term.expect(r"Hermes 2\nfine")
        term.type("/show prompt\r")
        assert "Hello<" not in term.expect("user\nHello again<")


def test_a_model_that_cannot_be_loaded_is_said_and_the_line_stays(home: Env, tmp_path: Path) -> None:
    """What was being typed would be lost with the program."""
    with Terminal(["chat", "-m", script(tmp_path, load=1.0, broken="out-of-memory")], home) as term:
        term.expect(PROMPT)
        term.type("half a li")
        term.expect(r"the script says: out-of-memory")
        term.expect(r"^> half a li$")
        term.expect("no model; /model NAME loads one")
        term.type("ne\r")
        term.expect(r"> half a line\nthe script says: out-of-memory\n> half a line$")
        (tmp_path / "other").mkdir()
        other = script(tmp_path / "other", {"text": "fine"})
        term.type(f"\x03/model {other}\r")
        term.expect("Now with scripted")
        term.type("Go\r")
        term.expect(r"Hermes 2\nfine")
        term.type("\x04")
        assert term.leave() == 0


def test_leaving_without_a_model_says_why_in_the_exit_code(home: Env, tmp_path: Path) -> None:
    """A script around it would take it for a chat that went well."""
    with Terminal(["chat", "-m", script(tmp_path, broken="out-of-memory")], home) as term:
        term.expect("the script says")
        term.type("\x04")
        assert term.leave() == 75


def test_ctrl_c_before_the_first_word_gives_the_message_back(home: Env, tmp_path: Path) -> None:
    """A long prompt that was sent too early would have to be typed again."""
    model = script(tmp_path, {"text": "late", "prefill": 60}, {"text": "fine"})
    with Terminal(["chat", "-m", model], home) as term:
        term.expect(PROMPT)
        term.type("Tell me\r")
        term.expect(r"^. waiting for the first word · \d s · Ctrl-C stops it$")
        term.type("\x03")
        text = term.expect(r"\(stopped; nothing was said.*\)\n> Tell me$")
        assert "waiting for" not in text
        term.type("\r")
        term.expect(r"Hermes 2\nfine")


def test_a_large_paste_is_folded_and_sent_whole(home: Env, tmp_path: Path) -> None:
    """It would fill the screen, or lose its end."""
    lines = [f"line {n}" for n in range(312)]
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"}, context_size=9999)], home) as term:
        term.expect(PROMPT)
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


def test_a_paste_of_megabytes_is_refused_at_once(home: Env, tmp_path: Path) -> None:
    """The prompt would be dead for a minute."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
        term.expect(PROMPT)
        term.type("before ")
        for piece in [PASTE[:6], *["x" * 10_000 + "\r"] * 300, PASTE[8:]]:
            term.type(piece)
        term.expect(r"A paste of 3,000,300 characters is too long for a line; /file PATH sends a file\.")
        term.type("after\r")
        term.expect(r"^> before after\nHermes 2\nfine")


def test_a_block_between_triple_quotes_is_one_turn(home: Env, tmp_path: Path) -> None:
    """Whoever comes from another program would send half of a text, or leave with /bye in it."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
        term.expect(PROMPT)
        term.type('"""/bye\rtwo\r\rfour"""\r')
        term.expect(r"Hermes 2\nfine")
        term.type("/show prompt\r")
        term.expect(r"user\n/bye\ntwo\n\nfour<")


def test_new_lines_by_keys_and_by_command(home: Env, tmp_path: Path) -> None:
    """A message of several lines could not be typed."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"}, {"text": "good"})], home) as term:
        term.expect(PROMPT)
        term.type("a\x1b\rb\nc\r")
        term.expect(r"^> a\n\. b\n\. c\nHermes 2\nfine\n\n>")
        term.type("/multiline\r")
        term.expect("Alt-Enter sends")
        term.type("one\rtwo")
        term.expect(r"^> one\n\. two$")
        term.type("\x1b\r")
        term.expect(r"Hermes 2\ngood")


def test_the_editor_opens_with_the_line_and_gives_it_back(home: Env, tmp_path: Path) -> None:
    """Ctrl-X Ctrl-E would do nothing, or lose the line."""
    env = {**home, "EDITOR": editor(tmp_path, "from the editor")}
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], env) as term:
        term.expect(PROMPT)
        term.type("a draft\x18\x05")
        term.expect(r"^> from the editor$")
        assert (tmp_path / "given").read_text() == "a draft"
        term.type("\r")
        term.expect(r"Hermes 2\nfine")


def test_edit_opens_an_earlier_turn_in_the_editor(home: Env, tmp_path: Path) -> None:
    """A long message could only be mended in one line."""
    env = {**home, "EDITOR": editor(tmp_path, "better words")}
    with Terminal(["chat", "-m", script(tmp_path, {"text": "One."}, {"text": "Two."})], env) as term:
        term.expect(PROMPT)
        term.type("some words\r")
        term.expect(r"One\.\n\n>")
        term.type("/edit\r")
        term.expect(r"^> better words$")
        assert (tmp_path / "given").read_text() == "some words"
        term.type("\r")
        term.expect(r"Two\.\n\n>")
        term.type("/show prompt\r")
        term.expect("user\nbetter words<")


def test_files_sessions_and_models_complete(home: Env, tmp_path: Path) -> None:
    """Paths and numbers would have to be known by heart."""
    (tmp_path / "a long name.txt").write_text("What the file says.")
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
        term.expect(PROMPT)
        term.type(f"/file {tmp_path}/a l")
        term.expect(r"^ +a long name\.txt")  # the menu
        term.type("\t\r")
        term.expect(r"goes\s+with\s+your\s+next\s+message")
        term.expect("1 file attached")
        term.type("Read it\r")
        term.expect(r"Hermes 2\nfine\n\n>")
        term.type("/show prompt\r")
        term.expect(r"a long name\.txt:\s+What the file says\.\n\nRead it<")
        term.type("/resume ")
        term.expect(r"^ +1 +\S*a long name|^ +1 +/")  # the menu
        term.type("\t")
        term.expect(r"^> /resume 1")


def test_history_is_shared_by_windows_and_keeps_no_secret(home: Env, tmp_path: Path) -> None:
    """A line would be found in one window only; a password would come back with the arrow key."""
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
        two.expect(r"leaves\.\n>$")
        two.type("firs")
        two.expect(r"leaves\.\n> first window$")  # the grey suggestion
        two.type("\x1b[C\r")
        two.expect(r"^> first window\nHermes 2\nok")
    assert "secret" not in (Path(home["OPENHERMES_HOME"]) / "state" / "history").read_text()


def test_vi_keys_by_config(home: Env, tmp_path: Path) -> None:
    """Whoever types vi all day could not."""
    config = Path(home["OPENHERMES_HOME"]) / "config"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('keys = "vi"\n')
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
        term.expect(PROMPT)
        term.type("wrong word\x1b")
        time.sleep(0.7)  # Escape waits for what may follow it
        term.type("bcwright\r")
        term.expect(r"^> wrong right\nHermes 2\nfine")


def test_markdown_is_shown_and_plain_text_on_wish(home: Env, tmp_path: Path) -> None:
    """Answers would be full of marks, or nobody could see the marks."""
    text = "# Title\n\nThis is **bold** and *soft* `code`.\n\n```python\ndef f(): pass\n```\n"
    with Terminal(["chat", "-m", script(tmp_path, {"text": text}, {"text": text})], home) as term:
        term.expect(PROMPT)
        term.type("Go\r")
        term.expect(
            r"^Hermes 2\nTitle\n\nThis is bold and soft code\.\n\n```python\ndef f\(\): pass\n```\n\n>"
        )
        assert term.cell("bold").bold
        assert term.cell("soft").italics
        assert term.cell("code.").fg == "cyan"
        assert term.cell("def").fg == "blue"
        term.type("/plain\r")
        term.expect(r"as they are written.*\n>")
        term.type("Go\r")
        term.expect(r"^# Title\n\nThis is \*\*bold\*\* and")


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(home: Env, tmp_path: Path, variable: str, value: str) -> None:
    """A colour-blind person, or a terminal that is a teletype, would get colours."""
    with Terminal(
        ["chat", "-m", script(tmp_path, {"text": "**bold** `code`"})], {**home, variable: value}
    ) as term:
        term.expect(PROMPT)
        term.type("Go\r")
        term.expect("bold.*code")
        term.type("/nonsense\r")
        term.expect("there is no command")
        term.type("\x04")
        assert term.leave() == 0
    assert not re.search(rb"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7])m", term.raw)
    if variable == "TERM":
        assert b"\x1b[" not in term.raw.replace(b"\x1b[?25h\x1b[?2004l", b"")


def test_the_toolbar_is_gone_where_there_is_no_room(home: Env, tmp_path: Path) -> None:
    """On a narrow terminal it would be broken over several lines."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home, columns=30) as term:
        term.expect(PROMPT)
        term.type("Go\r")
        assert "tokens" not in term.expect(r"Hermes 2\nfine\n\n>")


def test_a_resize_in_mid_answer_doubles_nothing(home: Env, tmp_path: Path) -> None:
    """Half of the answer would stand there twice."""
    words = [f"word{n:03}" for n in range(120)]
    env = {**home, "XTERM_VERSION": "XTerm(390)"}  # pyte breaks no row anew but cuts it, as xterm does
    answer = {"text": " ".join(words), "delay": 0.004}
    with Terminal(["chat", "-m", script(tmp_path, answer)], env, columns=100) as term:
        term.expect(PROMPT)
        term.type("Go\r")
        for columns, seen in ((60, 20), (120, 45), (40, 70)):
            term.expect(words[seen])
            term.resize(columns, 30)
        text = term.expect(rf"{words[-1]}\n\n>")
        assert all(text.count(word) <= 1 for word in words)
        assert all(word in text for word in words[75:])


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux, which breaks rows anew")
def test_a_resize_in_mid_answer_loses_nothing(home: Env, tmp_path: Path) -> None:
    """In a terminal that breaks its rows anew the tail would be erased in the wrong place."""
    words = [f"word{n:03}" for n in range(200)]
    model = script(tmp_path, {"text": " ".join(words) + "\n\nThe end.", "delay": 0.004})
    socket = str(tmp_path / "tmux")

    def tmux(*arguments: str) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", socket, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, **home}
        ).stdout

    def wait_for(word: str) -> str:
        end = time.monotonic() + PATIENCE_S
        while word not in (text := tmux("capture-pane", "-p", "-S", "-", "-t", "chat")):
            assert time.monotonic() < end, text
        return text

    chat = f"{sys.executable} -m hermes_cli chat -m {model}"
    tmux("new-session", "-d", "-s", "chat", "-x", "100", "-y", "30", chat)
    try:
        wait_for("tokens")
        tmux("send-keys", "-t", "chat", "Go", "Enter")
        for columns, seen in ((60, 20), (120, 60), (40, 100), (90, 150)):
            wait_for(words[seen])
            tmux("resize-window", "-t", "chat", "-x", str(columns), "-y", "30")
        text = "".join(wait_for("The end.").split())
    finally:
        tmux("kill-server")
    assert {word: text.count(word) for word in words} == dict.fromkeys(words, 1)


def test_copy_writes_to_the_clipboard_and_says_what_it_knows(home: Env, tmp_path: Path) -> None:
    """An answer could not be taken along, or a person would believe that it was."""
    text = "Here:\n\n```sh\nls -l\n```\n"
    env = {**home, "TMUX": "/tmp/x,1,0"}  # noqa: S108 - no file: the sign of tmux
    with Terminal(["chat", "-m", script(tmp_path, {"text": text})], env) as term:
        term.expect(PROMPT)
        term.type("/copy\r")
        term.expect("no answer to copy yet")
        term.type("Go\r")
        term.expect(r"```\n\n>")
        term.type("/copy code\r")
        term.expect(r"Sent 6 characters to the terminal's clipboard.*tmux passes it on only")
    assert b"\x1b]52;c;" + base64.b64encode(b"ls -l\n") + b"\x07" in term.raw


def test_a_stopped_answer_goes_on(home: Env, tmp_path: Path) -> None:
    """`/continue` would be a new question."""
    with Terminal(["chat", "-m", script(tmp_path, SLOWLY, {"text": "and tock."})], home) as term:
        term.expect(PROMPT)
        term.type("Go\r")
        term.expect("tick tick tick")
        term.type("\x03")
        term.expect(r"stopped; what was said is kept\)\n>")
        term.type("/continue\r")
        term.expect(r"Hermes 2\ntick .*and tock\.")
        term.type("/show prompt\r")
        term.expect(r"assistant\ntick tick [\s\S]*and tock\.<")


def test_every_command_answers_at_a_terminal(home: Env, tmp_path: Path) -> None:
    """A command that nobody tried would end in a traceback."""
    os.chmod(tmp_path, 0o700)  # noqa: PTH101 - a folder of one's own to write to
    with Terminal(["chat", "-m", script(tmp_path, *[{"text": "answer"}] * 9)], home, rows=40) as term:
        term.expect(PROMPT)
        term.type("one\r")
        term.expect(r"Hermes 2\nanswer\n\n>")
        done = 0
        for command in table.COMMANDS:
            if command.name in {"exit", "edit"}:
                continue
            argument = {"export": f" {tmp_path}/out.md", "goto": " 1", "search": " one"}.get(command.name, "")
            term.type(f"/{command.name}{argument}\r")
            done += 1
            term.expect(rf"^> /{command.name}[^\n]*\n(?:[^\n]*\n)*?>(?: |$)")
        term.type("\x04")
        assert term.leave() == 0
        assert done == len(table.COMMANDS) - 2
        assert "Traceback" not in term.text
        assert "mistake in hermes" not in term.text


def test_a_mistake_in_hermes_leaves_the_terminal_as_it_was(home: Env, tmp_path: Path) -> None:
    """A crash would leave a shell without echo, or in italics."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "*so", "error": "mistake"})], home) as term:
        term.expect(PROMPT)
        term.type("Go\r")
        assert term.leave() == 1
        assert "AssertionError: the script says: mistake" in term.text
        assert term.is_cooked()
        assert not term.cursor_hidden
        assert not term.cell("hermes:").italics


RUBBISH = [
    *("\x00", "\x07", "\x0c", "\x0f", "\x14", "\x1b", "\x1c", "\x1d", "\x1f"),
    *("\x1b[99~", "\x1b[1;1R", "\x1b[200~\x00\x04\x03\x1b[201~", "\udc80", "é日👩\u200d👧"),
]


@pytest.mark.parametrize("keys", RUBBISH)
def test_nothing_that_is_typed_ends_the_loop(home: Env, tmp_path: Path, keys: str) -> None:
    """A key beside another, or a paste of rubbish, would end the conversation."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"}, {"text": "fine"})], home) as term:
        term.expect(PROMPT)
        term.child.send(keys.encode("utf-8", "surrogateescape"))
        time.sleep(0.1)
        term.type("\x03")
        term.type("Go\r")
        assert "Traceback" not in term.expect(r"> Go\nHermes 2\nfine")


def test_ask_at_a_terminal_shows_markdown(home: Env, tmp_path: Path) -> None:
    """The answer would look otherwise than in a chat, or steer the terminal."""
    text = "**bold** &#27;[31m\x1b[31mred"
    with Terminal(["ask", "-m", script(tmp_path, {"text": text}), "x"], home) as term:
        assert term.leave() == 0
        assert term.cell("bold").bold
        assert term.cell("red").fg == "default"


def test_a_line_that_is_edited_cannot_steer_the_terminal(home: Env, tmp_path: Path) -> None:
    """A conversation that somebody sent would act from within the prompt."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
        term.expect(PROMPT)
        term.child.send(PASTE.format("a\x9b31mb\u202ec\u200fd").encode())
        term.expect(r"^> a.31mb.c.d$")
        assert not any(bad in term.raw.decode("utf-8", "replace") for bad in ("\x9b", "\u202e", "\u200f"))
        term.type("\r")
        term.expect(r"Hermes 2\nfine")
        term.type("/export json /dev/null\r/show prompt\r")
        term.expect("empty user turn")


def test_forced_colours_go_into_a_pipe_on_standard_error_alone(home: Env, tmp_path: Path) -> None:
    """CI logs would be grey although colours were asked for, or answers be coloured."""
    command = [sys.executable, "-m", "hermes_cli", "ask", "-m"]
    env = {**os.environ, **home, "FORCE_COLOR": "1"}
    answer = [*command, script(tmp_path, {"text": "**x**"}), "y"]
    done = subprocess.run(answer, stdin=subprocess.DEVNULL, capture_output=True, env=env, check=True)
    assert done.stdout == b"**x**\n"
    failed = subprocess.run(
        [*command, "nonsense", "y"], stdin=subprocess.DEVNULL, capture_output=True, env=env, check=False
    )
    assert failed.stderr.startswith(b"\x1b[31mhermes: ")
