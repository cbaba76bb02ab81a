"""`hermes personas import` and `export`: files of other programs are imported and exported without loss."""

import io
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermes_cli import app
from hermes_cli.config import Paths
from hermes_cli.personas import loader
from hermes_cli.screen.terminal import Terminal
from tests.run_hermes import hermes, script

Env = Mapping[str, str]
CARD: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "S\u00e9raphina of the Glade",
        "description": "{{char}} guards the glade.",
        "personality": "gentle",
        "scenario": "",
        "first_mes": '*She smiles.* "You are safe, {{user}}."',
        "mes_example": "<START>\n{{user}}: Who?\n{{char}}: I.",
        "creator_notes": "Made at night.",
        "system_prompt": "",
        "post_history_instructions": "",
        "alternate_greetings": ["Hush."],
        "character_book": {
            "name": "Glade",
            "extensions": {"kept": [1, 2]},
            "entries": [
                {
                    "keys": ["tree"],
                    "content": "The trees are old.",
                    "extensions": {"theirs": True},
                    "enabled": True,
                    "insertion_order": 5,
                }
            ],
        },
        "tags": ["forest"],
        "creator": "somebody",
        "character_version": "3",
        "extensions": {"theirs": {"deep": None}},
    },
}
WORLD = {"name": "Eldoria", "entries": {"0": {"uid": 0, "key": ["hall"], "content": "A hall.", "order": 1}}}


def card(folder: Path, file: str = "card.json", **changes: Any) -> Path:
    """Write a card with some of its fields changed."""
    path = folder / file
    path.write_text(json.dumps({**CARD, "data": {**CARD["data"], **changes}}))
    return path


def contains(whole: Any, part: Any) -> bool:
    """Return whether `whole` holds everything in `part`; it may hold more."""
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


def files(folder: Path) -> dict[str, int]:
    """Return the names and modes of the files in a folder."""
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


def test_an_imported_card_is_stored_privately_and_played(home: Env, tmp_path: Path) -> None:
    """The original is stored beside it, and the prompt has its lore."""
    path = card(tmp_path)
    result = hermes("personas", "import", str(path), env=home)
    assert (result.code, result.stdout.decode()) == (
        0,
        "s\u00e9raphina-of-the-glade  v2  S\u00e9raphina of the Glade\n",
    )
    assert "hermes chat -p s\u00e9raphina-of-the-glade" in result.stderr
    folder = Paths.from_environment(home).personas
    assert files(folder) == {
        "s\u00e9raphina-of-the-glade.toml": 0o600,
        "s\u00e9raphina-of-the-glade.json": 0o600,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "s\u00e9raphina-of-the-glade.json").read_bytes() == path.read_bytes()

    model = script(tmp_path, {"text": "Yes."})
    arguments = ("chat", "-m", model, "-p", "seraphina-of-the-glade", "--user", "Winry")
    chat = hermes(*arguments, env=home, stdin=b"A tree!\n/show prompt\n")
    assert chat.stdout.endswith(b"Yes.\n")
    for text in (
        "S\u00e9raphina of the Glade guards the glade.",
        "You are safe, Winry.",
        "The trees are old.",
    ):
        assert text in chat.stderr


@pytest.mark.parametrize("kind", ["v2", "v3", "png", "charx"])
def test_an_export_has_the_fields_that_hermes_does_not_use(home: Env, tmp_path: Path, kind: str) -> None:
    """This is true of every card format."""
    assert hermes("personas", "import", str(card(tmp_path)), "--as", "sera", env=home).code == 0
    file = tmp_path / f"out.{kind}"
    result = hermes("personas", "export", "sera", "--format", kind, "-o", str(file), env=home)
    assert (result.code, result.stdout) == (0, b"")
    assert f"written to {file}: {kind}" in result.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert hermes("personas", "import", str(file), "--as", "again", env=home).code == 0
    exported = hermes("personas", "export", "again", "--format", "v2", env=home).json
    assert contains(exported["data"], CARD["data"])
    if kind == "v2":
        assert json.loads(file.read_bytes()) == CARD


