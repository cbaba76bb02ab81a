"""Every file of the corpus is imported: nothing crashes, and every loss is remarked on."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cli.personas.formats import registry
from tests.personas.corpus import cards, containers, lore, prompts
from tests.personas.corpus.recipe import File
from tests.run_hermes import hermes

FILES = (*cards.FILES, *lore.CARDS, *lore.WORLDS, *containers.FILES, *prompts.FILES)
NAMES = [file.name for file in FILES]
CARDS = [file for file in FILES if file.kind in {"v1", "v2", "v3", "png", "charx"}]


def test_the_corpus_is_large_and_its_files_have_different_names() -> None:
    """There are at least 60 files, and each format is among them."""
    assert len(set(NAMES)) == len(FILES) >= 60
    kinds = {
        *registry.WRITABLE,
        "webp",
        "jpeg",
        "world",
        "text",
        "llm",
        "aichat",
        "webui",
        "lmstudio",
        "agnai",
    }
    assert {file.kind for file in FILES} == kinds


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_file_is_read_and_every_loss_is_remarked_on(file: File) -> None:
    """The persona or lorebook has what the file has, and the remarks are exactly the listed ones."""
    result = registry.read(file.data, Path(file.name))
    assert (result.kind, sorted(result.remarks)) == (file.kind, sorted(file.remarks))
    content = result.persona or result.lorebook
    assert content is not None
    assert content.name == file.called
    book = result.lorebook or (result.persona.lorebook if result.persona else None)
    assert len(book.entries if book else ()) == file.entries
    assert len(result.persona.greetings if result.persona else ()) == file.greetings
    texts = registry._texts(content)
    assert [text for text in file.has if not any(text in found for found in texts)] == []


@pytest.mark.parametrize("file", CARDS, ids=[file.name for file in CARDS])
def test_an_unchanged_card_is_exported_byte_for_byte(file: File) -> None:
    """An export in the format of the original is the original."""
    persona = registry.read(file.data, Path(file.name)).persona
    assert persona is not None
    assert registry.write(persona, file.kind, file.data) == file.data


@pytest.mark.parametrize("file", CARDS, ids=[file.name for file in CARDS])
def test_a_changed_card_is_read_back_with_the_change(file: File) -> None:
    """A changed text is in the export, and nothing else of the persona is different."""
    persona = registry.read(file.data, Path(file.name)).persona
    assert persona is not None
    changed = persona._replace(personality="She changed.")
    assert registry.read(registry.write(changed, file.kind, file.data), Path(file.name)).persona == changed


def test_all_files_are_imported_by_the_command(home: Mapping[str, str], tmp_path: Path) -> None:
    """`hermes personas import` accepts each file that has a text for the model, and prints its remarks."""
    for file in FILES:
        path = tmp_path / file.name
        path.write_bytes(file.data)
        key = path.name.replace(".", "-")
        result = hermes("personas", "import", str(path), "--as", key, env=home)
        if file.name == "empty.json":
            assert (result.code, "has no system prompt and no character" in result.stderr) == (78, True)
            continue
        assert result.code == 0, (file.name, result.stderr)
        assert [remark for remark in file.remarks if f"{path}: {remark}" not in result.stderr] == []
    listed = hermes("personas", "list", env=home)
    assert "broken" not in listed.stdout.decode()
    saved = [*Path(home["OPENHERMES_HOME"], "config").rglob("*")]
    assert {path.stat().st_mode & 0o077 for path in saved} == {0}


def test_other_programs_can_parse_the_json() -> None:
    """The corpus is JSON that other programs can parse, too."""
    for file in (*cards.FILES, *lore.CARDS, *lore.WORLDS):
        assert isinstance(json.loads(file.data.decode("utf-8-sig")), dict)
