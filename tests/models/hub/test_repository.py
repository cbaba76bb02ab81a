"""Downloads from the hub, tested with a fake hub that can fail."""

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from hermes_cli.errors import DownloadError, ModelUnavailable, ResourcesExhausted
from hermes_cli.models.hub import repository
from hermes_cli.models.hub.cache import cache_folder
from hermes_cli.models.hub.repository import HubFile
from hermes_cli.models.local import find_in_cache
from tests.models.hub.fake_hub import COMMIT, FakeHub

REPO = "someone/Model-GGUF"
FILE = "model.Q4_K_M.gguf"
CONTENT = bytes(range(256)) * 12_000  # 3 MB


def test_the_hub_is_sent_no_facts_about_the_machine() -> None:
    """By default, huggingface_hub looks for other programs and asks the hub for a list of them."""
    code = (
        "import hermes_cli.models.hub.repository; from huggingface_hub import constants; "
        "print(constants.HF_HUB_DISABLE_TELEMETRY)"
    )
    environment = {name: text for name, text in os.environ.items() if not name.startswith("HF_")}
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "True\n"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The path of an empty Hugging Face cache."""
    return tmp_path / "cache"


@pytest.fixture
def stocked(fake_hub: FakeHub) -> FakeHub:
    """The hub with one repository that has one GGUF file."""
    fake_hub.files[REPO] = {FILE: CONTENT, "README.md": b"hello"}
    return fake_hub


def pull(server: FakeHub, cache: Path, file: str | None = FILE, repo: str = REPO) -> Path:
    """Pull from the fake hub without pauses."""
    return repository.pull(repo, file, endpoint=server.url, cache_dir=cache, pause_s=0)


def test_a_file_is_downloaded_once_to_the_cache_with_progress(stocked: FakeHub, cache: Path) -> None:
    """A file is downloaded once, to its place in the Hugging Face cache, with progress."""
    reports: list[tuple[str, int, int | None]] = []
    path = repository.pull(
        REPO, FILE, endpoint=stocked.url, cache_dir=cache, progress=lambda *args: reports.append(args)
    )
    assert path == cache / "models--someone--Model-GGUF" / "snapshots" / COMMIT / FILE
    assert path.read_bytes() == CONTENT
    assert path.resolve().name == hashlib.sha256(CONTENT).hexdigest()
    assert find_in_cache(REPO, FILE, cache_dir=cache) == path
    assert stocked.served == [(FILE, 0, len(CONTENT))]
    assert reports[-1] == (FILE, len(CONTENT), len(CONTENT))
    downloaded = [done for label, done, _ in reports if label == FILE]
    assert downloaded == sorted(downloaded)


def test_a_second_pull_downloads_nothing(stocked: FakeHub, cache: Path) -> None:
    """A second pull downloads nothing."""
    assert pull(stocked, cache) == pull(stocked, cache)
    assert len(stocked.served) == 1


def test_a_download_is_resumed_if_the_connection_breaks(
    stocked: FakeHub, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """If its connection breaks, a download is resumed without output and sends each byte once."""
    stocked.break_after = [1_000_000, 500_000]
    assert pull(stocked, cache).read_bytes() == CONTENT
    assert capfd.readouterr() == ("", "")
    assert [(start, sent) for _, start, sent in stocked.served] == [
        (0, 1_000_000),
        (1_000_000, 500_000),
        (1_500_000, len(CONTENT) - 1_500_000),
    ]


def test_the_next_run_resumes_an_interrupted_download(stocked: FakeHub, cache: Path) -> None:
    """The next run resumes an interrupted download."""
    stocked.break_after = [2_000_000, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="stopped at 2 MB of 3 MB") as caught:
        pull(stocked, cache)
    assert "resume the download" in caught.value.hint
    assert find_in_cache(REPO, FILE, cache_dir=cache) is None
    assert pull(stocked, cache).read_bytes() == CONTENT
    assert stocked.served[-1] == (FILE, 2_000_000, len(CONTENT) - 2_000_000)


def test_a_server_that_ignores_ranges_gives_a_correct_file(stocked: FakeHub, cache: Path) -> None:
    """If the server ignores the Range header, the resumed file is still correct."""
    stocked.break_after, stocked.ignore_ranges = [1_000_000], True
    assert pull(stocked, cache).read_bytes() == CONTENT


def test_a_file_with_a_wrong_hash_is_refused_and_not_kept(stocked: FakeHub, cache: Path) -> None:
    """A file with a wrong SHA-256 is refused and not kept, and the next pull succeeds."""
    stocked.wrong_hashes[FILE] = "0" * 64
    with pytest.raises(DownloadError, match="wrong SHA-256"):
        pull(stocked, cache)
    assert find_in_cache(REPO, FILE, cache_dir=cache) is None
    stocked.wrong_hashes.clear()
    assert pull(stocked, cache).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT) + 10, len(CONTENT) - 10])
def test_a_file_of_the_wrong_size_is_refused_and_not_kept(stocked: FakeHub, cache: Path, size: int) -> None:
    """A file that is shorter or longer than announced is refused and not kept."""
    stocked.wrong_sizes[FILE] = size
    with pytest.raises(DownloadError, match=r"(shorter|longer) than the hub reported"):
        pull(stocked, cache)
    assert find_in_cache(REPO, FILE, cache_dir=cache) is None
    assert len(stocked.served) == 1


def test_a_missing_file_is_refused_with_the_list_of_files(stocked: FakeHub, cache: Path) -> None:
    """A missing file is refused with the files of the repository."""
    with pytest.raises(ModelUnavailable, match=r"has no file model\.Q9\.gguf") as caught:
        pull(stocked, cache, "model.Q9.gguf")
    assert f"{REPO}:{FILE}  3 MB" in caught.value.hint


def test_a_missing_repository_is_reported(fake_hub: FakeHub, cache: Path) -> None:
    """A missing repository is reported as missing."""
    for file in (None, FILE):
        with pytest.raises(ModelUnavailable, match="has no repository nobody/nothing"):
            pull(fake_hub, cache, file, "nobody/nothing")


def test_a_gated_repository_is_refused_with_the_login_command(stocked: FakeHub, cache: Path) -> None:
    """For a gated repository the message asks for accepted terms, and the hint names the login command."""
    stocked.gated.add(REPO)
    with pytest.raises(ModelUnavailable, match="only after you accept its terms") as caught:
        pull(stocked, cache)
    assert "hf auth login" in caught.value.hint


def test_an_unreachable_hub_is_reported(cache: Path) -> None:
    """Without a network the hub is reported as unreachable."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for file in (None, FILE):
            with pytest.raises(DownloadError, match="cannot be reached") as caught:
                repository.pull(REPO, file, endpoint=endpoint, cache_dir=cache)
            assert "-m" in caught.value.hint
        assert not repository.hub_reachable(2, endpoint=endpoint)


