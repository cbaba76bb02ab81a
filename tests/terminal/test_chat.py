"""`hermes chat` as a process on a pty, with answers from the scripted engine."""

import http.server
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pexpect
import pytest

from hermes_cli.repl import command_table
from tests.run_hermes import hermes, script
from tests.terminal.screen import ENDLESS_TURN, PATIENCE_S, PROMPT, Terminal, at_the_prompt

Env = Mapping[str, str]

pytestmark = pytest.mark.slow


def test_two_turns_are_answered_and_ctrl_d_ends_the_chat(home: Env, tmp_path: Path) -> None:
    """Two turns are answered, Ctrl-D ends the chat with 0, and the terminal is restored."""
    model = script(tmp_path, {"text": "Hello there."}, {"text": "Bye."})
    with at_the_prompt(model, home) as term:
        term.type("Hi\r")
        term.expect(r"^Hermes 2\nHello there\.")
        term.type("So long\r")
        term.expect(r"^Hermes 2\nBye\.\n\n>")
        term.type("\x04")
        assert term.leave() == 0
        assert term.is_cooked()


def test_hermes_without_a_command_is_chat(home: Env, tmp_path: Path) -> None:
    """`hermes` without a command at a terminal is `hermes chat`."""
    with Terminal([], {**home, "OPENHERMES_MODEL": script(tmp_path)}) as term:
        term.expect(PROMPT)
        term.type("/exit\r")
        assert term.leave() == 0


def test_the_argument_of_a_command_may_have_several_lines(home: Env, tmp_path: Path) -> None:
    """The argument of a pasted command may have several lines."""
    with at_the_prompt(script(tmp_path), home) as term:
        term.type("\x1b[200~/system\nFirst.\nSecond.\x1b[201~\r")
        term.expect("Changed the system prompt")
        term.type("/system\r")
        term.expect(r"^First\.\nSecond\.$")


def test_keys_typed_during_an_answer_are_read_at_the_next_prompt(home: Env, tmp_path: Path) -> None:
    """Keys that are typed during an answer are not echoed, and are read at the next prompt."""
    answer = {"text": "abcdefghijklmnopqrstuvwxyz", "delay": 0.03}
    with at_the_prompt(script(tmp_path, answer, {"text": "second"}), home) as term:
        term.type("Go\r")
        term.expect("Hermes 2\nab")
        term.type("XYZ\r")
        text = term.expect(r"> XYZ\nHermes 2\nsecond")
        assert "Hermes 2\nabcdefghijklmnopqrstuvwxyz\n" in text


def test_a_line_typed_before_the_first_prompt_is_sent(home: Env, tmp_path: Path) -> None:
    """A line that is typed before the first prompt is sent as a turn."""
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
        term.wait_for_quiet_keys()
        term.type("Go\r")
        term.expect(r"> Go\nHermes 2\nfine")


def test_a_paste_of_several_lines_is_one_turn(home: Env, tmp_path: Path) -> None:
    """A paste of several lines is one turn."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home) as term:
        term.type("\x1b[200~one\ntwo\n/exit\x1b[201~\r")
        term.expect("Hermes 2\nfine")
        term.type("/show prompt\r")
        term.expect(r"user\n ?one\n ?two\n ?/exit<\|im_end\|>")


def test_commands_and_their_arguments_are_completed(home: Env, tmp_path: Path) -> None:
    """Command names and personas are completed."""
    with at_the_prompt(script(tmp_path), home) as term:
        term.type("/per")
        term.expect(r"start a new conversation")
        term.type("\t edw")
        term.expect(r"/persona edw")
        term.type("\t\r")
        term.expect(r"Started a new conversation with Edward Elric")


def test_the_models_text_cannot_control_the_terminal(home: Env, tmp_path: Path) -> None:
    """No control sequence or direction character in the model's text reaches the terminal."""
    hostile = {"text": "a\x1b]0;owned\x07b\x1b[8mc\u202ed\x9b31me"}
    with at_the_prompt(script(tmp_path, hostile), home) as term:
        term.type("Go\r")
        term.expect("Hermes 2\na.*b.*c")
        for sequence in (b"\x1b]0;", b"\x1b[8m", b"\xc2\x9b", "\u202e".encode()):
            assert sequence not in term.raw


