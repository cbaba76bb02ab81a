"""`hermes sessions`, and continuing a conversation: -c, -r, --log and --no-log."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hermes_cli import app
from hermes_cli.config import Paths
from hermes_cli.messages import Message, Role
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store import input_history
from hermes_cli.store.store import Store
from tests.database import OpenStore, chain, raw_database
from tests.run_hermes import hermes, script

Env = Mapping[str, str]


def talk(env: Env, model: str, *arguments: str, lines: str) -> bytes:
    """Hold a conversation line by line and return the answers."""
    result = hermes("chat", "-m", model, *arguments, env=env, stdin=lines.encode())
    assert result.code == 0, result.stderr
    return result.stdout


StoreOf = Callable[[Env], Store]


@pytest.fixture
def store(open_store: OpenStore) -> StoreOf:
    """Return a function that opens the store of a home."""
    return lambda env: open_store(Paths.from_environment(env).conversations)


def test_a_chat_is_kept_and_goes_on(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """A chat is stored and -c continues it; `sessions list` and `show` print it."""
    model = script(tmp_path, {"text": "One."}, {"text": "Two."})
    talk(home, model, lines="first\n")
    assert talk(home, model, "-c", lines="second\n") == b"One.\n"
    (kept,) = store(home).conversations()
    assert [m.text for m in store(home).path(kept.leaf)] == ["first", "One.", "second", "One."]
    listed = hermes("sessions", "list", env=home).stdout.decode()
    assert "4 messages" in listed
    assert "first" in listed
    shown = hermes("sessions", "show", "first", env=home).stdout.decode()
    assert shown.index("first") < shown.index("One.") < shown.index("second")


def test_a_conversation_is_named_by_number_or_title(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """-r, `rename`, `search` and `rm` find a conversation by its number, title or text."""
    model = script(tmp_path, {"text": "A."}, {"text": "B."})
    talk(home, model, lines="alpha\n")
    talk(home, model, lines="beta\n")
    talk(home, model, "-r", "alpha", lines="more of alpha\n")
    assert store(home).conversations()[0].title == "alpha"
    assert hermes("sessions", "rename", "2", "my own", env=home).code == 0
    assert b"my own" in hermes("sessions", "list", env=home).stdout
    found = hermes("sessions", "search", "more", env=home).stdout
    assert b"more of alpha" in found
    missing = hermes("chat", "-r", "nothing", "-m", model, env=home)
    assert (missing.code, "sessions list" in missing.stderr) == (2, True)
    removed = hermes("sessions", "rm", "1", "my own", env=home)
    assert "deleted 2 conversations" in removed.stderr
    assert hermes("sessions", "list", env=home).stdout == b""
    assert b"alpha" not in Paths.from_environment(home).conversations.read_bytes()
    assert hermes("chat", "-c", "-m", model, env=home).code == 2


def test_no_log_writes_nothing_at_all(home: Env, tmp_path: Path) -> None:
    """--no-log and `hermes ask` store nothing, and -c with --no-log is refused."""
    model = script(tmp_path, {"text": "A."})
    talk(home, model, "--no-log", lines="secret\n")
    assert hermes("ask", "-m", model, "secret", env=home).code == 0
    assert not Paths.from_environment(home).conversations.exists()
    refused = hermes("chat", "-c", "--no-log", "-m", model, env=home)
    assert (refused.code, "--no-log" in refused.stderr) == (2, True)


def test_ask_is_kept_when_it_is_asked_to(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """`hermes ask --log` stores the conversation and `hermes ask -c` continues it."""
    model = script(tmp_path, {"text": "A."})
    assert hermes("ask", "--log", "-m", model, "one", env=home).stdout == b"A.\n"
    assert hermes("ask", "-c", "--json", "-m", model, "two", env=home).json["usage"]["prompt_tokens"] > 40
    (kept,) = store(home).conversations()
    assert [m.text for m in store(home).path(kept.leaf)] == ["one", "A.", "two", "A."]


def test_the_persona_comes_back(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """A continued conversation has its persona again, and no second greeting."""
    model = script(tmp_path, {"text": "Hm."})
    talk(home, model, "-p", "edward-elric", lines="Hello\n")
    talk(home, model, "-c", lines="Still you?\n")
    (kept,) = store(home).conversations()
    assert kept.persona == "edward-elric"
    assert "Edward" in kept.opening[0].text
    assert [m.role.value for m in store(home).path(kept.leaf)] == ["assistant", *["user", "assistant"] * 2]


def test_a_second_window_is_told(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """-c with a conversation that is open in another window is refused with exit code 75."""
    model = script(tmp_path, {"text": "A."})
    talk(home, model, lines="one\n")
    mine = store(home)
    assert mine.locks.take(1)
    result = hermes("chat", "-c", "-m", model, env=home, stdin=b"two\n")
    assert (result.code, "another window" in result.stderr) == (75, True)
    assert mine.conversations()[0].count == 2


def test_a_copy_of_what_another_window_has(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """--fork continues a copy of a conversation that is open in another window."""
    model = script(tmp_path, {"text": "A."})
    talk(home, model, lines="one\n")
    mine = store(home)
    assert mine.locks.take(1)
    refused = hermes("chat", "-r", "one", "-m", model, env=home, stdin=b"two\n")
    assert "--fork" in refused.stderr
    assert "--follow" in refused.stderr
    assert talk(home, model, "-r", "one", "--fork", lines="two\n") == b"A.\n"
    copy, original = mine.conversations()
    assert [m.text for m in mine.path(copy.leaf)] == ["one", "A.", "two", "A."]
    assert (copy.title, original.count) == ("one (fork)", 2)
    assert hermes("chat", "--fork", "-m", model, env=home).code == 2


def test_prune_takes_what_was_not_used(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """`sessions prune` removes old conversations after --yes, and titled ones only with --named."""
    model = script(tmp_path, {"text": "A."})
    for line in ("old", "old but named", "new"):
        talk(home, model, lines=f"{line}\n")
    kept = store(home)
    kept.rename(2, "my own")
    kept.close()
    with raw_database(Paths.from_environment(home).conversations) as raw:
        raw.execute("UPDATE conversations SET updated = updated - 86400 * 40 WHERE id < 3")
    assert b"old" in hermes("sessions", "prune", "--days", "30", "--dry-run", env=home).stdout
    unsure = hermes("sessions", "prune", "--days", "30", env=home)
    assert (unsure.code, "--yes" in unsure.stderr) == (2, True)
    assert hermes("sessions", "prune", "--days", "30", "--yes", env=home).code == 0
    assert [one.title for one in store(home).conversations()] == ["new", "my own"]
    assert hermes("sessions", "prune", "--days", "30", "--yes", "--named", env=home).code == 0
    assert [one.title for one in store(home).conversations()] == ["new"]
    assert "no conversation is older" in hermes("sessions", "prune", "--days", "1", env=home).stderr


def test_what_is_open_elsewhere_is_not_removed(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """`sessions rm` does not remove a conversation that is open in another window."""
    talk(home, script(tmp_path, {"text": "A."}), lines="one\n")
    mine = store(home)
    assert mine.locks.take(1)
    refused = hermes("sessions", "rm", "1", env=home)
    assert (refused.code, "another window" in refused.stderr) == (75, True)
    assert len(mine.conversations()) == 1


def test_a_conversation_that_was_left_is_free(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """A conversation is locked while a window has it open, and free after `/clear`."""
    model = script(tmp_path, {"text": "A."}, {"text": "B."})
    talk(home, model, lines="one\n")
    mine = store(home)
    free: list[bool] = []

    class Asking(io.BytesIO):
        def readline(self, *_: object) -> bytes:
            line = super().readline()
            free.append(mine.locks.is_free(1))
            return line

    out, err = io.BytesIO(), io.StringIO()
    terminal = Terminal(Asking(b"/resume one\n/clear\ntwo\n"), out, err, False, False, False)  # noqa: FBT003
    assert app.run(["chat", "-m", model], terminal, home) == 0
    assert free == [True, False, True, True]


def test_a_turn_without_an_answer_can_be_answered(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """`/regen` answers a stored turn that has no answer."""
    model = script(tmp_path, {"text": "A."}, {"text": "B."})
    kept = store(home)
    number = kept.begin([], "hermes-2", chain(Message(Role.USER, "question")))
    kept.close()
    result = hermes("chat", "-c", "-m", model, env=home, stdin=b"/regen\n/tree\n")
    assert (result.code, result.stdout) == (0, b"A.\n")
    assert [m.text for m in store(home).path(store(home).conversations()[0].leaf)] == ["question", "A."]
    assert number == 1


def test_an_imported_conversation_has_no_persona_to_miss(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """Resuming a conversation without a persona reports no missing persona."""
    kept = store(home)
    kept.begin([], "", chain(Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")))
    kept.close()
    result = hermes("chat", "-m", script(tmp_path, {"text": "A."}), env=home, stdin=b"/resume q\n")
    assert (result.code, "no longer exists" in result.stderr) == (0, False)


def test_a_turn_without_an_answer_is_told(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """-c reports a last turn without an answer and suggests `/regen`."""
    kept = store(home)
    kept.begin([], "hermes-2", chain(Message(Role.USER, "question")))
    kept.close()
    result = hermes("chat", "-c", "-m", script(tmp_path, {"text": "A."}), env=home)
    assert "no answer yet; /regen" in result.stderr


def test_a_persona_from_a_file_is_a_name_and_no_path(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """A stored persona that is a path is not read as a file but reported as missing."""
    trap = tmp_path / "trap.toml"
    trap.write_text('name = "T"\nsystem = "trapped"\n[options]\ntemperature = 2.0\n')
    kept = store(home)
    kept.begin([], str(trap), chain(Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")))
    kept.close()
    model = script(tmp_path, {"text": "A."})
    for lines, flags in ((b"/show\n", ["-c"]), (b"/resume 1\n/show\n", [])):
        result = hermes("chat", *flags, "-m", model, env=home, stdin=lines)
        missing = f"the persona '{trap}' no longer exists" if flags else f"no persona '{trap}' any more"
        assert missing in result.stderr
        assert "2.0" not in result.stderr


def test_the_personas_options_come_back_with_it(home: Env, tmp_path: Path) -> None:
    """`/resume` restores the options of the conversation's persona."""
    folder = Paths.from_environment(home).personas
    folder.mkdir(parents=True)
    (folder / "hot.toml").write_text('name = "H"\nsystem = "s"\n[options]\ntemperature = 1.9\n')
    model = script(tmp_path, {"text": "A."})
    talk(home, model, "-p", "hot", lines="one\n")
    result = hermes("chat", "-m", model, env=home, stdin=b"/resume one\n/show\n")
    assert "1.9" in result.stderr


