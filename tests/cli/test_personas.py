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
def mine(home: Env) -> Env:
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


def editor(folder: Path, does: str) -> str:
    """Return an editor that runs a command on the file it is given."""
    path = folder / "editor"
    path.write_text(f'#!/bin/sh\n{does} "$1"\n')
    path.chmod(0o755)
    return str(path)


def test_the_list_says_what_there_is(mine: Env) -> None:
    """`personas list` lists every persona with its notes and file, and a broken one with its error."""
    (Paths.from_environment(mine).personas / "bad.toml").write_text("name = ")
    listed = hermes("personas", "list", env=mine).stdout.decode().splitlines()
    assert [line.split()[0] for line in listed] == [
        *("bad", "edward-elric", "gourmet-cook", "hermes-2"),
        *("programming-partner", "sera", "story-narrator"),
    ]
    assert "broken: " in listed[0]
    assert "Made at night." in listed[5]
    assert "sera.toml" in listed[5]


def test_a_persona_is_shown_whole(mine: Env) -> None:
    """`personas show` prints every part of a persona with its lore, and names a lorebook that is missing."""
    result = hermes("personas", "show", "sera", env=mine)
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
    assert hermes("personas", "show", "nobody", env=mine).code == 78


def test_what_the_maker_says_is_never_sent(mine: Env, tmp_path: Path) -> None:
    """The creator's notes are not in the prompt."""
    model = script(tmp_path, {"text": "Hello."})
    result = hermes("chat", "-m", model, "-p", "sera", env=mine, stdin=b"Hi glade\n/show prompt\n")
    assert result.code == 0
    assert "A guardian of the glade." in result.stderr
    assert "Made at night" not in result.stderr


def test_a_new_persona_plays_as_it_stands(home: Env, tmp_path: Path) -> None:
    """`personas new` writes a private file that can be played at once, and overwrites only with --force."""
    made = hermes("personas", "new", "Captain  Nemo", env=home)
    path = Paths.from_environment(home).personas / "captain-nemo.toml"
    assert (made.code, made.stdout.decode()) == (0, f"{path}\n")
    assert "hermes chat -p captain-nemo" in made.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    model = script(tmp_path, {"text": "Aye."})
    talked = hermes("chat", "-m", model, "-p", "captain-nemo", env=home, stdin=b"Hello\n")
    assert talked.stdout.endswith(b"Aye.\n")
    assert hermes("personas", "check", "captain-nemo", "-m", model, env=home).code == 0

    path.write_text("system = 'mine'")
    again = hermes("personas", "new", "captain nemo", env=home)
    assert (again.code, path.read_text()) == (2, "system = 'mine'")
    assert "hermes personas edit captain-nemo" in again.stderr
    assert hermes("personas", "new", "captain nemo", "--force", env=home).code == 0
    assert 'name = "captain nemo"' in path.read_text()
    assert hermes("personas", "new", " ", env=home).code == 2


def test_ones_own_file_is_edited_in_its_place(mine: Env, tmp_path: Path) -> None:
    """`personas edit` changes the user's file in place and reports what is wrong with it."""
    env = {**mine, "EDITOR": editor(tmp_path, "sed -i s/Hush/Shh/")}
    result = hermes("personas", "edit", "sera", env=env)
    assert result.code == 0
    path = Paths.from_environment(env).personas / "sera.toml"
    assert path.read_text() == SERA.replace("Hush", "Shh")
    assert "there is no world 'gone'" in result.stderr
    assert "the entry '/(/' never fires" in result.stderr
    assert "hermes chat -p sera" in result.stderr


def test_a_mistake_is_told_behind_the_editor(mine: Env, tmp_path: Path) -> None:
    """A mistake in the edited file is reported when the editor ends; VISUAL precedes EDITOR."""
    env = {**mine, "VISUAL": editor(tmp_path, "sed -i s/greeting/greting/"), "EDITOR": "false"}
    result = hermes("personas", "edit", "sera", env=env)
    assert (result.code, "did you mean 'greeting'?" in result.stderr) == (78, True)