def test_the_history_is_recalled_and_only_its_owner_can_read_it(home: Env, tmp_path: Path) -> None:
    """Arrow-up recalls a line of the last session, and only the owner can read the history file."""
    history = Path(home["OPENHERMES_HOME"]) / "state" / "history"
    for is_second in (False, True):
        with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
            term.expect(PROMPT)
            term.type("\x1b[A" if is_second else "remember me")
            term.expect("> remember me")
            term.type("\r")
            term.expect("Hermes 2\nfine")
            term.type("\x04")
            term.leave()
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.parent.stat().st_mode & 0o077 == 0


def test_a_history_that_cannot_be_written_is_reported(home: Env, tmp_path: Path) -> None:
    """If the history cannot be written, a message reports it and the chat works."""
    Path(home["OPENHERMES_HOME"]).mkdir()
    (Path(home["OPENHERMES_HOME"]) / "state").write_text("a file in the folder's place")
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
        term.expect("typed lines are not saved")
        term.expect(PROMPT)
        term.type("Go\r")
        term.expect("Hermes 2\nfine")


def test_an_unknown_model_ends_the_chat_without_a_traceback(home: Env) -> None:
    """An unknown model ends the chat with exit code 69 and no traceback."""
    with Terminal(["chat", "-m", "openhermes-3"], home) as term:
        assert term.leave() == 69
        assert "openhermes-3" in term.text
        assert "Traceback" not in term.text


class _Hub(http.server.BaseHTTPRequestHandler):
    """A hub that answers every request with an empty page."""

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = _answer  # noqa: N815 - the base class's names

    def log_message(self, *_: object) -> None:
        pass