def test_an_http_error_is_reported_with_its_status(stocked: FakeHub, cache: Path) -> None:
    """An HTTP error of the hub is reported with its status."""
    stocked.status = 500
    with pytest.raises(DownloadError, match="HTTP 500"):
        pull(stocked, cache, None)
    assert not repository.hub_reachable(2, endpoint=stocked.url)
    stocked.status = None
    assert repository.hub_reachable(2, endpoint=stocked.url)


def test_a_second_download_of_the_same_file_is_refused(stocked: FakeHub, cache: Path) -> None:
    """A download is refused while another process downloads the same file."""
    blobs = cache / "models--someone--Model-GGUF" / "blobs"
    blobs.mkdir(parents=True)
    with (blobs / f"{hashlib.sha256(CONTENT).hexdigest()}.hermes.incomplete").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ResourcesExhausted, match="another process"):
            pull(stocked, cache)


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe", "folder"])
def test_a_partial_file_that_is_another_file_is_refused(stocked: FakeHub, cache: Path, kind: str) -> None:
    """The other file is not changed, and the message names the path and, of a link, its target."""
    precious = cache.parent / "precious"
    precious.write_bytes(b"keep")
    blobs = cache / "models--someone--Model-GGUF" / "blobs"
    blobs.mkdir(parents=True)
    partial = blobs / f"{hashlib.sha256(CONTENT).hexdigest()}.hermes.incomplete"
    match kind:
        case "symbolic link":
            partial.symlink_to(precious)
        case "hard link":
            partial.hardlink_to(precious)
        case "pipe":
            os.mkfifo(partial)
        case _:
            partial.mkdir()
    with pytest.raises(DownloadError, match="where the download would be written, is ") as caught:
        pull(stocked, cache)
    assert str(partial) in caught.value.message
    assert (f"a symbolic link to '{precious}'" in caught.value.message) == (kind == "symbolic link")
    assert "delete it" in caught.value.hint
    assert precious.read_bytes() == b"keep"
    assert stocked.served == []


def test_a_link_to_a_missing_file_is_refused(stocked: FakeHub, cache: Path) -> None:
    """The missing file is not created."""
    blobs = cache / "models--someone--Model-GGUF" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(CONTENT).hexdigest()}.hermes.incomplete").symlink_to(cache.parent / "new")
    with pytest.raises(DownloadError, match="symbolic link"):
        pull(stocked, cache)
    assert not (cache.parent / "new").exists()


