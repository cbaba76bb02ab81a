"""The user's persona folder: keys made from names, private files, keys in use, and the template."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import HermesError, UsageError
from hermes_cli.personas import folder
from hermes_cli.personas.native import parse
from hermes_cli.personas.native_writer import template


@pytest.mark.parametrize(
    ("names", "slug"),
    [
        (["Seraphina"], "seraphina"),
        (["Mr. O'Neil  (v2)"], "mr-o-neil-v2"),
        (["\u00c9lo\u00efse"], "\u00e9lo\u00efse"),
        (["E\u0301lo\u00efse"], "\u00e9lo\u00efse"),
        (["../../etc/passwd"], "etc-passwd"),
        (["\u767d\u68e0"], "\u767d\u68e0"),
        (
            ["\u0421\u0435\u0440\u0430\u0444\u0438\u043d\u0430"],
            "\u0441\u0435\u0440\u0430\u0444\u0438\u043d\u0430",
        ),
        (["\u0938\u0940\u0924\u093e \uff17"], "\u0938\u0940\u0924\u093e-7"),
        (["\uff21\uff44\uff41"], "ada"),
        (["\u2605\u200b", "card 7"], "card-7"),
        (["\U0001f600", "..."], "persona"),
        (["\U00020000" * 60], "\U00020000" * 40),
        (["x" * 300], "x" * 60),
        (["a" * 59 + " b"], "a" * 59),
    ],
)
def test_a_name_becomes_a_short_key(names: list[str], slug: str) -> None:
    """A name becomes a short key in its own script; if nothing of it is left, the next name is used."""
    assert folder.slug(*names) == slug


@given(st.text())
def test_any_name_gives_a_valid_key(name: str) -> None:
    """Any name gives a key of 1 to 60 letters, digits and hyphens, which is a file name on every system."""
    slug = folder.slug(name)
    assert 0 < len(slug) <= 60
    assert len(slug.encode()) <= 160
    assert not set(slug) & set("/\\.:\0 ")
    assert slug.isprintable()
    assert folder.slug(slug) == slug


def test_a_saved_persona_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """A saved persona and its folder are readable by their owner only."""
    before = os.umask(0)
    try:
        path = folder.write_toml(tmp_path / "a" / "personas", "sera", 'system = "x"\n', (".png", b"\x89PNG"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    kept = {
        file.name: (stat.S_IMODE(file.stat().st_mode), file.read_bytes()) for file in path.parent.iterdir()
    }
    assert kept == {"sera.toml": (0o600, b'system = "x"\n'), "sera.png": (0o600, b"\x89PNG")}


def test_a_key_in_use_is_detected(tmp_path: Path) -> None:
    """A key is in use if a persona file or a dangling link has it; `ignore` excludes files."""
    card = tmp_path / "sera.png"
    card.touch()
    (tmp_path / "al.md").touch()
    (tmp_path / "ed.toml").symlink_to("nowhere")
    assert folder.find_existing(tmp_path, "sera") == card
    assert folder.find_existing(tmp_path, "sera", ignore=[card]) is None
    assert folder.find_existing(tmp_path, "al", ignore=[card, tmp_path / "absent"]) == tmp_path / "al.md"
    assert folder.find_existing(tmp_path, "ed") == tmp_path / "ed.toml"
    assert folder.find_existing(tmp_path / "absent", "sera") is None


def test_an_unwritable_folder_and_a_large_file_are_refused(tmp_path: Path) -> None:
    """A folder that cannot be written and a file larger than 4 MiB are refused."""
    (tmp_path / "file").touch()
    with pytest.raises(HermesError, match="cannot be written"):
        folder.write_toml(tmp_path / "file", "sera", "")
    with pytest.raises(UsageError, match="larger than 4 MiB"):
        folder.write_toml(tmp_path, "sera", "x" * (4 << 20) + "x")


@pytest.mark.parametrize("name", ["Captain Nemo", "\u00c9lo\u00efse", 'the "Cat"', "C:\\back"])
def test_the_template_is_a_valid_persona(name: str) -> None:
    """The template is a valid persona with the given name, greetings and lore."""
    persona = parse(template(name), Path("new.toml"))
    assert persona.name == name
    assert len(persona.greetings) == 2
    assert persona.lorebook is not None
    assert len(persona.lorebook.entries) == 2


def test_the_commented_out_keys_of_the_template_are_valid() -> None:
    """The keys that the template comments out are valid."""
    text = "\n".join(
        line.removeprefix("# ") if " = " in line else line for line in template("x").splitlines()
    )
    for header in ("[note]", "[lorebook]", "[[regex]]"):
        text = text.replace(f"# {header}", header)
    persona = parse(text, Path("new.toml"))
    assert persona.note is not None
    assert (persona.nickname, persona.user, persona.worlds) == ("Cap", "the stranger", ("eldoria",))
    assert persona.lorebook is not None
    assert persona.lorebook.recursive
    assert persona.lorebook.entries[1].cooldown == 5
    assert persona.regex[0].replace == "$1"
