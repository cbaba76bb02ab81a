"""Loading a persona or a lorebook by name or path."""

import contextlib
import os
from pathlib import Path

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.messages import Message, Role
from hermes_cli.personas.loader import find, find_lorebook, list_all, load_file, lorebooks
from hermes_cli.personas.lorebook import Lorebook
from tests.personas.files import error_text, start_conversation, write_file


@pytest.mark.parametrize("suffix", [".txt", ".md", ".TXT"])
def test_a_text_file_is_the_unchanged_system_prompt(tmp_path: Path, suffix: str) -> None:
    """A text file is the system prompt, without any change but that of its line ends."""
    text = "  # {{char}} \n<user> {{user}}\t \n\n"
    persona = load_file(write_file(tmp_path, f"p{suffix}", text.replace("\n", "\r\n")))
    assert start_conversation(persona).messages == (Message(Role.SYSTEM, text),)


def test_a_name_selects_the_users_persona_and_a_path_its_file(tmp_path: Path) -> None:
    """A name selects the user's persona before a shipped one, and a path the file itself."""
    user_dir, shipped_dir = tmp_path / "user_dir", tmp_path / "shipped_dir"
    write_file(shipped_dir, "al.toml", 'system = "shipped"')
    write_file(shipped_dir, "mr.smith.toml", 'system = "dotted"')
    write_file(user_dir, "al.txt", "own text")
    assert find("al", user_dir, shipped_dir).system == "own text"
    write_file(user_dir, "al.toml", 'system = "own"')
    assert find("al", user_dir, shipped_dir).system == "own"
    assert find(str(shipped_dir / "al.toml"), user_dir, shipped_dir).system == "shipped"
    assert find("mr.smith", user_dir, shipped_dir).system == "dotted"
    assert find("al", tmp_path / "absent", shipped_dir).system == "shipped"


def test_a_persona_is_found_by_its_display_name(tmp_path: Path) -> None:
    """A display name is found with any encoding of its accents, after keys, if it is unique."""
    user_dir, shipped_dir = tmp_path / "user_dir", tmp_path / "shipped_dir"
    write_file(shipped_dir, "unique-recorder.toml", 'name = "\u00dcn\u00efque Recorder"\nsystem = "kept"')
    write_file(shipped_dir, "broken.toml", "system = ")
    assert find("\u00dcn\u00efque Recorder", user_dir, shipped_dir).system == "kept"
    assert find("U\u0308ni\u0308que Recorder", user_dir, shipped_dir).system == "kept"
    write_file(user_dir, "second.toml", 'name = "\u00dcn\u00efque Recorder"\nsystem = "other"')
    with pytest.raises(PersonaError, match="2 personas have the name") as caught:
        find("\u00dcn\u00efque Recorder", user_dir, shipped_dir)
    assert caught.value.hint == "use a key: second or unique-recorder"
    write_file(user_dir, "\u00dcn\u00efque Recorder.txt", "by key")
    assert find("\u00dcn\u00efque Recorder", user_dir, shipped_dir).system == "by key"


@pytest.mark.parametrize("name", ["all", "AL", "", ".", "..", "al.exe", "a\0l", "x" * 300])
def test_an_unknown_name_is_refused_with_a_suggestion(tmp_path: Path, name: str) -> None:
    """An unknown name is refused with the list command, and with a suggestion if one is close."""
    write_file(tmp_path, "al.toml", 'system = "x"')
    with pytest.raises(PersonaError, match="there is no persona") as caught:
        find(name, tmp_path, tmp_path)
    assert "hermes personas list" in caught.value.hint
    assert ("did you mean 'al'?" in caught.value.message) == (name in {"all", "AL", "a\0l"})


@pytest.mark.parametrize("name", ["nothere.toml", "nothere.png", "./nothere.txt", "a\0/b.toml", "al/x.md"])
def test_a_missing_file_is_a_persona_error(tmp_path: Path, name: str) -> None:
    """A path to a file that does not exist is a PersonaError."""
    with pytest.raises(PersonaError):
        find(name, tmp_path, tmp_path)


def test_an_invalid_file_is_listed_with_its_error(tmp_path: Path) -> None:
    """An invalid file is listed with its error, beside the other personas."""
    user_dir, shipped_dir = tmp_path / "user_dir", tmp_path / "shipped_dir"
    write_file(shipped_dir, "b.toml", 'system = "shipped"')
    write_file(shipped_dir, "c.toml", 'system = "shipped"')
    write_file(user_dir, "b.md", "own")
    write_file(user_dir, "a.toml", "system = ")
    write_file(user_dir, ".hidden.toml", "")
    write_file(user_dir, "notes.doc", "not a persona's")
    listed = list_all(user_dir, shipped_dir)
    assert [(x.key, x.shipped, x.persona is not None) for x in listed] == [
        ("a", False, False),
        ("b", False, True),
        ("c", True, True),
    ]
    assert "line 1, column 10" in str(listed[0].error)


