"""Tests of files that only their owner can read, and that are replaced only on request."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.errors import DownloadError, HermesError, UsageError
from hermes_cli.models import starter
from hermes_cli.private_files import create_folders, make_private, write_private
from tests.run_hermes import hermes, script


@pytest.fixture
def _open_umask() -> Iterator[None]:
    """Set a umask that withholds nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> set[int]:
    """Return the modes of a folder and of all folders in it."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    return {stat.S_IMODE(path.stat().st_mode) for path in folders}


@pytest.mark.usefixtures("_open_umask")
def test_missing_parents_of_a_private_folder_are_private(tmp_path: Path) -> None:
    """`Path.mkdir` applies its mode to the last folder only. Folders that exist are not changed."""
    tmp_path.chmod(0o755)
    make_private(tmp_path / "a" / "b" / "c", hint="")
    create_folders(tmp_path / "a" / "b" / "c")
    assert modes(tmp_path / "a") == {0o700}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.usefixtures("_open_umask")
@pytest.mark.parametrize(
    "arguments",
    [
        ["personas", "new", "Nemo"],
        ["chat", "-m", "{}"],
        ["ask", "--log", "-m", "{}", "hi"],
        ["sessions", "list"],
    ],
    ids=lambda words: words[0],
)
def test_every_folder_of_a_command_is_private(
    home: Mapping[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    """OPENHERMES_HOME and the folders in it are."""
    model = script(tmp_path, {"text": "x"})
    result = hermes(*(word.format(model) for word in arguments), env=home, stdin=b"hi\n")
    assert result.code == 0, result.stderr
    assert modes(Path(home["OPENHERMES_HOME"])) == {0o700}


@pytest.mark.usefixtures("_open_umask")
def test_the_folders_of_models_and_prefixes_are_private(tmp_path: Path) -> None:
    """Even if nothing is stored in them."""
    with pytest.raises(DownloadError):
        starter.fetch(tmp_path / "home" / "data" / "models", sources={"none": _no_source})
    PromptCacheDir(tmp_path / "home" / "cache" / "prefixes").store("key", 1, Path.touch)
    assert modes(tmp_path / "home") == {0o700}
    assert (tmp_path / "home/data/models").is_dir()
    assert (tmp_path / "home/cache/prefixes/key.safetensors").is_file()


def _no_source(_folder: Path, _progress: object) -> Path:
    raise DownloadError("no network")


def test_only_the_owner_can_read_a_written_file(tmp_path: Path) -> None:
    """Neither the umask nor the mode of a replaced file changes that."""
    before = os.umask(0)
    try:
        write_private(tmp_path / "a.md", b"x")
        (tmp_path / "b.md").write_text("theirs")
        (tmp_path / "b.md").chmod(0o666)
        write_private(tmp_path / "b.md", b"mine", replace=True)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.md", "b.md")] == [0o600, 0o600]
    assert (tmp_path / "a.md").read_bytes() == b"x"
    assert (tmp_path / "b.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "b.md"]


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    """Nor is an existing link."""
    (tmp_path / "a.md").write_text("theirs")
    (tmp_path / "link.md").symlink_to(tmp_path / "nowhere")
    for name in ("a.md", "link.md"):
        with pytest.raises(UsageError, match="already a file"):
            write_private(tmp_path / name, b"mine")
    assert (tmp_path / "a.md").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "link.md"]


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The parent is missing or a file, the name is invalid, or the path is a folder."""
    (tmp_path / "file").write_text("")
    for path in (
        tmp_path / "no" / "a.md",
        tmp_path / "file" / "a.md",
        tmp_path / "a\0.md",
        Path("/proc/a.md"),
    ):
        with pytest.raises(HermesError, match="cannot be written"):
            write_private(path, b"x")
    with pytest.raises(HermesError, match="cannot be written"):
        write_private(tmp_path, b"x", replace=True)