def test_titles_forge_no_lines(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """Newlines and escape sequences in a title are not printed."""
    kept = store(home)
    number = kept.begin([], "", chain(Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")))
    kept.rename(number, "harmless\nhermes: your disk is full\x1b[31m")
    assert kept.locks.take(number)
    model = script(tmp_path, {"text": "A."})
    said = [
        hermes("chat", "-c", "-m", model, env=home).stderr,
        hermes("chat", "-m", model, env=home, stdin=b"/resume 1\n").stderr,
        hermes("sessions", "rm", "1", env=home).stderr,
        hermes("sessions", "show", "1", env=home).stderr,
        hermes("sessions", "list", env=home).stdout.decode(),
    ]
    kept.close()
    said.append(hermes("chat", "-c", "-m", model, env=home, stdin=b"/title\n/tree\n").stderr)
    assert all("harmless" in text for text in said)
    assert not any("\nhermes: your disk" in text or "\x1b" in text for text in said)


def test_what_was_typed_goes_with_the_conversation(home: Env, tmp_path: Path) -> None:
    """`sessions rm` removes the lines typed in the conversation from the input history."""
    lines = "marmalade\n//slashed\n/edit answer\namended\n/title my title\n/system be sly\n"
    talk(home, script(tmp_path, {"text": "A."}, {"text": "B."}), lines=lines)
    history = Paths.from_environment(home).history
    input_history.make(history)
    for line in ("marmalade", "//slashed", "amended", "/title my title", "/system be sly", "something else"):
        input_history.add(history, line)
    assert hermes("sessions", "rm", "1", env=home).code == 0
    assert history.read_bytes().strip() == b"#\n+something else"


def test_check_says_whether_it_is_whole(home: Env, tmp_path: Path) -> None:
    """`sessions check` counts what is stored, reports damage with 75, and --rescue repairs it."""
    model = script(tmp_path, {"text": "A."})
    talk(home, model, lines="one\n")
    assert "2 messages in 1 conversation\n" in hermes("sessions", "check", env=home).stderr
    file = Paths.from_environment(home).conversations
    data = bytearray(file.read_bytes())
    with raw_database(file) as raw:
        (page,) = raw.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'messages_by_parent'"
        ).fetchone()
    data[(page - 1) * 4096 : page * 4096] = b"\x0a" + b"\xff" * 4095
    file.write_bytes(data)
    found = hermes("sessions", "check", env=home)
    assert (found.code, "--rescue" in found.stderr) == (75, True)
    assert (
        "recovered 2 messages in 1 conversation" in hermes("sessions", "check", "--rescue", env=home).stderr
    )
    assert hermes("sessions", "check", env=home).code == 0
    assert talk(home, model, "-c", lines="two\n") == b"A.\n"


def test_a_damaged_file_is_never_silently_blank(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """A damaged database is reported and set aside, and what can be read of it is continued."""
    model = script(tmp_path, {"text": "A."})
    talk(home, model, lines="one\n")
    file = Paths.from_environment(home).conversations
    file.write_bytes(b"\0" * 4096 + file.read_bytes()[4096:])
    result = hermes("chat", "-c", "-m", model, env=home, stdin=b"two\n")
    assert (result.code, result.stdout) == (0, b"A.\n")
    assert "damaged" in result.stderr
    assert "recovered 2 messages" in result.stderr
    assert (file.parent / "conversations.damaged-1.db").exists()
    (kept,) = store(home).conversations()
    assert [m.text for m in store(home).path(kept.leaf)] == ["one", "A.", "two", "A."]


def test_a_file_that_was_emptied_is_told(home: Env, tmp_path: Path) -> None:
    """An emptied database is reported once."""
    talk(home, script(tmp_path, {"text": "A."}), lines="one\n")
    Paths.from_environment(home).conversations.write_bytes(b"")
    assert "is empty, but conversations were saved in it" in hermes("sessions", "list", env=home).stderr
    assert "is empty, but conversations were saved in it" not in hermes("sessions", "list", env=home).stderr


def test_a_home_that_cannot_be_written(home: Env, tmp_path: Path) -> None:
    """If nothing can be stored, a message reports it and the chat works."""
    data = Paths.from_environment(home).data
    data.parent.mkdir(parents=True)
    data.write_text("in the way")
    result = hermes("chat", "-m", script(tmp_path, {"text": "A."}), env=home, stdin=b"one\n")
    assert (result.code, result.stdout) == (0, b"A.\n")
    assert "this conversation is not saved" in result.stderr


def test_another_answer_where_keeping_has_failed(home: Env, tmp_path: Path) -> None:
    """After saving has failed, which is reported once, all answers can still be reached."""
    data = Paths.from_environment(home).data
    data.mkdir(parents=True)
    (data / "claims").write_text("in the way")
    model = script(tmp_path, {"text": "A."}, {"text": "B."})
    result = hermes("chat", "-m", model, env=home, stdin=b"one\n/regen\n/swipe left\n/tree\n")
    assert (result.code, result.stdout) == (0, b"A.\nB.\n")
    failure, *moves = result.stderr.splitlines()
    assert str(data / "claims") in failure
    assert [" ".join(line.split()) for line in moves] == [
        "(2 of 2)",
        "(1 of 2)",
        "* 1 you: one",
        "> 2 it: A.",
        "3 it: B.",
    ]


def test_going_on_with_what_cannot_be_opened(home: Env, tmp_path: Path) -> None:
    """-c is refused with exit code 75 and the reason if the database cannot be opened."""
    data = Paths.from_environment(home).data
    data.parent.mkdir(parents=True)
    data.write_text("in the way")
    result = hermes("chat", "-c", "-m", script(tmp_path, {"text": "A."}), env=home, stdin=b"one\n")
    assert (result.code, result.stdout) == (75, b"")
    assert "cannot be written" in result.stderr
    assert "--no-log out" not in result.stderr


@pytest.mark.slow
def test_a_chat_that_is_killed_in_mid_answer_goes_on(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """After SIGKILL in mid-answer the turn and the text so far are stored, and -c continues."""
    model = script(tmp_path, {"text": "word ", "delay": 0.02, "forever": True}, context_size=10_000)
    command = [sys.executable, "-m", "hermes_cli", "chat", "-m", model, "--loop-guard", "0"]
    environment = {**home, "PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"Tell me\n")
        child.stdin.flush()
        child.stdout.read(40)
        time.sleep(2)
        child.send_signal(signal.SIGKILL)
    after = script(tmp_path, {"text": "Good."})
    assert talk(home, after, "-c", lines="go on\n") == b"Good.\n"
    shown = [(m.text, m.state.value) for m in store(home).path(store(home).conversations()[0].leaf)]
    assert shown[0] == ("Tell me", "complete")
    assert shown[1][1] == "stopped"
    assert shown[1][0].startswith("word word")
    assert len(shown[1][0]) > 50
    assert shown[2:] == [("go on", "complete"), ("Good.", "complete")]