def test_an_export_has_the_edited_fields(home: Env, tmp_path: Path) -> None:
    """Without the original card, export warns that fields are missing."""
    assert hermes("personas", "import", str(card(tmp_path)), "--as", "sera", env=home).code == 0
    path = Paths.from_environment(home).personas / "sera.toml"
    path.write_text(path.read_text().replace('"gentle"', '"stern"'))
    data = hermes("personas", "export", "sera", env=home).json["data"]
    assert data == {**CARD["data"], "personality": "stern"}
    (path.parent / "sera.json").unlink()
    alone = hermes("personas", "export", "sera", env=home)
    assert (alone.json["data"]["personality"], alone.code) == ("stern", 0)
    assert "the export lacks the fields that only that file contains" in alone.stderr


def test_a_shipped_persona_is_the_same_after_export_and_import(home: Env, tmp_path: Path) -> None:
    """It can also be exported as a Modelfile."""
    for kind in ("v3", "png", "charx", "toml"):
        file = tmp_path / f"ed.{kind}"
        assert (
            hermes("personas", "export", "edward-elric", "--format", kind, "-o", str(file), env=home).code
            == 0
        )
        ed, back = loader.load_file(loader.shipped_dir() / "edward-elric.toml"), loader.load_file(file)
        assert (back.name, back.system, back.greetings) == (ed.name, ed.system, ed.greetings)
        assert ed.lorebook is not None
        assert back.lorebook is not None
        assert [entry.content for entry in back.lorebook.entries] == [
            entry.content for entry in ed.lorebook.entries
        ]
    modelfile = hermes("personas", "export", "hermes-2", "--format", "modelfile", env=home).stdout
    assert b"superintelligent" in modelfile


def test_a_lorebook_is_imported_into_the_lore_folder(home: Env, tmp_path: Path) -> None:
    """It is imported as a native file, and the original is stored beside it."""
    path = tmp_path / "w.json"
    path.write_text(json.dumps(WORLD))
    result = hermes("personas", "import", str(path), env=home)
    assert (result.code, result.stdout) == (0, b"eldoria  world  a world\n")
    assert 'worlds = ["eldoria"]' in result.stderr
    paths = Paths.from_environment(home)
    assert files(paths.lore) == {"eldoria.toml": 0o600, "eldoria.json": 0o600}
    assert loader.find_lorebook("Eldoria", paths.lore).entries[0].content == "A hall."
    assert not paths.personas.exists()


def test_a_file_of_hermes_is_imported_unchanged(home: Env, tmp_path: Path) -> None:
    """Its comments are kept. A lorebook goes into the lore folder, and a broken persona is refused."""
    persona, lore, broken = (tmp_path / name for name in ("nemo.toml", "sea.toml", "broken.toml"))
    persona.write_text('# A comment.\nname = "Captain Nemo"\nsystem = "You command."\n')
    lore.write_text('[[lore]]\nkeys = ["sea"]\ncontent = "The sea is deep."\n')
    broken.write_text('system = "You command."\nsistem = "typo"\n')
    result = hermes("personas", "import", str(persona), str(lore), env=home)
    assert (result.code, result.stdout.splitlines()) == (
        0,
        [b"captain-nemo  toml  Captain Nemo", b"sea           toml  a world"],
    )
    paths = Paths.from_environment(home)
    assert files(paths.personas) == {"captain-nemo.toml": 0o600}
    assert (paths.personas / "captain-nemo.toml").read_text() == persona.read_text()
    assert (paths.lore / "sea.toml").read_text() == lore.read_text()
    refused = hermes("personas", "import", str(broken), env=home)
    assert refused.code == 78
    assert "'sistem' is not a known" in refused.stderr


def test_an_import_is_refused_if_its_name_is_taken(home: Env, tmp_path: Path) -> None:
    """--as gives another name, --force overwrites."""
    path = card(tmp_path, "card.json", name="Sera")
    assert hermes("personas", "import", str(path), env=home).code == 0
    own = Paths.from_environment(home).personas / "sera.toml"
    own.write_text("system = 'mine'")
    for arguments in ((str(path),), (str(path), "--as", "SERA")):
        refused = hermes("personas", "import", *arguments, env=home)
        assert (refused.code, own.read_text()) == (2, "system = 'mine'")
        assert "'sera' already exists" in refused.stderr
        assert "--force" in refused.stderr
    assert hermes("personas", "import", str(path), "--as", "Other one", env=home).stdout.startswith(
        b"other-one"
    )
    assert hermes("personas", "import", str(path), "--force", env=home).code == 0
    assert 'name = "Sera"' in own.read_text()