def test_a_first_run_asks_which_model_to_fetch(home: Env, starter_path: Path) -> None:
    """If the hub can be reached, a first run asks which model to fetch."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        env = {**home, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}"}
        with Terminal(["chat"], env) as term:
            text = term.expect(r"1, 2 or 3 \[1\]:|1 or 2 \[1\]:")  # with torch, the 16-bit weights also run
            assert "openhermes-2:gguf" in text
            assert "best here" in text
            models = Path(home["OPENHERMES_HOME"]) / "data" / "models"
            models.mkdir(parents=True, exist_ok=True)
            os.link(starter_path, models / starter_path.name)  # installed, so that Enter fetches nothing
            term.type("\r")
            term.expect(PROMPT)
        hub.shutdown()


def test_alt_left_and_right_swipe(home: Env, tmp_path: Path) -> None:
    """Alt-Right generates another answer and Alt-Left returns to the first; a line with text is no swipe."""
    model = script(tmp_path, {"text": "First one."}, {"text": "Second one."})
    with at_the_prompt(model, home) as term:
        term.type("Go\r")
        term.expect(r"First one\.\n\n>")
        term.type("\x1b[1;3C")  # Alt-Right
        term.expect(r"Second one\.\n\n\(2 of 2\)\n>")
        term.type("\x1b[1;3D")  # Alt-Left
        term.expect(r"\(1 of 2\)\nHermes 2\nFirst one\.\n\n>")
        term.type("no\x1b[1;3Dt swiped\x03")  # in a line with text it does not swipe
        term.type("/tree\r")
        term.expect(r">    2   it: First one\.\n     3   it: Second one\.")


def test_edit_puts_the_last_turn_into_the_line(home: Env, tmp_path: Path) -> None:
    """`/edit` puts the last turn into the line; Ctrl-C cancels, and Enter sends the changed turn."""
    model = script(tmp_path, {"text": "One."}, {"text": "Two."})
    with at_the_prompt(model, home) as term:
        term.type("Tell me of ships\r")
        term.expect(r"One\.\n\n>")
        term.type("/edit\r")
        term.expect(r"changes nothing\.\n> Tell me of ships$")
        term.type("\x03")
        term.expect("nothing was changed")
        term.type("/edit\r")
        term.expect(r"changed\)\n> /edit\n.*\n> Tell me of ships$")
        term.type(" and storms\r")
        term.expect(r"Two\.\n\n>")
        term.type("/show prompt\r")
        term.expect(r"^Tell me of ships and storms<")
        assert "\nTell me of ships<" not in term.text


def test_forget_removes_typed_lines_from_the_history(home: Env, tmp_path: Path) -> None:
    """`/forget` removes the typed lines from the history and from every file."""
    model = script(tmp_path, {"text": "One."}, {"text": "Two."})
    with at_the_prompt(model, home) as term:
        term.type("marmalade\r")
        term.expect(r"One\.\n\n>")
        term.type("/forget\r")
        term.expect(r"permanently\? \[y/N\]")
        term.type("\r")
        term.expect(r"nothing was deleted\)\n>")
        term.type("/forget\r")
        term.expect(r"deleted\)[^?]*permanently\? \[y/N\]")
        term.type("y\r")
        term.expect("started a new one")
        term.type("harmless\r")
        term.expect(r"Two\.\n\n>")
        term.type("\x1b[A\x1b[A\x1b[A\x1b[A")
        term.expect(r"^> harmless$")
        term.type("\x03\x04")
        assert term.leave() == 0
    files = [p for p in Path(home["HOME"]).rglob("*") if p.is_file()]
    assert not any(b"marmalade" in p.read_bytes() for p in files)


def test_a_chat_with_its_answers_in_a_file_shows_the_prompt(home: Env, tmp_path: Path) -> None:
    """The header and the prompt are on standard error, and only the answers are in the file."""
    out, model = tmp_path / "out", script(tmp_path, {"text": "One."}, {"text": "Two."})
    command = 'exec "$0" -m hermes_cli chat -m "$1" > "$2"'
    env = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **home}
    child = pexpect.spawn(
        "/bin/sh", ["-c", command, sys.executable, model, str(out)], env=env, timeout=PATIENCE_S
    )
    child.expect("/help.*> $")
    child.sendline("hi")
    child.expect("\r\n> $")
    child.sendline('"""two')
    child.expect("\r\n[.] $")
    child.sendline('lines"""')
    child.expect("\r\n> $")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert out.read_text() == "One.\nTwo.\n"


def test_no_file_is_written_with_no_log(home: Env, tmp_path: Path) -> None:
    """With --no-log typed lines can be recalled, but no file is written."""
    with Terminal(["chat", "--no-log", "-m", script(tmp_path, {"text": "One."})], home) as term:
        term.expect(PROMPT)
        term.type("marmalade\r")
        term.expect(r"One\.\n\n>")
        term.type("\x1b[A")
        term.expect(r"^> marmalade$")
        term.type("\x03\x04")
        assert term.leave() == 0
    assert not any(p.is_file() for p in Path(home["HOME"]).rglob("*"))


def test_a_second_window_can_read_along_or_fork(home: Env, tmp_path: Path) -> None:
    """A second window can read along in a conversation that is open elsewhere, or fork it."""
    model = script(tmp_path, {"text": "One."}, {"text": "Two."})
    with at_the_prompt(model, home) as first:
        first.type("ships\r")
        first.expect(r"One\.\n\n>")
        with Terminal(["chat", "-c", "-m", model], home) as reader:
            reader.expect(r"open in another window\.\n\(f\)ork it")
            reader.type("r\r")
            reader.expect(r"\[user\]\nships\n\n\[assistant\]\nOne\.")
            first.type("storms\r")
            first.expect(r"Two\.\n\n>")
            reader.expect(r"\[user\]\nstorms\n\n\[assistant\]\nTwo\.")
        with Terminal(["chat", "-c", "-m", model], home) as copy:
            copy.expect(r"\(f\)ork it")
            copy.type("f\r")
            copy.expect("continuing after 4 messages")
            copy.type("more\r")
            copy.expect(r"Hermes 2\nOne\.\n\n>")
        first.type("/tree\r")
        first.expect("4 it: Two")
        assert "more" not in first.text