def test_a_link_in_place_of_the_reference_is_replaced(stocked: FakeHub, cache: Path) -> None:
    """The file that it points to is not changed."""
    precious = cache.parent / "precious"
    precious.write_bytes(b"keep")
    ref = cache / "models--someone--Model-GGUF" / "refs" / "main"
    ref.parent.mkdir(parents=True)
    ref.symlink_to(precious)
    pull(stocked, cache)
    assert precious.read_bytes() == b"keep"
    assert (ref.read_text(), ref.is_symlink()) == (COMMIT, False)
    assert [path.name for path in ref.parent.iterdir()] == ["main"]


def test_a_partial_file_that_is_too_long_is_discarded(stocked: FakeHub, cache: Path) -> None:
    """A partial file that is longer than the whole file is discarded."""
    partial = cache / "models--someone--Model-GGUF" / "blobs" / hashlib.sha256(CONTENT).hexdigest()
    partial.parent.mkdir(parents=True)
    Path(f"{partial}.hermes.incomplete").write_bytes(bytes(len(CONTENT) + 1))
    assert pull(stocked, cache).read_bytes() == CONTENT


def test_a_download_that_does_not_fit_the_disk_is_refused(stocked: FakeHub, cache: Path) -> None:
    """A download that does not fit the disk is refused before it starts."""
    stocked.wrong_sizes[FILE] = 1 << 60
    with pytest.raises(ResourcesExhausted, match="not enough disk space"):
        pull(stocked, cache)
    assert stocked.served == []


def test_a_repository_with_one_gguf_needs_no_file_name(stocked: FakeHub, cache: Path) -> None:
    """A repository with one GGUF needs no file name."""
    assert pull(stocked, cache, None).name == FILE


def test_a_repository_with_several_ggufs_is_refused_with_their_names(stocked: FakeHub, cache: Path) -> None:
    """A repository with several GGUF files is refused with their names and sizes."""
    stocked.files[REPO]["model.Q8_0.gguf"] = CONTENT * 2
    with pytest.raises(ModelUnavailable, match="has 2 GGUF files") as caught:
        pull(stocked, cache, None)
    assert caught.value.hint.index("Q4_K_M") < caught.value.hint.index("Q8_0.gguf  6 MB")


def test_a_snapshot_has_the_config_tokenizer_and_safetensors_files(fake_hub: FakeHub, cache: Path) -> None:
    """A snapshot has the config, the tokenizer and the safetensors files, and nothing else."""
    expected = ["config.json", "tokenizer.json", "tokenizer.model", "merges.txt", "model.safetensors"]
    unused = ["pytorch_model.bin", "README.md", "onnx/model.onnx", "consolidated.safetensors", "run.py"]
    fake_hub.files["o/hf"] = {name: name.encode() for name in expected + unused}
    folder = pull(fake_hub, cache, None, "o/hf")
    assert sorted(p.name for p in folder.iterdir()) == sorted(expected)
    assert find_in_cache("o/hf", cache_dir=cache) == folder


def test_no_code_is_downloaded() -> None:
    """Only weights, settings and vocabularies are."""
    wanted = [
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "generation_config.json",
        "LICENSE.txt",
        "merges.txt",
        "model.safetensors.index.json",
        "preprocessor_config.json",
        "quantize_config.json",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "spiece.model",
        "tekken.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer.model.v3",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    ]
    refused = [
        "tokenizer_evil.py",
        "tokenizer.pkl",
        "tokenizer",
        "tokenizer.so",
        "tokenizer.py.txt.py",
        "tokenizer_model.bin",
        "tokenizer.json.py",
        "requirements.txt",
        "modeling.py",
        ".hidden.json",
        "setup.cfg",
        "conftest.py",
        "run.sh",
        "a\nb.json",
        "a b\u202e.json",
        "..\\x.json",
        "sub/tokenizer.json",
        "tokenizer.model.v3.py",
    ]
    files = [HubFile(name, 1) for name in ("config.json", *wanted, *refused, "model.safetensors")]
    assert repository.snapshot_files("o/n", files) == ["config.json", *sorted(wanted), "model.safetensors"]


def test_pickled_weights_are_used_only_without_safetensors() -> None:
    """Without safetensors, pickled weights are taken; without any weights, it is an error."""
    files = [HubFile("config.json", 1), HubFile("pytorch_model-00001-of-00002.bin", 9)]
    assert repository.snapshot_files("o/n", files) == ["config.json", "pytorch_model-00001-of-00002.bin"]
    with pytest.raises(ModelUnavailable, match="contains neither"):
        repository.snapshot_files("o/n", [HubFile("README.md", 1)])


def test_the_cache_folder_is_that_of_huggingface_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache folder is that of huggingface_hub, with the same environment variables."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    default = cache_folder()
    assert default.parts[-2:] == Path(constants.default_cache_path).parts[-2:]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x/huggingface/hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "h"))
    assert cache_folder() == tmp_path / "h/hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c"
    monkeypatch.setenv("HF_HUB_CACHE", "~nobody-has-this-name/c")
    assert cache_folder() == Path("~nobody-has-this-name/c")
