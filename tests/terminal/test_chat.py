"""`hermes chat` as a process on a pty, with answers from the scripted engine."""

import http.server
import os
import signal
import termios
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.repl import command_table
from tests.run_hermes import script
from tests.terminal.screen import PROMPT, SLOWLY, Terminal, at_the_prompt

Env = Mapping[str, str]

pytestmark = pytest.mark.slow


def test_a_conversation(home: Env, tmp_path: Path) -> None:
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


def test_bare_hermes_is_chat(home: Env, tmp_path: Path) -> None:
    """`hermes` without a command at a terminal is `hermes chat`."""
    with Terminal([], {**home, "OPENHERMES_MODEL": script(tmp_path)}) as term:
        term.expect(PROMPT)
        term.type("/exit\r")
        assert term.leave() == 0


def test_ctrl_c_stops_the_answer_and_keeps_it(home: Env, tmp_path: Path) -> None:
    """Ctrl-C stops the answer, keeps its text, and the chat goes on."""
    with at_the_prompt(script(tmp_path, SLOWLY, {"text": "fine"}), home) as term:
        term.type("Go\r")
        term.expect("tick tick tick")
        term.type("\x03")
        term.expect(r"stopped; the text so far is kept")
        term.type("/show prompt\r")
        term.expect(r"assistant\n ?tick tick")
        term.type("Again\r")
        term.expect("Hermes 2\nfine")


def test_pressing_ctrl_c_again_and_again_stops_once(home: Env, tmp_path: Path) -> None:
    """Five times Ctrl-C during an answer stop it, and the chat goes on."""
    with at_the_prompt(script(tmp_path, SLOWLY, {"text": "fine"}), home) as term:
        term.type("Go\r")
        term.expect("tick tick")
        for _ in range(5):
            term.type("\x03")
        term.expect(r"stopped")
        term.type("Again\r")
        term.expect("Hermes 2\nfine")


def test_ctrl_c_at_the_prompt_empties_the_line(home: Env, tmp_path: Path) -> None:
    """Ctrl-C clears the line; on an empty line it prints how to leave."""
    with at_the_prompt(script(tmp_path, {"text": "fine"}), home) as term:
        term.type("nonsense")
        term.expect("> nonsense")
        term.type("\x03")
        term.type("\x03")
        term.expect("Ctrl-D or /exit leaves")
        term.type("Go\r")
        term.expect("Hermes 2\nfine")


def test_a_command_may_go_on_in_the_next_line(home: Env, tmp_path: Path) -> None:
    """The argument of a pasted command may have several lines."""
    with at_the_prompt(script(tmp_path), home) as term:
        term.type("\x1b[200~/system\nFirst.\nSecond.\x1b[201~\r")
        term.expect("Changed the system prompt")
        term.type("/system\r")
        term.expect(r"^First\.\nSecond\.$")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("place", ["answer", "prompt"])
def test_a_signal_leaves_the_terminal_as_it_was(
    home: Env, tmp_path: Path, number: signal.Signals, code: int, place: str
) -> None:
    """SIGTERM and SIGHUP end the chat with 128 + n and restore the terminal."""
    with at_the_prompt(script(tmp_path, SLOWLY), home) as term:
        if place == "answer":
            term.type("Go\r")
            term.expect("tick tick")
        term.child.kill(number)
        assert term.leave() == code
        assert term.is_cooked()
        assert not term.cursor_hidden
        assert "Traceback" not in term.text


@pytest.mark.parametrize("milliseconds", range(0, 60, 6))
def test_a_signal_while_the_prompt_is_drawn_ends_it(home: Env, tmp_path: Path, milliseconds: int) -> None:
    """SIGTERM while the prompt is drawn ends the chat, in spite of prompt_toolkit's event loop."""
    with at_the_prompt(script(tmp_path), home) as term:
        term.type("/")
        time.sleep(milliseconds / 1000)
        term.child.kill(signal.SIGTERM)
        assert term.leave() == 143
        assert term.is_cooked()
        assert "Unhandled" not in term.text


@pytest.mark.parametrize("verb", ["ask", "chat"])
def test_a_terminal_that_goes_away_ends_it_as_a_hangup_does(home: Env, tmp_path: Path, verb: str) -> None:
    """If the terminal is closed, hermes ends with 129, as by SIGHUP."""
    with Terminal([verb, "-m", script(tmp_path, SLOWLY), *(["x"] if verb == "ask" else [])], home) as term:
        if verb == "chat":
            term.expect(PROMPT)
            term.type("Go\r")
        term.expect("tick tick")
        assert term.hang_up() == 129


