"""`hermes sessions export` and `import`, and the files that they write and read."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from hermes_cli.formats import registry
from hermes_cli.store.store import Store
from tests.formats.trees import sample
from tests.run_hermes import hermes, script

Env = Mapping[str, str]


@pytest.fixture
def told(home: Env, tmp_path: Path) -> Env:
    """A home with two conversations; the first has a second answer and a branch."""
    model = script(tmp_path, {"text": "One.\u2028"}, {"text": "Two."}, {"text": "Three."})
    for lines in ("first\n/regen\nmore\n/undo\n", "second\n"):
        assert hermes("chat", "-m", model, env=home, stdin=lines.encode()).code == 0
    return home


def titles(env: Env) -> list[str]:
    """Return the titles of the stored conversations, oldest first."""
    store = Store(Paths.from_environment(env).conversations)
    found = [one.title for one in sorted(store.conversations(), key=lambda one: one.id)]
    store.close()
    return found


@pytest.mark.parametrize("known", registry.FORMATS, ids=lambda known: known.name)
def test_out_and_in_again(told: Env, tmp_path: Path, known: registry.ConversationFormat) -> None:
    """In every format an exported conversation is a private file that can be imported again."""
    file = tmp_path / f"chat{known.ending}"
    result = hermes("sessions", "export", "first", "-o", str(file), env=told)
    assert (result.code, result.stdout) == (0, b"")
    assert f"1 conversation written to {file}: {known.name}" in result.stderr
    assert ("json has them" in result.stderr) == (known.name != "json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    same = hermes("sessions", "export", "first", "--format", known.name, env=told).stdout
    assert same == file.read_bytes()

    result = hermes("sessions", "import", str(file), env=told)
    assert (result.code, result.stdout.split()[0]) == (0, b"3")
    assert f"{file}: {known.name}, {known.sign}\n1 conversation imported" in result.stderr
    assert titles(told) == ["first", "second", "first"]
    shown = hermes("sessions", "show", "3", env=told)
    assert shown.stdout == hermes("sessions", "show", "1", env=told).stdout
    assert b"[assistant]\nTwo.\n" in shown.stdout
    assert hermes("sessions", "search", "first", env=told).stdout.count(b"first") >= 4


def test_a_whole_home_moves(told: Env, tmp_path: Path) -> None:
    """--all with json moves every conversation to another home with nothing lost."""
    written = hermes("sessions", "export", "--all", "--format", "json", env=told).stdout
    other = {**told, "OPENHERMES_HOME": str(tmp_path / "other")}
    result = hermes("sessions", "import", "-", env=other, stdin=written)
    assert (result.code, len(result.stdout.splitlines())) == (0, 2)
    assert "standard input: json, it has the key hermes_conversations" in result.stderr
    again = hermes("sessions", "export", "2", "1", "--format", "json", env=other).stdout
    assert json.loads(again)["conversations"] == json.loads(written)["conversations"][::-1]
    for name in ("sharegpt", "openai"):
        assert hermes("sessions", "export", "--all", "--format", name, env=told).stdout.count(b"\n") == 2


def test_an_imported_conversation_goes_on(home: Env, tmp_path: Path) -> None:
    """A conversation imported from SillyTavern can be continued."""
    file = tmp_path / "chat.jsonl"
    file.write_text(sample("sillytavern.jsonl"))
    result = hermes("sessions", "import", str(file), env=home)
    assert f"{file}: messages that SillyTavern hides from the model are left out: 1" in result.stderr
    model = script(tmp_path, {"text": "Away."})
    lines = b"And you?\n/undo\n/tree\n/show prompt\n"
    result = hermes("chat", "-m", model, "-c", env=home, stdin=lines)
    assert (result.code, result.stdout) == (0, b"Away.\n")
    assert ">    7     it: Night falls." in result.stderr
    assert "<|im_start|>system\nStay in Eldoria.<|im_end|>\n<|im_start|>assistant\nWelcome." in result.stderr


@pytest.mark.parametrize("known", registry.FORMATS, ids=lambda known: known.name)
def test_a_character_with_examples_and_a_greeting_moves(
    home: Env, tmp_path: Path, known: registry.ConversationFormat
) -> None:
    """After export and import in any format, a character has the same prompt, examples included."""
    file, model = tmp_path / f"ed{known.ending}", script(tmp_path, {"text": "Hm."}, {"text": "Ha."})
    lines = b"Hello\n/show prompt\n"
    before = hermes("chat", "-m", model, "-p", "gourmet-cook", env=home, stdin=lines)
    assert hermes("sessions", "export", "1", "-o", str(file), env=home).code == 0
    other = {**home, "OPENHERMES_HOME": str(tmp_path / "other")}
    assert hermes("sessions", "import", str(file), env=other).code == 0
    after = hermes("chat", "-m", model, "-c", env=other, stdin=b"more\n/undo\n/show prompt\n")
    prompt = before.stderr[before.stderr.index("<|im_start|>") :]
    assert after.stderr[after.stderr.index("<|im_start|>") :] == prompt


def test_one_mistake_and_nothing_is_imported(told: Env, tmp_path: Path) -> None:
    """If one file or line is wrong, it is named and nothing is imported."""
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(sample("sharegpt.jsonl"))
    bad.write_text(sample("sharegpt.jsonl") + '{"conversations": [{"from": "ai\x1b[2J", "value": "x"}]}\n')
    result = hermes("sessions", "import", str(good), str(bad), env=told)
    assert (result.code, result.stdout) == (1, b"")
    assert f"{bad}, line 4: is not JSON" in result.stderr
    assert "nothing was imported" in result.stderr
    assert "\x1b" not in result.stderr
    assert titles(told) == ["first", "second"]
    missing = hermes("sessions", "import", str(good), str(tmp_path / "none"), env=told)
    assert (missing.code, "there is no file" in missing.stderr) == (2, True)
    assert titles(told) == ["first", "second"]
    assert hermes("sessions", "import", str(good), "--format", "sharegpt", env=told).code == 0
    assert titles(told) == ["first", "second", "identity_0", "Hi", "a"]


def test_a_file_that_is_there_stays(told: Env, tmp_path: Path) -> None:
    """An export overwrites a file only with --force; in a folder it names the file by the title."""
    file = tmp_path / "a.md"
    file.write_text("theirs")
    refused = hermes("sessions", "export", "1", "-o", str(file), env=told)
    assert (refused.code, file.read_text()) == (2, "theirs")
    assert "--force" in refused.stderr
    assert hermes("sessions", "export", "1", "-o", str(file), "--force", env=told).code == 0
    assert file.read_text().startswith("<!-- hermes ")
    nowhere = hermes("sessions", "export", "1", "-o", str(tmp_path / "no" / "a.md"), env=told)
    assert (nowhere.code, "cannot be written: No such file or directory" in nowhere.stderr) == (1, True)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert hermes("sessions", "export", "1", "-o", str(folder), env=told).code == 0
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
def test_what_was_not_said_clearly(told: Env, arguments: list[str], words: str) -> None:
    """An incomplete or ambiguous command line is refused with exit code 2."""
    result = hermes("sessions", *arguments, env=told)
    assert (result.code, result.stdout) == (2, b"")
    assert words in " ".join(result.stderr.split())


def test_a_conversation_that_was_undone_to_its_beginning(told: Env, tmp_path: Path) -> None:
    """A conversation without visible turns is not exported alone; with --all only json holds it."""
    hermes("chat", "-m", script(tmp_path, {"text": "x"}), "-r", "2", env=told, stdin=b"/undo\n")
    alone = hermes("sessions", "export", "2", env=told)
    assert (alone.code, "its first turn was undone" in alone.stderr) == (1, True)
    every = hermes("sessions", "export", "--all", "--format", "openai", env=told)
    assert (every.code, every.stdout.count(b"\n")) == (0, 1)
    assert "left out 1 conversation" in every.stderr
    whole = hermes("sessions", "export", "--all", "--format", "json", env=told)
    assert len(whole.json["conversations"]) == 2


def test_the_help_lists_every_format(home: Env, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of `export` and of `import` lists every format."""
    for verb in ("export", "import"):
        assert hermes("sessions", verb, "--help", env=home).code == 0
        shown = capsys.readouterr().out
        assert all(f"{known.name}:" in shown for known in registry.FORMATS)