def test_folders_pipes_empty_files_and_circular_links_are_refused(tmp_path: Path) -> None:
    """A folder, a pipe, an empty file and a circular link are refused with their reasons."""
    (tmp_path / "f.toml").mkdir()
    assert "is a folder" in error_text(tmp_path / "f.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    assert "not a regular file" in error_text(tmp_path / "pipe.toml")
    assert error_text(write_file(tmp_path, "card.png", b"\x89PNG"))
    assert "is empty" in error_text(write_file(tmp_path, "p.txt", ""))
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    assert "cannot be read" in error_text(tmp_path / "loop.toml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_read_permission_is_refused(tmp_path: Path) -> None:
    """A file without read permission is refused with that reason."""
    path = write_file(tmp_path, "p.toml", 'system = "x"')
    path.chmod(0)
    assert "permissions" in error_text(path)


WORLD = '{"entries": {"0": {"key": ["hall"], "content": "A hall."}}}'
CARD = '{"name": "Sera", "description": "A guardian.", "first_mes": "Hello."}'


@pytest.mark.parametrize("name", ["sera.json", "sera.png", "sera.yaml", "Modelfile"])
def test_a_card_is_recognized_by_its_content(tmp_path: Path, name: str) -> None:
    """A card is recognised by its content, whatever its file is called."""
    path = write_file(tmp_path, name, CARD)
    persona = find(str(path), tmp_path, tmp_path)
    assert (persona.name, persona.greetings, persona.original) == ("Sera", ("Hello.",), path)
    if path.suffix:
        assert find("sera", tmp_path, tmp_path) == persona
    write_file(tmp_path, "sera.toml", 'system = "own"')
    assert find("sera", tmp_path, tmp_path).system == "own"


def test_a_modelfile_in_the_working_directory_is_found_by_name(tmp_path: Path) -> None:
    """A Modelfile in the working directory is found by the name "Modelfile" only."""
    path = write_file(tmp_path, "Modelfile", 'FROM mistral\nSYSTEM "Be brief."\n')
    with contextlib.chdir(tmp_path):
        assert find("Modelfile", tmp_path, tmp_path).system == "Be brief."
        path.rename("stray")
        with pytest.raises(PersonaError, match="there is no persona"):
            find("stray", tmp_path, tmp_path)


def test_a_lorebook_is_refused_as_a_persona(tmp_path: Path) -> None:
    """A lorebook is refused as a persona, and a card without a lorebook is refused as a world."""
    assert "is a lorebook, not a persona" in error_text(write_file(tmp_path, "world.json", WORLD))
    with pytest.raises(PersonaError, match="contains no lorebook"):
        find_lorebook(str(write_file(tmp_path, "card.json", CARD)), tmp_path)


def test_a_persona_has_its_own_book_and_its_worlds_once(tmp_path: Path) -> None:
    """A persona has its own book, the worlds that it names and the one with its key, each once."""
    write_file(tmp_path / "lore", "Eldoria.json", WORLD)
    write_file(
        tmp_path / "lore", "forest.toml", '[lorebook]\nname = "The Glade"\n[[lore]]\ncontent = "Trees."'
    )
    write_file(tmp_path / "lore", "sera.toml", '[[lore]]\ncontent = "Her own."')
    write_file(tmp_path / "lore", "broken.toml", "[[lore")
    source = write_file(
        tmp_path,
        "sera.toml",
        'system = "x"\nworlds = ["eldoria", "the glade", "gone", "inside"]\n'
        '[lorebook]\nname = "Inside"\n[[lore]]\ncontent = "In the card."',
    )
    worlds = lorebooks(load_file(source), tmp_path / "lore")
    assert [book.entries[0].content for book in worlds.books] == [
        "In the card.",
        "A hall.",
        "Trees.",
        "Her own.",
    ]
    assert worlds.missing == ("gone",)
    asked_for = write_file(tmp_path, "sera.toml", 'system = "x"\nworlds = ["SERA"]')
    assert len(lorebooks(load_file(asked_for), tmp_path / "lore").books) == 1
    assert lorebooks(load_file(write_file(tmp_path, "al.txt", "x")), tmp_path / "none").books == ()


def test_an_invalid_world_that_a_persona_names_is_refused(tmp_path: Path) -> None:
    """An invalid world that a persona names is refused with its reason."""
    write_file(tmp_path / "lore", "eldoria.toml", "[[lore]]\ncontent = 3")
    persona = load_file(write_file(tmp_path, "sera.toml", 'system = "x"\nworlds = ["Eldoria"]'))
    with pytest.raises(PersonaError, match="'content' in lore 1 is a number"):
        lorebooks(persona, tmp_path / "lore")


def test_a_world_is_found_by_its_key_title_or_path(tmp_path: Path) -> None:
    """A world is found by its key, its title or its path; a mistyped name gets a suggestion."""
    book = '[lorebook]\nname = "Eldoria"\n[[lore]]\ncontent = "A hall."'
    path = write_file(tmp_path, "world.toml", book)
    for name in ("world", "WORLD", "eldoria", str(path)):
        assert find_lorebook(name, tmp_path).name == "Eldoria"
    assert isinstance(find_lorebook(str(write_file(tmp_path, "w.json", WORLD)), tmp_path), Lorebook)
    with pytest.raises(PersonaError, match="no world 'wordl'; did you mean 'world'") as caught:
        find_lorebook("wordl", tmp_path)
    assert "personas import" in caught.value.hint


def test_the_settings_of_a_persona_are_the_defaults_of_its_worlds(tmp_path: Path) -> None:
    """A world keeps the settings that it has itself."""
    entry = '[[lore]]\nkeys = ["a"]\ncontent = "b"\n'
    lore = tmp_path / "lore"
    lore.mkdir()
    write_file(lore, "one.toml", entry)
    write_file(lore, "two.toml", f"[lorebook]\nscan_depth = 9\n{entry.replace('b', 'c')}")
    path = write_file(
        tmp_path,
        "sera.toml",
        'system = "x"\nworlds = ["one", "two"]\n[lorebook]\nscan_depth = 4\nshare = 10\n',
    )
    _, one, two = lorebooks(load_file(path), lore).books
    assert [(book.scan_depth, book.share) for book in (one, two)] == [(4, 10), (9, 10)]