def test_ctrl_c_while_another_model_loads_keeps_the_old_one(starter_home: Env) -> None:
    """Ctrl-C while `/model` loads leaves a model that answers."""
    with Terminal(["chat", "-m", "starter", "--max-tokens", "4"], starter_home) as term:
        term.expect(PROMPT)
        for _ in range(3):
            term.type("/model starter\r")
            time.sleep(0.25)
            term.type("\x03")
            time.sleep(0.5)
        term.type("Hello\r")
        term.expect(r"Hermes 2\n\S")


def test_ctrl_z_and_fg_in_an_answer_keep_the_keys_quiet(home: Env, tmp_path: Path) -> None:
    """After a stop and a continue in mid-answer hermes switches the echo off again."""
    with at_the_prompt(script(tmp_path, SLOWLY), home) as term:
        term.type("Go\r")
        term.expect("tick tick")
        term.child.kill(signal.SIGSTOP)
        modes = termios.tcgetattr(term.child.child_fd)
        modes[3] |= termios.ECHO | termios.ICANON  # as the shell does
        termios.tcsetattr(term.child.child_fd, termios.TCSANOW, modes)
        term.child.kill(signal.SIGCONT)
        term.wait_for_quiet_keys()


def test_what_is_typed_during_an_answer_waits_for_the_prompt(home: Env, tmp_path: Path) -> None:
    """Keys that are typed during an answer are not echoed, and are read at the next prompt."""
    answer = {"text": "abcdefghijklmnopqrstuvwxyz", "delay": 0.03}
    with at_the_prompt(script(tmp_path, answer, {"text": "second"}), home) as term:
        term.type("Go\r")
        term.expect("Hermes 2\nab")
        term.type("XYZ\r")
        text = term.expect(r"> XYZ\nHermes 2\nsecond")
        assert "Hermes 2\nabcdefghijklmnopqrstuvwxyz\n" in text


def test_what_is_typed_while_the_model_loads_is_sent_once_it_is_there(home: Env, tmp_path: Path) -> None:
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


def test_commands_and_their_arguments_complete(home: Env, tmp_path: Path) -> None:
    """Command names and personas are completed."""
    with at_the_prompt(script(tmp_path), home) as term:
        term.type("/per")
        term.expect(r"start a new conversation")
        term.type("\t edw")
        term.expect(r"/persona edw")
        term.type("\t\r")
        term.expect(r"Started a new conversation with Edward Elric")


def test_the_models_text_cannot_steer_the_terminal(home: Env, tmp_path: Path) -> None:
    """No control sequence or direction character in the model's text reaches the terminal."""
    evil = {"text": "a\x1b]0;owned\x07b\x1b[8mc\u202ed\x9b31me"}
    with at_the_prompt(script(tmp_path, evil), home) as term:
        term.type("Go\r")
        term.expect("Hermes 2\na.*b.*c")
        for sequence in (b"\x1b]0;", b"\x1b[8m", b"\xc2\x9b", "\u202e".encode()):
            assert sequence not in term.raw


def test_typed_lines_are_kept_for_the_owner_alone(home: Env, tmp_path: Path) -> None:
    """Arrow-up recalls a line of the last session, and only the owner can read the history file."""
    history = Path(home["OPENHERMES_HOME"]) / "state" / "history"
    for round_ in range(2):
        with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
            term.expect(PROMPT)
            term.type("\x1b[A" if round_ else "remember me")
            term.expect("> remember me")
            term.type("\r")
            term.expect("Hermes 2\nfine")
            term.type("\x04")
            term.leave()
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.parent.stat().st_mode & 0o077 == 0


def test_a_home_that_cannot_be_written_is_said_and_no_more(home: Env, tmp_path: Path) -> None:
    """If the history cannot be written, a message reports it and the chat works."""
    Path(home["OPENHERMES_HOME"]).mkdir()
    (Path(home["OPENHERMES_HOME"]) / "state").write_text("a file in the folder's place")
    with Terminal(["chat", "-m", script(tmp_path, {"text": "fine"})], home) as term:
        term.expect("typed lines are not saved")
        term.expect(PROMPT)
        term.type("Go\r")
        term.expect("Hermes 2\nfine")


def test_a_failure_at_the_start_is_one_message(home: Env) -> None:
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