def test_every_command_runs_without_a_traceback(home: Env, tmp_path: Path) -> None:
    """Every command except `/exit` and `/edit` runs without a traceback."""
    os.chmod(tmp_path, 0o700)  # noqa: PTH101 - a folder that can be written
    with at_the_prompt(script(tmp_path, *[{"text": "answer"}] * 9), home, rows=40) as term:
        term.type("one\r")
        term.expect(r"Hermes 2\nanswer\n\n>")
        count = 0
        arguments = {"export": f"{tmp_path}/out.md", "goto": "1", "search": "one", "forget": "--yes"}
        for command in command_table.COMMANDS:
            if command.name in {"exit", "edit", "impersonate"}:
                continue
            term.type(f"/{command.name} {arguments.get(command.name, '')}".rstrip() + "\r")
            count += 1
            term.expect(rf"^> /{command.name}[^\n]*\n(?:[^\n]*\n)*?>(?: |$)")
        term.type("\x04")
        assert term.leave() == 0
        assert count == len(command_table.COMMANDS) - 3
        assert "Traceback" not in term.text
        assert "bug in hermes" not in term.text


def test_impersonate_puts_a_draft_at_the_prompt(home: Env, tmp_path: Path) -> None:
    """The draft is edited and sent as a turn; Ctrl-C keeps the text so far, and so does a failing engine."""
    drafts = ({"text": " A draft "}, {"text": "A1"}, {"text": "ab", "forever": True, "delay": 0.05})
    model = script(tmp_path, *drafts, {"text": "half", "error": "failed"})
    with at_the_prompt(model, home) as term:
        term.type("/impersonate\r")
        term.expect(r"^> A draft$")
        term.type("!\r")
        term.expect(r"^> A draft!\nHermes 2\nA1\n\n>$")
        term.type("/impersonate\r")
        term.expect(r"Ctrl-C keeps the text so far")
        time.sleep(0.5)
        term.type("\x03")
        term.expect(r"^> (ab)+a?$")
        term.type("\x15/impersonate\r")
        term.expect(r"scripted error: failed\n(?:[^\n]*\n)*> half$")
        term.type("\x15/tree\r")
        term.expect(r"you: A draft!\n[^\n]*it: A1\n> is your position")


def test_greetings_are_swiped_and_lore_is_listed(home: Env, tmp_path: Path) -> None:
    """A character's greetings are swiped, and `/lore` and `/context` show its lore."""
    folder = Path(home["OPENHERMES_HOME"]) / "config" / "personas"
    folder.mkdir(parents=True)
    (folder / "sera.toml").write_text(
        'name = "Sera"\ncharacter = "A guardian."\n'
        'greeting = "*One* {{user}}."\ngreetings = ["Two.", "Three."]\n'
        '[[lore]]\nkeys = ["glade"]\ncontent = "The glade is old."\n'
    )
    model = script(tmp_path, {"text": "Welcome."}, load=0.5)
    with at_the_prompt(model, home, "-p", "sera", "--user", "Bob") as term:
        term.expect(r"^Sera\nOne Bob\.\n\n\(2 other greetings: /swipe, or Alt-Right\)\n>$")
        term.type("\x1b[1;3C")
        term.expect(r"\(2 of 3\)\nSera\nTwo\.\n\n>$")
        term.type("\x1b[1;3D")
        term.expect(r"\(1 of 3\)\nSera\nOne Bob\.\n\n>$")
        term.type("the glade\r")
        term.expect(r"Sera\nWelcome\.\n\n>")
        term.type("/lore\r")
        term.expect(r"^  glade +by glade +since your turn 1 +27 tokens\n1 of 1 entry in 1 book: 27 tokens\.")
        term.type("/context\r")
        term.expect(r"^  active lore +27  ▎\n  turns, 2 of 2 +\d+  ")