def test_nothing_is_imported_if_one_file_is_broken(home: Env, tmp_path: Path) -> None:
    """The same is true of a missing file, and of a file that is named twice."""
    good, bad = card(tmp_path), tmp_path / "bad.json"
    bad.write_text('{"name": "x\x1b[2J')
    for files_named, code in (
        ((good, bad), 78),
        ((good, tmp_path / "none.png"), 78),
        ((good, good), 2),
        ((good, bad, "--as", "x"), 2),
    ):
        result = hermes("personas", "import", *map(str, files_named), env=home)
        assert (result.code, result.stdout) == (code, b"")
        assert "\x1b" not in result.stderr
    assert not Paths.from_environment(home).personas.exists()


def test_a_card_in_the_personas_folder_is_played_and_edited(home: Env) -> None:
    """`personas edit` imports the card first."""
    folder = Paths.from_environment(home).personas
    folder.mkdir(parents=True)
    path = card(folder, "Sera.json")
    assert hermes("personas", "show", "Sera", env=home).code == 0
    result = hermes("personas", "edit", "Sera", env={**home, "EDITOR": "true"})
    assert (result.code, f" as {folder / 'Sera.toml'}" in result.stderr) == (0, True)
    assert loader.locate("Sera", folder, folder) == folder / "Sera.toml"
    assert json.loads(path.read_bytes()) == CARD
    again = hermes("personas", "edit", str(path), env={**home, "EDITOR": "true"})
    assert (again.code, "already exists" in again.stderr) == (2, True)
    assert hermes("personas", "import", str(path), "--as", "Sera", env=home).code == 0


def test_a_hostile_name_is_made_safe(home: Env, tmp_path: Path) -> None:
    """A name cannot leave the folder or send control characters to the terminal."""
    path = card(tmp_path, name="../../\x1b]0;x\x07evil\u202e")
    result = hermes("personas", "import", str(path), env=home)
    assert (result.code, "\x1b" in result.stderr) == (0, False)
    assert sorted(files(Paths.from_environment(home).personas)) == ["0-x-evil.json", "0-x-evil.toml"]
    assert "direction-changing" in result.stderr


def test_a_png_card_is_not_written_to_a_terminal(home: Env) -> None:
    """It is written to a pipe."""
    out, err = io.BytesIO(), io.StringIO()
    terminal = Terminal(io.BytesIO(), out, err, False, True, False)  # noqa: FBT003 - see tests/run_hermes.py
    code = app.run(["personas", "export", "edward-elric", "--format", "png"], terminal, home)
    assert (code, out.getvalue()) == (2, b"")
    assert "-o edward-elric.png" in err.getvalue()
    piped = hermes("personas", "export", "edward-elric", "--format", "png", env=home)
    assert piped.stdout.startswith(b"\x89PNG\r\n\x1a\n")


def test_export_writes_to_a_file_or_into_a_folder(home: Env, tmp_path: Path) -> None:
    """The ending of the file gives the format; --force overwrites."""
    for name, begins in (("a.png", b"\x89PNG"), ("a.toml", b"name = "), ("a.json", b"{"), ("a.charx", b"PK")):
        file = tmp_path / name
        assert hermes("personas", "export", "edward-elric", "-o", str(file), env=home).code == 0
        assert file.read_bytes().startswith(begins)
        refused = hermes("personas", "export", "edward-elric", "-o", str(file), env=home)
        assert (refused.code, "--force" in refused.stderr) == (2, True)
        assert hermes("personas", "export", "edward-elric", "-o", str(file), "--force", env=home).code == 0
    folder = tmp_path / "out"
    folder.mkdir()
    assert hermes("personas", "export", "hermes-2", "-o", str(folder), "--format", "png", env=home).code == 0
    assert [file.name for file in folder.iterdir()] == ["hermes-2.png"]