def test_with_a_hub_in_reach_a_person_is_asked(home: Env, starter_path: Path) -> None:
    """If the hub can be reached, a first run asks which model to fetch."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        env = {**home, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}"}
        with Terminal(["chat"], env) as term:
            text = term.expect(r"1 or 2 \[1\]:")
            assert "openhermes-2" in text
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


def test_edit_puts_the_turn_into_the_prompt(home: Env, tmp_path: Path) -> None:
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


def test_what_is_forgotten_does_not_come_back_with_the_arrow_key(home: Env, tmp_path: Path) -> None:
    """`/forget` removes the typed lines from the history and from every file."""
    model = script(tmp_path, {"text": "One."}, {"text": "Two."})
    with at_the_prompt(model, home) as term:
        term.type("marmalade\r")
        term.expect(r"One\.\n\n>")
        term.type("/forget\r")
        term.expect("another begins")
        term.type("harmless\r")
        term.expect(r"Two\.\n\n>")
        term.type("\x1b[A\x1b[A\x1b[A\x1b[A")
        term.expect(r"^> harmless$")
        term.type("\x03\x04")
        assert term.leave() == 0
    files = [p for p in Path(home["HOME"]).rglob("*") if p.is_file()]
    assert not any(b"marmalade" in p.read_bytes() for p in files)


def test_nothing_that_is_typed_is_written_without_a_log(home: Env, tmp_path: Path) -> None:
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


def test_a_second_window_is_asked(home: Env, tmp_path: Path) -> None:
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


def test_a_stopped_answer_is_marked_when_it_comes_back(home: Env, tmp_path: Path) -> None:
    """A stopped answer is marked when the conversation is shown again."""
    with at_the_prompt(script(tmp_path, SLOWLY), home) as term:
        term.type("Go\r")
        term.expect("tick tick tick")
        term.type("\x03")
        term.expect("the text so far is kept")
        term.type("\x04")
        assert term.leave() == 0
    with Terminal(["chat", "-c", "-m", script(tmp_path, SLOWLY)], home) as term:
        term.expect(r"^> Go\nHermes 2\n(tick ?)+t?i?c?k?\n\n\(stopped\)\n>")


def test_a_stopped_answer_goes_on(home: Env, tmp_path: Path) -> None:
    """`/continue` extends a stopped answer."""
    with at_the_prompt(script(tmp_path, SLOWLY, {"text": "and tock."}), home) as term:
        term.type("Go\r")
        term.expect("tick tick tick")
        term.type("\x03")
        term.expect(r"stopped; the text so far is kept\)\n>")
        term.type("/continue\r")
        term.expect(r"Hermes 2\ntick .*and tock\.")
        term.type("/show prompt\r")
        term.expect(r"assistant\ntick tick [\s\S]*and tock\.<")


def test_every_command_answers_at_a_terminal(home: Env, tmp_path: Path) -> None:
    """Every command but `/exit` and `/edit` runs without a traceback."""
    os.chmod(tmp_path, 0o700)  # noqa: PTH101 - a folder that can be written
    with at_the_prompt(script(tmp_path, *[{"text": "answer"}] * 9), home, rows=40) as term:
        term.type("one\r")
        term.expect(r"Hermes 2\nanswer\n\n>")
        done = 0
        for command in command_table.COMMANDS:
            if command.name in {"exit", "edit"}:
                continue
            argument = {"export": f" {tmp_path}/out.md", "goto": " 1", "search": " one"}.get(command.name, "")
            term.type(f"/{command.name}{argument}\r")
            done += 1
            term.expect(rf"^> /{command.name}[^\n]*\n(?:[^\n]*\n)*?>(?: |$)")
        term.type("\x04")
        assert term.leave() == 0
        assert done == len(command_table.COMMANDS) - 2
        assert "Traceback" not in term.text
        assert "bug in hermes" not in term.text


def test_a_mistake_in_hermes_leaves_the_terminal_as_it_was(home: Env, tmp_path: Path) -> None:
    """After an exception in hermes the terminal is restored and the exit code is 1."""
    with at_the_prompt(script(tmp_path, {"text": "*so", "error": "mistake"}), home) as term:
        term.type("Go\r")
        assert term.leave() == 1
        assert "AssertionError: scripted error: mistake" in term.text
        assert term.is_cooked()
        assert not term.cursor_hidden
        assert not term.cell("hermes:").italics


def test_a_character_is_played_with_its_greetings_and_its_lore(home: Env, tmp_path: Path) -> None:
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


def test_what_no_longer_fits_is_said_once(home: Env, tmp_path: Path) -> None:
    """One message reports that turns are left out of the full context window."""
    model = script(tmp_path, *[{"text": "x" * 60}] * 6, context_size=500)
    with at_the_prompt(model, home) as term:
        for turn in range(5):
            term.type(f"question {turn} {'y' * 50}\r")
            term.expect(rf"question {turn} y+\n(?:The context[^\n]*\n)?Hermes 2\nx+\n\n>")
        assert term.text.count("The context is full: ") == 1