def test_dropped_turns_are_reported_once(home: Env, tmp_path: Path) -> None:
    """One message reports that turns are left out of the full context window."""
    model = script(tmp_path, *[{"text": "x" * 60}] * 6, context_size=500)
    with at_the_prompt(model, home) as term:
        for turn in range(5):
            term.type(f"question {turn} {'y' * 50}\r")
            term.expect(rf"question {turn} y+\n(?:The context[^\n]*\n)?Hermes 2\nx+\n\n>")
        assert term.text.count("The context is full: ") == 1


def test_a_pipe_is_answered_and_the_chat_goes_on_at_the_keyboard(home: Env, tmp_path: Path) -> None:
    """The pipe and PROMPT are the first message; then keys, Ctrl-C and the editor work as usual."""
    piped = tmp_path / "diff.txt"
    piped.write_text("-old\n+new\n")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\n[ -t 0 ] && echo "from the editor" > "$1"\n')
    editor.chmod(0o700)
    model = script(tmp_path, {"text": "Looks good."}, ENDLESS_TURN, {"text": "Third."})
    env = {**home, "EDITOR": str(editor)}
    with Terminal(["chat", "-m", model, "Review this."], env, stdin=piped) as term:
        term.expect(r"^> Review this\. \(standard input\)\nHermes 2\nLooks good\.\n\n>")
        term.type("go\r")
        term.expect("tick tick")
        term.type("\x03")
        term.expect(r"\(stopped; the text so far is kept\)")
        term.type("\x18\x05")  # Ctrl-X Ctrl-E
        term.expect("^> from the editor")
        term.type("\r")
        term.expect(r"^Third\.\n\n>")
        term.type("/show prompt\r")
        term.expect(r"user\n-old\n\+new\n\nReview this\.<\|im_end\|>")
        term.type("\x04")
        assert term.leave() == 0
        assert term.is_cooked()


@pytest.mark.parametrize("arguments", [["chat", "Hello, you."], ["ask", "Hello, you.", "--then-chat"]])
def test_a_first_message_may_be_an_argument(home: Env, tmp_path: Path, arguments: list[str]) -> None:
    """It is shown and answered, and the conversation is saved."""
    model = script(tmp_path, {"text": "Hi."}, {"text": "Fine."})
    with Terminal([*arguments, "-m", model], home) as term:
        term.expect(r"^> Hello, you\.\nHermes 2\nHi\.\n\n>")
        term.type("How are you?\r")
        term.expect(r"^Fine\.\n\n>")
        term.type("\x04")
        assert term.leave() == 0
    assert b"4 messages" in hermes("sessions", "list", env=home).stdout


def test_a_first_message_that_does_not_fit_comes_back(home: Env, tmp_path: Path) -> None:
    """The question is at the prompt again, and the pipe is still attached; Ctrl-C removes it."""
    piped = tmp_path / "long.txt"
    piped.write_text("long " * 500)
    model = script(tmp_path, {"text": "Hi."}, context_size=600)
    with Terminal(["chat", "-m", model, "Sum up."], home, stdin=piped) as term:
        term.expect(r"^> Sum up\.$")
        text = term.expect("1 file attached")
        assert "send less of standard input" in " ".join(text.split())
        term.type("\x03\x03")
        term.expect("attached files were removed")
        term.type("Sum up.\r")
        term.expect(r"^Hi\.\n\n>")
