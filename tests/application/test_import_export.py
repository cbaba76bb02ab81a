"""`hermes sessions export` and `import`, and the files that they write and read."""

import json
import stat
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from hermes_cli.formats import registry
from hermes_cli.store.store import Store
from tests.database import raw_database
from tests.formats.trees import sample
from tests.run_hermes import hermes, script

Env = Mapping[str, str]


@pytest.fixture
def two_chats(home: Env, tmp_path: Path) -> Env:
    """A home with two conversations; the first has a second answer and a branch."""
    model = script(tmp_path, {"text": "One.\u2028"}, {"text": "Two."}, {"text": "Three."})
    for lines in ("first\n/regen\nmore\n/undo\n", "second\n"):
        assert hermes("chat", "-m", model, env=home, stdin=lines.encode()).code == 0
    return home


def titles(env: Env) -> list[str]:
    """Return the titles of the stored conversations, oldest first."""
    with closing(Store(Paths.from_environment(env).conversations)) as store:
        return [
            conversation.title
            for conversation in sorted(store.conversations(), key=lambda conversation: conversation.id)
        ]


@pytest.mark.parametrize("file_format", registry.FORMATS, ids=lambda file_format: file_format.name)
def test_an_exported_file_is_private_and_can_be_imported_again(
    two_chats: Env, tmp_path: Path, file_format: registry.ConversationFormat
) -> None:
    """The imported conversation has the same visible messages in every format."""
    file = tmp_path / f"chat{file_format.ending}"
    result = hermes("sessions", "export", "first", "-o", str(file), env=two_chats)
    assert (result.code, result.stdout) == (0, b"")
    assert f"1 conversation written to {file}: {file_format.name}" in result.stderr
    assert ("json has them" in result.stderr) == (file_format.name != "json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    same = hermes("sessions", "export", "first", "--format", file_format.name, env=two_chats).stdout
    assert same == file.read_bytes()

    known = hermes("sessions", "import", str(file), env=two_chats)
    assert (known.code, known.stdout, "already saved as 1: first" in known.stderr) == (0, b"", True)
    result = hermes("sessions", "import", str(file), "--again", env=two_chats)
    assert (result.code, result.stdout.split()[0]) == (0, b"3")
    assert f"{file}: {file_format.name}, {file_format.sign}\n1 conversation imported" in result.stderr
    assert titles(two_chats) == ["first", "second", "first"]
    shown = hermes("sessions", "show", "3", env=two_chats)
    assert shown.stdout == hermes("sessions", "show", "1", env=two_chats).stdout
    assert b"[assistant]\nTwo.\n" in shown.stdout
    assert hermes("sessions", "search", "first", env=two_chats).stdout.count(b"first") >= 4


def test_export_all_and_import_copy_every_conversation(two_chats: Env, tmp_path: Path) -> None:
    """The json format loses nothing."""
    written = hermes("sessions", "export", "--all", "--format", "json", env=two_chats).stdout
    other = {**two_chats, "OPENHERMES_HOME": str(tmp_path / "other")}
    result = hermes("sessions", "import", "-", env=other, stdin=written)
    assert (result.code, len(result.stdout.splitlines())) == (0, 2)
    assert "standard input: json, it has the key hermes_conversations" in result.stderr
    again = hermes("sessions", "export", "2", "1", "--format", "json", env=other).stdout
    assert json.loads(again)["conversations"] == json.loads(written)["conversations"][::-1]
    for name in ("sharegpt", "openai"):
        assert hermes("sessions", "export", "--all", "--format", name, env=two_chats).stdout.count(b"\n") == 2


def test_an_imported_conversation_can_be_continued(home: Env, tmp_path: Path) -> None:
    """The file comes from SillyTavern."""
    file = tmp_path / "chat.jsonl"
    file.write_text(sample("sillytavern.jsonl"))
    result = hermes("sessions", "import", str(file), env=home)
    assert f"{file}: messages hidden from the model: 1; /tree shows them" in result.stderr
    model = script(tmp_path, {"text": "Away."})
    lines = b"And you?\n/undo\n/tree\n/show prompt\n"
    result = hermes("chat", "-m", model, "-c", env=home, stdin=lines)
    assert (result.code, result.stdout) == (0, b"Away.\n")
    assert ">    8     it: Night falls." in result.stderr
    assert "<|im_start|>system\nStay in Eldoria.<|im_end|>\n<|im_start|>assistant\nWelcome." in result.stderr


@pytest.mark.parametrize("file_format", registry.FORMATS, ids=lambda file_format: file_format.name)
def test_a_character_has_the_same_prompt_after_export_and_import(
    home: Env, tmp_path: Path, file_format: registry.ConversationFormat
) -> None:
    """The prompt includes the persona's examples and greeting, in every format."""
    file, model = tmp_path / f"ed{file_format.ending}", script(tmp_path, {"text": "Hm."}, {"text": "Ha."})
    lines = b"Hello\n/show prompt\n"
    before = hermes("chat", "-m", model, "-p", "gourmet-cook", env=home, stdin=lines)
    assert hermes("sessions", "export", "1", "-o", str(file), env=home).code == 0
    other = {**home, "OPENHERMES_HOME": str(tmp_path / "other")}
    assert hermes("sessions", "import", str(file), env=other).code == 0
    after = hermes("chat", "-m", model, "-c", env=other, stdin=b"more\n/undo\n/show prompt\n")
    prompt = before.stderr[before.stderr.index("<|im_start|>") :]
    assert after.stderr[after.stderr.index("<|im_start|>") :] == prompt


def test_an_answer_after_a_hidden_message_is_generated_again(home: Env, tmp_path: Path) -> None:
    """The hidden message stands between the user's turn and the answer."""
    hermes("sessions", "import", "-", env=home, stdin=sample("sillytavern.jsonl").encode())
    model = script(tmp_path, {"text": "A hare."})
    result = hermes("chat", "-m", model, "-c", env=home, stdin=b"/goto 6\n/regen\n")
    assert (result.code, result.stdout) == (0, b"A hare.\n")


def test_an_export_reports_hidden_messages_that_it_does_not_mark(two_chats: Env, tmp_path: Path) -> None:
    """In a file and on standard output."""
    model = script(tmp_path, {"text": "Three."})
    hermes("chat", "-r", "1", "-m", model, env=two_chats, stdin=b"/hide 1\n")
    for kind in registry.FORMATS:
        printed = hermes("sessions", "export", "1", "--format", kind.name, env=two_chats)
        file = tmp_path / f"chat{kind.ending}"
        saved = hermes("sessions", "export", "1", "-o", str(file), env=two_chats)
        is_marked = kind.name in {"json", "sillytavern"}
        for result in (printed, saved):
            assert ("1 hidden message is not marked" in result.stderr) != is_marked
        other = {**two_chats, "OPENHERMES_HOME": str(tmp_path / f"other-{kind.name}")}
        hermes("sessions", "import", str(file), env=other)
        shown = hermes("chat", "-c", "-m", model, env=other, stdin=b"/tree\n").stderr
        assert ("you (hidden): first" in shown) == is_marked


def test_a_conversation_is_imported_once(home: Env, tmp_path: Path) -> None:
    """It is recognized by its messages, also if it was renamed or continued, unless --again is given."""
    file, model = tmp_path / "chat.jsonl", script(tmp_path, {"text": "Away."})
    file.write_text(sample("sillytavern.jsonl"))
    first = hermes("sessions", "import", str(file), env=home)
    assert (first.code, first.stdout.split()[:3]) == (0, [b"1", b"5", b"messages"])
    assert hermes("chat", "-c", "-m", model, env=home, stdin=b"And you?\n").code == 0
    assert hermes("sessions", "rename", "1", "mine", env=home).code == 0
    second = hermes("sessions", "import", str(file), env=home)
    assert (second.code, second.stdout) == (0, b"")
    assert "already imported as 1: " in second.stderr
    assert second.stderr.endswith("0 conversations imported; --again imports the others once more\n")
    third = hermes("sessions", "import", str(file), "--again", env=home)
    assert third.stdout.split()[0] == b"2"
    assert hermes("sessions", "rm", "1", "2", env=home).code == 0
    assert hermes("sessions", "import", str(file), env=home).stdout.split()[0] == b"3"


def test_an_earlier_part_of_a_saved_conversation_is_not_imported(two_chats: Env, tmp_path: Path) -> None:
    """The conversation has grown on another branch, and was renamed. A longer one is imported."""
    file, model = tmp_path / "chat.json", script(tmp_path, {"text": "Four."}, {"text": "Five."})
    hermes("sessions", "export", "first", "-o", str(file), env=two_chats)
    hermes("chat", "-r", "first", "-m", model, env=two_chats, stdin=b"/regen\nmore\n")
    hermes("sessions", "rename", "1", "mine", env=two_chats)
    result = hermes("sessions", "import", str(file), env=two_chats)
    assert (result.stdout, "already saved as 1: " in result.stderr) == (b"", True)
    hermes("sessions", "export", "mine", "-o", str(tmp_path / "longer.json"), env=two_chats)
    other = {**two_chats, "OPENHERMES_HOME": str(tmp_path / "other")}
    for name in (file, tmp_path / "longer.json"):
        assert "1 conversation imported\n" in hermes("sessions", "import", str(name), env=other).stderr


def test_a_conversation_that_a_file_has_twice_is_imported_once(home: Env) -> None:
    """One line reports it."""
    line = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}) + "\n"
    result = hermes("sessions", "import", "-", env=home, stdin=3 * line.encode())
    assert (result.code, len(result.stdout.splitlines())) == (0, 1)
    assert result.stderr.count("twice in this import: Hi\n") == 2
    again = hermes("sessions", "import", "--again", "-", env=home, stdin=2 * line.encode())
    assert len(again.stdout.splitlines()) == 2


