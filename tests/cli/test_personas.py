"""`hermes personas list`, `show`, `new`, `edit` and `check`."""

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.config import Paths
from tests.run_hermes import hermes, script

Env = Mapping[str, str]
SERA = """
name = "Seraphina"
nickname = "Sera"
character = "A guardian of the glade."
greeting = "You are safe, {{user}}."
greetings = ["Hush."]
creator_notes = "Made at night.\\nFor you."
worlds = ["eldoria", "gone"]
[note]
text = "Short answers."
depth = 1
[[examples]]
user = "Who?"
assistant = "I."
[[lore]]
keys = ["glade"]
content = "Old trees."
[[lore]]
keys = ["/(/"]
content = "Never."
"""


@pytest.fixture
def persona_home(home: Env) -> Env:
    """A home with the user's persona and lorebook."""
    paths = Paths.from_environment(home)
    for folder, name, text in (
        (paths.personas, "sera.toml", SERA),
        (
            paths.lore,
            "eldoria.toml",
            '[[lore]]\\ncontent = "A hall."\\nconstant = true\\n'.replace("\\n", "\n"),
        ),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return home


def editor(folder: Path, command: str) -> str:
    """Write an editor that runs a command on its file, and return its path."""
    path = folder / "editor"
    path.write_text(f'#!/bin/sh\n{command} "$1"\n')
    path.chmod(0o755)
    return str(path)


def test_list_prints_every_persona_and_broken_file(persona_home: Env) -> None:
    """A persona has its notes and its file, a broken file its error."""
    (Paths.from_environment(persona_home).personas / "bad.toml").write_text("name = ")
    listed = hermes("personas", "list", env=persona_home).stdout.decode().splitlines()
    assert [line.split()[0] for line in listed] == [
        *("bad", "edward-elric", "gourmet-cook", "hermes-2"),
        *("programming-partner", "sera", "story-narrator"),
    ]
    assert "broken: " in listed[0]
    assert "Made at night." in listed[5]
    assert "sera.toml" in listed[5]


def test_show_prints_every_part_of_a_persona(persona_home: Env) -> None:
    """Its lore is printed, too, and a missing lorebook is reported."""
    result = hermes("personas", "show", "sera", env=persona_home)
    shown = result.stdout.decode()
    for part in (
        "nickname  Sera\n",
        "[character]\nA guardian of the glade.\n",
        "[greeting 1 of 2]\nYou are safe, {{user}}.\n",
        "[greeting 2 of 2]\nHush.\n",
        "[example 1, you]\nWho?\n",
        "[note, 1 turn from the end]\nShort answers.\n",
        "[creator's notes, never sent to the model]\nMade at night.\nFor you.\n",
        "[lorebook, 2 entries]\nglade  glade  Old trees.\n",
        "[lorebook, 1 entry]\nA hall.  always  A hall.\n",
    ):
        assert part in shown
    assert "there is no world 'gone'" in result.stderr
    assert hermes("personas", "show", "nobody", env=persona_home).code == 78


def test_creator_notes_are_not_in_the_prompt(persona_home: Env, tmp_path: Path) -> None:
    """The rest of the persona is in the prompt."""
    model = script(tmp_path, {"text": "Hello."})
    result = hermes("chat", "-m", model, "-p", "sera", env=persona_home, stdin=b"Hi glade\n/show prompt\n")
    assert result.code == 0
    assert "A guardian of the glade." in result.stderr
    assert "Made at night" not in result.stderr


def test_a_new_persona_can_be_played_at_once(home: Env, tmp_path: Path) -> None:
    """`personas new` writes a private file, and overwrites one only with --force."""
    made = hermes("personas", "new", "Captain  Nemo", env=home)
    path = Paths.from_environment(home).personas / "captain-nemo.toml"
    assert (made.code, made.stdout.decode()) == (0, f"{path}\n")
    assert "hermes chat -p captain-nemo" in made.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    model = script(tmp_path, {"text": "Aye."})
    chat = hermes("chat", "-m", model, "-p", "captain-nemo", env=home, stdin=b"Hello\n")
    assert chat.stdout.endswith(b"Aye.\n")
    assert hermes("personas", "check", "captain-nemo", "-m", model, env=home).code == 0

    path.write_text("system = 'mine'")
    again = hermes("personas", "new", "captain nemo", env=home)
    assert (again.code, path.read_text()) == (2, "system = 'mine'")
    assert "hermes personas edit captain-nemo" in again.stderr
    assert hermes("personas", "new", "captain nemo", "--force", env=home).code == 0
    assert 'name = "captain nemo"' in path.read_text()
    assert hermes("personas", "new", " ", env=home).code == 2


def test_edit_changes_the_users_file_in_place(persona_home: Env, tmp_path: Path) -> None:
    """Problems of the saved file are reported."""
    env = {**persona_home, "EDITOR": editor(tmp_path, "sed -i s/Hush/Shh/")}
    result = hermes("personas", "edit", "sera", env=env)
    assert result.code == 0
    path = Paths.from_environment(env).personas / "sera.toml"
    assert path.read_text() == SERA.replace("Hush", "Shh")
    assert "there is no world 'gone'" in result.stderr
    assert "the entry '/(/' never fires" in result.stderr
    assert "hermes chat -p sera" in result.stderr


def test_edit_reports_a_mistake_in_the_saved_file(persona_home: Env, tmp_path: Path) -> None:
    """VISUAL takes precedence over EDITOR."""
    env = {**persona_home, "VISUAL": editor(tmp_path, "sed -i s/greeting/greting/"), "EDITOR": "false"}
    result = hermes("personas", "edit", "sera", env=env)
    assert (result.code, "did you mean 'greeting'?" in result.stderr) == (78, True)


def test_edit_of_a_shipped_persona_edits_a_copy(home: Env, tmp_path: Path) -> None:
    """The copy is in the user's folder."""
    env = {**home, "EDITOR": editor(tmp_path, "sed -i s/fifteen/sixteen/")}
    result = hermes("personas", "edit", "edward-elric", env=env)
    assert (result.code, "comes with hermes; copied it" in result.stderr) == (0, True)
    copy = Paths.from_environment(env).personas / "edward-elric.toml"
    assert copy.read_text().startswith("# The Fullmetal Alchemist")
    assert b"sixteen" in hermes("personas", "list", env=env).stdout
    assert "comes with hermes; copied it" not in hermes("personas", "edit", "edward-elric", env=env).stderr


@pytest.mark.parametrize(
    ("name", "words"), [("false", "exited with 1"), ("/no/such", "no such file"), ('"', "the editor's name")]
)
def test_an_editor_that_fails_is_reported(persona_home: Env, name: str, words: str) -> None:
    """The editor exits with an error or cannot be run; the exit code is 2."""
    result = hermes("personas", "edit", "sera", env={**persona_home, "EDITOR": name, "VISUAL": ""})
    assert (result.code, words in result.stderr) == (2, True)


def test_check_counts_tokens_with_the_models_tokenizer(persona_home: Env, tmp_path: Path) -> None:
    """-m selects the model."""
    model = script(tmp_path, {"text": "x"}, context_size=2000)
    result = hermes("personas", "check", "sera", "-m", model, "--context", "2000", env=persona_home)
    assert result.code == 0
    rows = {line[:15].strip(): line[15:].split() for line in result.stdout.decode().splitlines()}
    # Each token of the scripted engine is one character; a turn adds its role, two marks and two newlines.
    assert rows["lore, constant"][0] == str(len("A hall.") + len("system\n") + 3)
    assert rows["greetings"][0] == str(len("You are safe, User.") + len("Hush.") + 2 * (len("system\n") + 3))
    assert "scripted" in result.stderr
    assert "context: 2,000" in result.stderr


def test_check_prints_problems_and_exits_0(persona_home: Env) -> None:
    """Without -m the token counts are an estimate."""
    result = hermes("personas", "check", "sera", env=persona_home)
    report = result.stdout.decode()
    assert result.code == 0
    assert "there is no world 'gone' in the lore folder\n" in report
    assert "the key /(/ is ignored: it is not a regular expression" in report
    assert "the entry '/(/' never fires: none of its keys is valid\n" in report
    assert "tokens: estimated, one per four bytes" in result.stderr
    assert "3 problems" in result.stderr


def test_check_reports_a_prompt_that_is_too_long(persona_home: Env) -> None:
    """The limit is the size of the context window."""
    report = hermes("personas", "check", "sera", "--context", "40", env=persona_home).stdout.decode()
    assert "the fixed parts of the prompt take" in report


def test_check_accepts_a_lorebook(persona_home: Env, tmp_path: Path) -> None:
    """The lorebook is named or given as a path."""
    result = hermes("personas", "check", "eldoria", env=persona_home)
    assert (result.code, result.stdout.split()[:1]) == (0, [b"lore"])
    assert "no problems found" in result.stderr
    path = tmp_path / "w.toml"
    path.write_text("[[lore]]\ncontent = 'x'\n")
    assert b"never fires: it has no key" in hermes("personas", "check", str(path), env=persona_home).stdout


def test_check_exits_78_for_a_broken_or_missing_persona(persona_home: Env, tmp_path: Path) -> None:
    """The message has the reason."""
    path = tmp_path / "x.toml"
    path.write_text("greting = 'x'")
    result = hermes("personas", "check", str(path), env=persona_home)
    assert (result.code, "did you mean 'greeting'?" in result.stderr) == (78, True)
    assert hermes("personas", "check", "nobody", env=persona_home).code == 78