def test_a_shipped_persona_is_copied_first(home: Env, tmp_path: Path) -> None:
    """`personas edit` of a shipped persona edits a copy in the user's folder."""
    env = {**home, "EDITOR": editor(tmp_path, "sed -i s/fifteen/sixteen/")}
    result = hermes("personas", "edit", "edward-elric", env=env)
    assert (result.code, "comes with hermes; copied it" in result.stderr) == (0, True)
    copy = Paths.from_environment(env).personas / "edward-elric.toml"
    assert copy.read_text().startswith("# The Fullmetal Alchemist")
    assert b"sixteen" in hermes("personas", "list", env=env).stdout
    assert "comes with hermes; copied it" not in hermes("personas", "edit", "edward-elric", env=env).stderr


@pytest.mark.parametrize(
    ("name", "words"), [("false", "ended with 1"), ("/no/such", "no such file"), ('"', "the editor's name")]
)
def test_an_editor_that_fails_is_said(mine: Env, name: str, words: str) -> None:
    """An editor that fails or cannot be run is reported with exit code 2."""
    result = hermes("personas", "edit", "sera", env={**mine, "EDITOR": name, "VISUAL": ""})
    assert (result.code, words in result.stderr) == (2, True)


def test_a_persona_is_checked_in_a_models_own_tokens(mine: Env, tmp_path: Path) -> None:
    """With -m `personas check` counts the tokens of each part with the model's tokenizer."""
    model = script(tmp_path, {"text": "x"}, context_size=2000)
    result = hermes("personas", "check", "sera", "-m", model, "--context", "2000", env=mine)
    assert result.code == 0
    rows = {line[:15].strip(): line[15:].split() for line in result.stdout.decode().splitlines()}
    # Each token of the scripted engine is one character; a turn adds its role, two marks and two newlines.
    assert rows["lore, constant"][0] == str(len("A hall.") + len("system\n") + 3)
    assert rows["greetings"][0] == str(len("You are safe, User.") + len("Hush.") + 2 * (len("system\n") + 3))
    assert "scripted" in result.stderr
    assert "context: 2,000" in result.stderr


def test_what_is_found_is_told_and_is_no_failure(mine: Env) -> None:
    """`personas check` prints its findings and exits with 0."""
    result = hermes("personas", "check", "sera", env=mine)
    said = result.stdout.decode()
    assert result.code == 0
    assert "there is no world 'gone' in the lore folder\n" in said
    assert "the key /(/ is ignored: it is not a regular expression" in said
    assert "the entry '/(/' never fires: none of its keys is valid\n" in said
    assert "tokens: an estimate" in result.stderr
    assert "3 problems" in result.stderr


def test_a_card_that_is_too_long_is_found(mine: Env) -> None:
    """`personas check` reports a prompt that is too long for the context window."""
    said = hermes("personas", "check", "sera", "--context", "40", env=mine).stdout.decode()
    assert "the fixed parts of the prompt take" in said


def test_a_world_is_checked_too(mine: Env, tmp_path: Path) -> None:
    """`personas check` also checks a lorebook, by name or by path."""
    result = hermes("personas", "check", "eldoria", env=mine)
    assert (result.code, result.stdout.split()[:1]) == (0, [b"lore"])
    assert "no problems found" in result.stderr
    path = tmp_path / "w.toml"
    path.write_text("[[lore]]\ncontent = 'x'\n")
    assert b"never fires: it has no key" in hermes("personas", "check", str(path), env=mine).stdout


def test_what_cannot_be_used_is_a_failure(mine: Env, tmp_path: Path) -> None:
    """`personas check` exits with 78 if the persona is broken or missing."""
    path = tmp_path / "x.toml"
    path.write_text("greting = 'x'")
    result = hermes("personas", "check", str(path), env=mine)
    assert (result.code, "did you mean 'greeting'?" in result.stderr) == (78, True)
    assert hermes("personas", "check", "nobody", env=mine).code == 78