def test_a_file_that_differs_is_imported(home: Env, tmp_path: Path) -> None:
    """One changed word makes another conversation."""
    for text in ("Hello", "Hello there"):
        (tmp_path / "a.jsonl").write_text(
            json.dumps({"messages": [{"role": "user", "content": text}]}) + "\n"
        )
        assert (
            "1 conversation imported\n"
            in hermes("sessions", "import", str(tmp_path / "a.jsonl"), env=home).stderr
        )


def test_nothing_is_imported_if_one_file_is_broken(two_chats: Env, tmp_path: Path) -> None:
    """The message names the file and the line."""
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(sample("sharegpt.jsonl"))
    bad.write_text(sample("sharegpt.jsonl") + '{"conversations": [{"from": "ai\x1b[2J", "value": "x"}]}\n')
    result = hermes("sessions", "import", str(good), str(bad), env=two_chats)
    assert (result.code, result.stdout) == (1, b"")
    assert f"{bad}, line 4: is not JSON" in result.stderr
    assert "nothing was imported" in result.stderr
    assert "\x1b" not in result.stderr
    assert titles(two_chats) == ["first", "second"]
    missing = hermes("sessions", "import", str(good), str(tmp_path / "none"), env=two_chats)
    assert (missing.code, "there is no file" in missing.stderr) == (2, True)
    assert titles(two_chats) == ["first", "second"]
    assert hermes("sessions", "import", str(good), "--format", "sharegpt", env=two_chats).code == 0
    assert titles(two_chats) == ["first", "second", "identity_0", "Hi", "a"]