def test_a_wrong_format_path_or_name_is_refused(home: Env) -> None:
    """The message has the reason."""
    for arguments, words in (
        (("export", "edward-elric", "--format", "pgn"), "did you mean 'png'?"),
        (("export", "edward-elric", "-o", "/no/such/a.png"), "cannot be written"),
        (("export", "nobody"), "there is no persona"),
        (("import", "/no/such.png"), "there is no file"),
    ):
        result = hermes("personas", *arguments, env=home)
        assert (result.code in {1, 2, 78}, result.stdout) == (True, b"")
        assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["\u767d\u68e0", "\u0421\u0435\u0440\u0430\u0444\u0438\u043d\u0430"])
def test_a_name_in_another_script_is_a_key(home: Env, tmp_path: Path, name: str) -> None:
    """The key and the display name work, also for --as and for the lorebook with the persona's name."""
    path, key = card(tmp_path, name=name), name.lower()
    assert hermes("personas", "import", str(path), env=home).code == 0
    assert set(files(Paths.from_environment(home).personas)) == {f"{key}.toml", f"{key}.json"}
    again = hermes("personas", "import", str(path), env=home)
    assert (again.code, "already exists" in again.stderr) == (2, True)
    assert hermes("personas", "import", str(path), "--as", f"{name} 2", env=home).code == 0
    model = script(tmp_path, {"text": "Yes."})
    for used in (key, f"{key}-2"):
        assert hermes("ask", "-m", model, "-p", used, "Hi", env=home).code == 0, used
    hermes("personas", "export", key, "-o", str(tmp_path / "new.json"), env=home)
    assert json.loads((tmp_path / "new.json").read_bytes())["data"]["name"] == name
    (Paths.from_environment(home).personas / f"{key}-2.toml").unlink()
    (Paths.from_environment(home).personas / f"{key}-2.json").unlink()
    for command in (("show", name), ("check", name), ("export", name)):
        assert hermes("personas", *command, env=home).code in {0, 1}, command


@pytest.mark.parametrize(
    "text",
    [
        "Be {{char}}.\r\n",
        "---\ntemperature: 0\n---\nBe {{char}}.\n",
        "# IDENTITY and PURPOSE\n\nYou sum up.\n\n# INPUT:\n\nINPUT:\n",
    ],
    ids=["text", "role", "pattern"],
)
def test_a_markdown_file_gives_one_prompt_as_a_file_and_imported(
    home: Env, tmp_path: Path, text: str
) -> None:
    """`-p FILE` and `personas import` read a file in the same way."""
    path = tmp_path / "summary.md"
    path.write_text(text, newline="")
    model = script(tmp_path, {"text": "Yes."})
    assert hermes("personas", "import", str(path), env=home).code == 0
    prompts = {
        hermes("chat", "-m", model, "-p", name, env=home, stdin=b"Hi\n/show prompt\n").stderr.split(
            "<|im_start|>", 1
        )[1]
        for name in (str(path), "summary")
    }
    assert len(prompts) == 1
    assert "INPUT" not in prompts.pop()
    assert hermes("ask", "-m", model, "-p", str(path), env=home, stdin=b"A long text.").code == 0


def test_a_modelfile_without_a_system_prompt_is_refused_with_a_hint_in_its_syntax(
    home: Env, tmp_path: Path
) -> None:
    """A card without a text is refused as well; nothing is imported."""
    modelfile, empty = tmp_path / "Modelfile", tmp_path / "empty.json"
    modelfile.write_text("FROM llama3\nPARAMETER temperature 1\n")
    empty.write_text('{"name": "A", "description": "", "first_mes": ""}')
    result = hermes("personas", "import", str(modelfile), env=home)
    assert (result.code, "SYSTEM You are" in result.stderr, 'system = "' in result.stderr) == (
        78,
        True,
        False,
    )
    result = hermes("personas", "import", str(empty), env=home)
    assert (result.code, "no system prompt and no character" in result.stderr) == (78, True)
    assert not Paths.from_environment(home).personas.exists()


def test_a_shown_persona_has_no_escapes_in_a_pipe(home: Env, tmp_path: Path) -> None:
    """Its texts are printed for people, so control characters are replaced."""
    path = card(tmp_path, description="x\x1b]0;t\x07y\x9b31m", first_mes="\x1bc", creator_notes="\x1b[2J")
    result = hermes("personas", "show", str(path), env=home)
    assert "x\u241b]0;t\u2407y\ufffd31m".encode() in result.stdout
    assert not set(result.stdout) & {0x1B, 0x07}
