"""`hermes sessions`, and continuing a conversation: -c, -r, --log and --no-log."""

import io
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hermes_cli import app
from hermes_cli.config import Paths
from hermes_cli.messages import Message, Role
from hermes_cli.repl.commands.tree import LEGEND
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store import input_history
from hermes_cli.store.store import Store
from tests.database import OpenStore, chain, raw_database
from tests.run_hermes import hermes, script

Env = Mapping[str, str]


def chat(env: Env, model: str, *arguments: str, lines: str) -> bytes:
    """Run `hermes chat` with the lines on standard input, and return the answers."""
    result = hermes("chat", "-m", model, *arguments, env=env, stdin=lines.encode())
    assert result.code == 0, result.stderr
    return result.stdout


StoreOf = Callable[[Env], Store]


@pytest.fixture
def store(open_store: OpenStore) -> StoreOf:
    """Return a function that opens the store of a home."""
    return lambda env: open_store(Paths.from_environment(env).conversations)


def test_a_chat_is_saved_and_can_be_continued(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """-c continues it; `sessions list` and `show` print it."""
    model = script(tmp_path, {"text": "One."}, {"text": "Two."})
    chat(home, model, lines="first\n")
    assert chat(home, model, "-c", lines="second\n") == b"One.\n"
    (kept,) = store(home).conversations()
    assert [m.text for m in store(home).path(kept.leaf)] == ["first", "One.", "second", "One."]
    listed = hermes("sessions", "list", env=home).stdout.decode()
    assert "4 messages" in listed
    assert "first" in listed
    shown = hermes("sessions", "show", "first", env=home).stdout.decode()
    assert shown.index("first") < shown.index("One.") < shown.index("second")


def test_continuing_skips_a_conversation_whose_only_turn_was_undone(home: Env, tmp_path: Path) -> None:
    """-c continues the newest conversation with a visible message."""
    model = script(tmp_path, {"text": "One."}, {"text": "Two."})
    chat(home, model, lines="first\n/clear\nsecond\n/undo\n")
    shown = hermes("chat", "-c", "-m", model, env=home, stdin=b"/show prompt\n").stderr
    assert "user\nfirst" in shown
    assert "second" not in shown


def test_a_conversation_is_selected_by_number_or_title(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """-r, `rename` and `rm` accept both; `search` finds a text."""
    model = script(tmp_path, {"text": "A."}, {"text": "B."})
    chat(home, model, lines="alpha\n")
    chat(home, model, lines="beta\n")
    chat(home, model, "-r", "alpha", lines="more of alpha\n")
    assert store(home).conversations()[0].title == "alpha"
    assert hermes("sessions", "rename", "2", "my own", env=home).code == 0
    assert b"my own" in hermes("sessions", "list", env=home).stdout
    matches = hermes("sessions", "search", "more", env=home).stdout
    assert b"more of alpha" in matches
    missing = hermes("chat", "-r", "nothing", "-m", model, env=home)
    assert (missing.code, "sessions list" in missing.stderr) == (2, True)
    removed = hermes("sessions", "rm", "1", "my own", env=home)
    assert "deleted 2 conversations" in removed.stderr
    assert hermes("sessions", "list", env=home).stdout == b""
    assert b"alpha" not in Paths.from_environment(home).conversations.read_bytes()
    assert hermes("chat", "-c", "-m", model, env=home).code == 2


def test_no_log_writes_nothing(home: Env, tmp_path: Path) -> None:
    """Nor does `hermes ask`; -c with --no-log is refused."""
    model = script(tmp_path, {"text": "A."})
    chat(home, model, "--no-log", lines="secret\n")
    assert hermes("ask", "-m", model, "secret", env=home).code == 0
    assert not Paths.from_environment(home).conversations.exists()
    refused = hermes("chat", "-c", "--no-log", "-m", model, env=home)
    assert (refused.code, "--no-log" in refused.stderr) == (2, True)


def test_save_false_in_the_config_file_saves_only_on_request(
    home: Env, tmp_path: Path, store: StoreOf
) -> None:
    """--log, -c and -r save. `config show` and `doctor` show the setting."""
    model, paths = script(tmp_path, {"text": "A."}), Paths.from_environment(home)
    paths.config.mkdir(parents=True)
    paths.config_file.write_text("save = false\n")
    chat(home, model, lines="secret\n")
    assert not paths.conversations.exists()
    assert not paths.history.exists()
    chat(home, model, "--log", lines="one\n")
    chat(home, model, "-c", lines="two\n")
    hermes("ask", "--log", "-m", model, "three", env=home)
    texts = [[m.text for m in store(home).tree(c.id)] for c in store(home).conversations()]
    assert texts == [["three", "A."], ["one", "A.", "two", "A."]]
    shown = [line.split() for line in hermes("config", "show", env=home).stdout.decode().splitlines()]
    assert ["save", "false", "config", "file"] in shown
    assert b"nothing is saved: save = false (config file)" in hermes("doctor", env=home).stdout


def test_ask_with_log_saves_the_conversation(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """`hermes ask -c` continues it."""
    model = script(tmp_path, {"text": "A."})
    assert hermes("ask", "--log", "-m", model, "one", env=home).stdout == b"A.\n"
    assert hermes("ask", "-c", "--json", "-m", model, "two", env=home).json["usage"]["prompt_tokens"] > 40
    (kept,) = store(home).conversations()
    assert [m.text for m in store(home).path(kept.leaf)] == ["one", "A.", "two", "A."]


def test_ask_continues_a_named_conversation(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """Also in a copy, with --fork."""
    model = script(tmp_path, {"text": "A."})
    for line in ("one", "other"):
        chat(home, model, lines=f"{line}\n")
    assert hermes("ask", "-r", "one", "-m", model, "two", env=home).stdout == b"A.\n"
    assert hermes("ask", "-r", "one", "--fork", "-m", model, "three", env=home).stdout == b"A.\n"
    texts = {c.title: [m.text for m in store(home).path(c.leaf)] for c in store(home).conversations()}
    assert texts["one"] == ["one", "A.", "two", "A."]
    assert texts["one (fork)"] == ["one", "A.", "two", "A.", "three", "A."]
    assert texts["other"] == ["other", "A."]


def test_a_refused_prompt_is_not_saved(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """A prompt that is too long leaves neither a conversation nor a message."""
    model = script(tmp_path, {"text": "A."}, context_size=600)
    refused = hermes("ask", "--log", "-m", model, "long " * 2000, env=home)
    assert refused.code == 65
    assert store(home).conversations() == []
    assert store(home).message_count() == 0
    assert hermes("ask", "--log", "-m", model, "one", env=home).code == 0
    assert hermes("ask", "-c", "-m", model, "long " * 2000, env=home).code == 65
    assert [m.text for m in store(home).tree(store(home).conversations()[0].id)] == ["one", "A."]


def test_counts_are_of_visible_messages(home: Env, tmp_path: Path) -> None:
    """Other answers and undone turns do not count in the list, but in the check of the database."""
    model = script(tmp_path, {"text": "A."}, {"text": "B."}, {"text": "C."})
    chat(home, model, lines="one\n/regen\n/regen\n")
    assert b"  2 messages  " in hermes("sessions", "list", env=home).stdout
    assert ": 4 messages in 1 conversation" in hermes("sessions", "check", env=home).stderr


def test_a_continued_conversation_keeps_its_persona(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """It has no second greeting."""
    model = script(tmp_path, {"text": "Hm."})
    chat(home, model, "-p", "edward-elric", lines="Hello\n")
    chat(home, model, "-c", lines="Still you?\n")
    (kept,) = store(home).conversations()
    assert kept.persona == "edward-elric"
    assert "Edward" in kept.opening[0].text
    assert [m.role.value for m in store(home).path(kept.leaf)] == ["assistant", *["user", "assistant"] * 2]


def test_a_conversation_open_in_another_window_is_refused(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """-c exits with 75."""
    model = script(tmp_path, {"text": "A."})
    chat(home, model, lines="one\n")
    mine = store(home)
    assert mine.locks.acquire(1)
    for verb in ("chat", "ask"):
        result = hermes(verb, "-c", "-m", model, env=home, stdin=b"two\n")
        assert (result.code, "another window" in result.stderr) == (75, True)
        assert "        -r 1 --fork continues in a copy, " in result.stderr
    assert mine.conversations()[0].message_count == 2


def test_fork_copies_a_conversation_open_in_another_window(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """The original is unchanged. --fork without a conversation is refused."""
    model = script(tmp_path, {"text": "A."})
    chat(home, model, lines="one\n")
    mine = store(home)
    assert mine.locks.acquire(1)
    refused = hermes("chat", "-r", "one", "-m", model, env=home, stdin=b"two\n")
    assert "--fork" in refused.stderr
    assert "--follow" in refused.stderr
    assert chat(home, model, "-r", "one", "--fork", lines="two\n") == b"A.\n"
    copy, original = mine.conversations()
    assert [m.text for m in mine.path(copy.leaf)] == ["one", "A.", "two", "A."]
    assert (copy.title, original.message_count) == ("one (fork)", 2)
    assert hermes("chat", "--fork", "-m", model, env=home).code == 2


def test_prune_removes_old_conversations(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """It needs --yes, and removes titled conversations only with --named."""
    model = script(tmp_path, {"text": "A."})
    for line in ("old", "old but named", "new"):
        chat(home, model, lines=f"{line}\n")
    kept = store(home)
    kept.rename(2, "my own")
    kept.close()
    with raw_database(Paths.from_environment(home).conversations) as raw:
        raw.execute("UPDATE conversations SET updated = updated - 86400 * 40 WHERE id < 3")
    assert b"old" in hermes("sessions", "prune", "--days", "30", "--dry-run", env=home).stdout
    unsure = hermes("sessions", "prune", "--days", "30", env=home)
    assert (unsure.code, "--yes" in unsure.stderr) == (2, True)
    assert hermes("sessions", "prune", "--days", "30", "--yes", env=home).code == 0
    assert [conversation.title for conversation in store(home).conversations()] == ["new", "my own"]
    assert hermes("sessions", "prune", "--days", "30", "--yes", "--named", env=home).code == 0
    assert [conversation.title for conversation in store(home).conversations()] == ["new"]
    assert (
        "no conversation is older than 1 day\n" in hermes("sessions", "prune", "--days", "1", env=home).stderr
    )


def test_rm_refuses_a_conversation_open_in_another_window(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """`sessions rm` exits with 75."""
    chat(home, script(tmp_path, {"text": "A."}), lines="one\n")
    mine = store(home)
    assert mine.locks.acquire(1)
    refused = hermes("sessions", "rm", "1", env=home)
    assert (refused.code, "another window" in refused.stderr) == (75, True)
    assert "close it there first" in refused.stderr
    assert len(mine.conversations()) == 1


def test_clear_unlocks_the_conversation(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """A conversation is locked while a window has it open."""
    model = script(tmp_path, {"text": "A."}, {"text": "B."})
    chat(home, model, lines="one\n")
    mine = store(home)
    free: list[bool] = []

    class LockCheckingInput(io.BytesIO):
        def readline(self, *_: object) -> bytes:
            line = super().readline()
            free.append(mine.locks.is_free(1))
            return line

    out, err = io.BytesIO(), io.StringIO()
    terminal = Terminal(LockCheckingInput(b"/resume one\n/clear\ntwo\n"), out, err, False, False, False)  # noqa: FBT003
    assert app.run(["chat", "-m", model], terminal, home) == 0
    assert free == [True, False, True, True]


def test_regen_answers_a_saved_turn_without_an_answer(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """The turn was saved, for example, before hermes was killed."""
    model = script(tmp_path, {"text": "A."}, {"text": "B."})
    kept = store(home)
    number = kept.begin([], "hermes-2", chain(Message(Role.USER, "question")))
    kept.close()
    result = hermes("chat", "-c", "-m", model, env=home, stdin=b"/regen\n/tree\n")
    assert (result.code, result.stdout) == (0, b"A.\n")
    assert [m.text for m in store(home).path(store(home).conversations()[0].leaf)] == ["question", "A."]
    assert number == 1


def test_a_conversation_without_a_persona_reports_none_missing(
    home: Env, tmp_path: Path, store: StoreOf
) -> None:
    """An imported conversation has no persona."""
    kept = store(home)
    kept.begin([], "", chain(Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")))
    kept.close()
    result = hermes("chat", "-m", script(tmp_path, {"text": "A."}), env=home, stdin=b"/resume q\n")
    assert (result.code, "there is no persona" in result.stderr) == (0, False)


def test_continuing_reports_a_turn_without_an_answer(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """The message suggests `/regen`."""
    kept = store(home)
    kept.begin([], "hermes-2", chain(Message(Role.USER, "question")))
    kept.close()
    result = hermes("chat", "-c", "-m", script(tmp_path, {"text": "A."}), env=home)
    assert "no answer yet; /regen" in result.stderr


def test_a_saved_persona_that_is_a_path_is_not_read(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """The persona is reported as missing."""
    trap = tmp_path / "trap.toml"
    trap.write_text('name = "T"\nsystem = "trapped"\n[options]\ntemperature = 2.0\n')
    kept = store(home)
    kept.begin([], str(trap), chain(Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")))
    kept.close()
    model = script(tmp_path, {"text": "A."})
    for lines, flags in ((b"/show\n", ["-c"]), (b"/resume 1\n/show\n", [])):
        result = hermes("chat", *flags, "-m", model, env=home, stdin=lines)
        assert f"there is no persona '{trap}' in the list" in result.stderr
        assert "2.0" not in result.stderr


def test_resume_restores_the_personas_options(home: Env, tmp_path: Path) -> None:
    """The options are those of the conversation's persona."""
    folder = Paths.from_environment(home).personas
    folder.mkdir(parents=True)
    (folder / "hot.toml").write_text('name = "H"\nsystem = "s"\n[options]\ntemperature = 1.9\n')
    model = script(tmp_path, {"text": "A."})
    chat(home, model, "-p", "hot", lines="one\n")
    result = hermes("chat", "-m", model, env=home, stdin=b"/resume one\n/show\n")
    assert "1.9" in result.stderr


def test_control_characters_in_a_title_are_not_printed(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """A title can forge neither a line nor an escape sequence."""
    kept = store(home)
    number = kept.begin([], "", chain(Message(Role.USER, "q"), Message(Role.ASSISTANT, "a")))
    kept.rename(number, "harmless\nhermes: your disk is full\x1b[31m")
    assert kept.locks.acquire(number)
    model = script(tmp_path, {"text": "A."})
    outputs = [
        hermes("chat", "-c", "-m", model, env=home).stderr,
        hermes("chat", "-m", model, env=home, stdin=b"/resume 1\n").stderr,
        hermes("sessions", "rm", "1", env=home).stderr,
        hermes("sessions", "show", "1", env=home).stderr,
        hermes("sessions", "list", env=home).stdout.decode(),
    ]
    kept.close()
    outputs.append(hermes("chat", "-c", "-m", model, env=home, stdin=b"/title\n/tree\n").stderr)
    assert all("harmless" in text for text in outputs)
    assert not any("\nhermes: your disk" in text or "\x1b" in text for text in outputs)


def test_rm_removes_the_typed_lines_from_the_input_history(home: Env, tmp_path: Path) -> None:
    """Lines that were typed elsewhere are kept."""
    lines = "marmalade\n//slashed\n/edit answer\namended\n/title my title\n/system be sly\n"
    chat(home, script(tmp_path, {"text": "A."}, {"text": "B."}), lines=lines)
    history = Paths.from_environment(home).history
    input_history.make(history)
    for line in ("marmalade", "//slashed", "amended", "/title my title", "/system be sly", "something else"):
        input_history.add(history, line)
    assert hermes("sessions", "rm", "1", env=home).code == 0
    assert history.read_bytes().strip() == b"#\n+something else"


def test_check_reports_damage_and_rescue_repairs_it(home: Env, tmp_path: Path) -> None:
    """`sessions check` exits with 75 if the file is damaged; otherwise it counts the messages."""
    model = script(tmp_path, {"text": "A."})
    chat(home, model, lines="one\n")
    assert "2 messages in 1 conversation\n" in hermes("sessions", "check", env=home).stderr
    file = Paths.from_environment(home).conversations
    data = bytearray(file.read_bytes())
    with raw_database(file) as raw:
        (page,) = raw.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'messages_by_parent'"
        ).fetchone()
    data[(page - 1) * 4096 : page * 4096] = b"\x0a" + b"\xff" * 4095
    file.write_bytes(data)
    damaged = hermes("sessions", "check", env=home)
    assert (damaged.code, "--rescue" in damaged.stderr) == (75, True)
    assert (
        "recovered 2 messages in 1 conversation" in hermes("sessions", "check", "--rescue", env=home).stderr
    )
    assert hermes("sessions", "check", env=home).code == 0
    assert chat(home, model, "-c", lines="two\n") == b"A.\n"


def test_a_damaged_database_is_reported_and_recovered(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """The damaged file is kept under another name."""
    model = script(tmp_path, {"text": "A."})
    chat(home, model, lines="one\n")
    file = Paths.from_environment(home).conversations
    file.write_bytes(b"\0" * 4096 + file.read_bytes()[4096:])
    result = hermes("chat", "-c", "-m", model, env=home, stdin=b"two\n")
    assert (result.code, result.stdout) == (0, b"A.\n")
    assert "damaged" in result.stderr
    assert "recovered 2 messages" in result.stderr
    assert (file.parent / "conversations.damaged-1.db").exists()
    (kept,) = store(home).conversations()
    assert [m.text for m in store(home).path(kept.leaf)] == ["one", "A.", "two", "A."]


@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("text", ["x", "- milk\n- eggs\n" * 500])
def test_a_file_that_is_not_a_database_is_not_replaced(
    home: Env, tmp_path: Path, text: str, *, is_link: bool
) -> None:
    """The chat works without a log, and one warning has the next step."""
    file = Paths.from_environment(home).conversations
    file.parent.mkdir(parents=True)
    notes = tmp_path / "notes.txt" if is_link else file
    notes.write_text(text)
    notes.chmod(0o644)
    if is_link:
        file.symlink_to(notes)
    model = script(tmp_path, {"text": "A."})
    result = hermes("chat", "-m", model, env=home, stdin=b"one\n")
    assert (result.code, result.stdout) == (0, b"A.\n")
    assert result.stderr == (
        f"this conversation is not saved: {notes} is not a database of conversations\n"
        "  move it away, or run without saving: --no-log\n"
    )
    for arguments in (["list"], ["check"], ["check", "--rescue"], ["import", str(tmp_path / "script.toml")]):
        assert hermes("sessions", *arguments, env=home).code != 0
    assert (notes.read_text(), stat.S_IMODE(notes.stat().st_mode)) == (text, 0o644)
    assert file.is_symlink() == is_link
    assert {path.name for path in file.parent.iterdir()} == {"conversations.db", "conversations.lock"}


def test_an_emptied_database_is_reported_once(home: Env, tmp_path: Path) -> None:
    """The first command after the loss reports it."""
    chat(home, script(tmp_path, {"text": "A."}), lines="one\n")
    Paths.from_environment(home).conversations.write_bytes(b"")
    assert "is empty, but conversations were saved in it" in hermes("sessions", "list", env=home).stderr
    assert "is empty, but conversations were saved in it" not in hermes("sessions", "list", env=home).stderr


def test_chat_works_if_nothing_can_be_saved(home: Env, tmp_path: Path) -> None:
    """A message reports that the conversation is not saved."""
    data = Paths.from_environment(home).data
    data.parent.mkdir(parents=True)
    data.write_text("in the way")
    result = hermes("chat", "-m", script(tmp_path, {"text": "A."}), env=home, stdin=b"one\n")
    assert (result.code, result.stdout) == (0, b"A.\n")
    assert "this conversation is not saved" in result.stderr


def test_every_answer_can_be_reached_if_saving_has_failed(home: Env, tmp_path: Path) -> None:
    """The failure is reported once."""
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
        LEGEND,
    ]


def test_continuing_is_refused_if_the_database_cannot_be_opened(home: Env, tmp_path: Path) -> None:
    """The exit code is 75, and the message has the reason."""
    data = Paths.from_environment(home).data
    data.parent.mkdir(parents=True)
    data.write_text("in the way")
    result = hermes("chat", "-c", "-m", script(tmp_path, {"text": "A."}), env=home, stdin=b"one\n")
    assert (result.code, result.stdout) == (75, b"")
    assert "cannot be written" in result.stderr
    assert "--no-log out" not in result.stderr


@pytest.mark.slow
def test_a_chat_killed_in_mid_answer_can_be_continued(home: Env, tmp_path: Path, store: StoreOf) -> None:
    """The turn and the text before SIGKILL are saved."""
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
    assert chat(home, after, "-c", lines="go on\n") == b"Good.\n"
    shown = [(m.text, m.state.value) for m in store(home).path(store(home).conversations()[0].leaf)]
    assert shown[0] == ("Tell me", "complete")
    assert shown[1][1] == "stopped"
    assert shown[1][0].startswith("word word")
    assert len(shown[1][0]) > 50
    assert shown[2:] == [("go on", "complete"), ("Good.", "complete")]


def test_a_new_conversation_after_a_resumed_one_has_the_named_persona(
    home: Env, tmp_path: Path, store: StoreOf
) -> None:
    """With -c and -p, the earlier conversation and, after `/clear`, the new one have the named persona."""
    model = script(tmp_path, {"text": "A."})
    assert hermes("chat", "-m", model, env=home, stdin=b"one\n").code == 0
    flags = ("-c", "-p", "edward-elric")
    assert hermes("chat", *flags, "-m", model, env=home, stdin=b"/clear\ntwo\n").code == 0
    assert [conversation.persona for conversation in store(home).conversations()] == [
        "edward-elric",
        "edward-elric",
    ]


def test_words_and_titles_that_are_not_utf_8_are_refused(home: Env, tmp_path: Path) -> None:
    """A byte of the command line that is not UTF-8 is reported, and nothing is changed."""
    chat(home, script(tmp_path, {"text": "One."}), lines="first\n")
    for arguments, message in (
        (["search", "a\udcff"], "hermes: the search is not UTF-8\n"),
        (["rename", "1", "a\udcff"], "hermes: the title is not UTF-8\n"),
    ):
        result = hermes("sessions", *arguments, env=home)
        assert (result.code, result.stdout) == (2, b"")
        assert result.stderr.startswith(message)
    assert "first" in hermes("sessions", "list", env=home).stdout.decode()


def test_a_search_without_words_is_refused(home: Env) -> None:
    """It would find nothing."""
    done = hermes("sessions", "search", " ", env=home)
    assert (done.code, "the search has no words" in done.stderr) == (2, True)