def test_check_removes_an_unfinished_import(two_chats: Env) -> None:
    """Until then, no command shows it."""
    with raw_database(Paths.from_environment(two_chats).conversations) as raw:
        raw.execute("UPDATE conversations SET is_importing = 1 WHERE id = 2")
    assert titles(two_chats) == ["first"]
    assert hermes("sessions", "show", "2", env=two_chats).code == 2
    assert hermes("sessions", "search", "second", env=two_chats).stdout == b""
    checked = hermes("sessions", "check", env=two_chats)
    assert checked.stderr.startswith("removed 1 conversation of an unfinished import\nno damage found")
    assert "unfinished" not in hermes("sessions", "check", env=two_chats).stderr


def test_export_overwrites_a_file_only_with_force(two_chats: Env, tmp_path: Path) -> None:
    """If the path is a folder, the file is named by the title."""
    file = tmp_path / "a.md"
    file.write_text("theirs")
    refused = hermes("sessions", "export", "1", "-o", str(file), env=two_chats)
    assert (refused.code, file.read_text()) == (2, "theirs")
    assert "--force" in refused.stderr
    assert hermes("sessions", "export", "1", "-o", str(file), "--force", env=two_chats).code == 0
    assert file.read_text().startswith("<!-- hermes ")
    nowhere = hermes("sessions", "export", "1", "-o", str(tmp_path / "no" / "a.md"), env=two_chats)
    assert (nowhere.code, "cannot be written: No such file or directory" in nowhere.stderr) == (1, True)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert hermes("sessions", "export", "1", "-o", str(folder), env=two_chats).code == 0
    assert [path.name for path in folder.iterdir()] == ["first.md"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export"], "name the conversations, or use --all"),
        (["export", "1", "--all"], "name the conversations, or use --all"),
        (["export", "--all"], "markdown can hold one conversation, not 2"),
        (["export", "1", "2", "--format", "fastchat"], "json, sharegpt, openai"),
        (["export", "1", "--format", "docx"], "there is no format 'docx'"),
        (["export", "1", "-o", "x.jsonl"], "sillytavern or sharegpt or openai"),
        (["export", "nobody"], "no conversation 'nobody'"),
        (["import", "x", "--format", "docx"], "there is no format 'docx'"),
    ],
)
def test_an_incomplete_or_ambiguous_command_line_is_refused(
    two_chats: Env, arguments: list[str], words: str
) -> None:
    """The exit code is 2."""
    result = hermes("sessions", *arguments, env=two_chats)
    assert (result.code, result.stdout) == (2, b"")
    assert words in " ".join(result.stderr.split())


def test_a_conversation_without_visible_turns_is_not_exported(two_chats: Env, tmp_path: Path) -> None:
    """With --all only the json format contains it."""
    hermes("chat", "-m", script(tmp_path, {"text": "x"}), "-r", "2", env=two_chats, stdin=b"/undo\n")
    alone = hermes("sessions", "export", "2", env=two_chats)
    assert (alone.code, "its first turn was undone" in alone.stderr) == (1, True)
    openai_export = hermes("sessions", "export", "--all", "--format", "openai", env=two_chats)
    assert (openai_export.code, openai_export.stdout.count(b"\n")) == (0, 1)
    assert "left out 1 conversation" in openai_export.stderr
    json_export = hermes("sessions", "export", "--all", "--format", "json", env=two_chats)
    assert len(json_export.json["conversations"]) == 2


def test_the_help_lists_every_format(home: Env, capsys: pytest.CaptureFixture[str]) -> None:
    """This is the help of `export` and of `import`."""
    for verb in ("export", "import"):
        assert hermes("sessions", verb, "--help", env=home).code == 0
        shown = capsys.readouterr().out
        assert all(f"{file_format.name}:" in shown for file_format in registry.FORMATS)
