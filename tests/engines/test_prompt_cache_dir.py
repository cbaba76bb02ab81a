"""Tests of the folder of kept prefixes: its size limit, its permissions and its failures."""

import os
import time
from pathlib import Path

import pytest

from hermes_cli.engines.prompt_cache_dir import PromptCacheDir


def put(cache: PromptCacheDir, key: str, size: int) -> bool:
    """Keep `size` bytes under a key."""

    def write(path: Path) -> None:
        path.write_bytes(b"x" * size)

    return cache.store(key, size, write)


def test_a_kept_prefix_is_found_and_private(tmp_path: Path) -> None:
    """A kept prefix is found under its key; its file has mode 0600 and the folder 0700."""
    cache = PromptCacheDir(tmp_path / "prefixes")
    assert cache.find("a") is None
    assert put(cache, "a", 10)
    path = cache.find("a")
    assert path is not None
    assert path.read_bytes() == b"x" * 10
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "prefixes").stat().st_mode & 0o777 == 0o700


def test_the_least_recently_used_prefix_is_removed_first(tmp_path: Path) -> None:
    """A new prefix replaces the one that was used longest ago, and the size stays within the limit."""
    cache = PromptCacheDir(tmp_path, limit=100)
    for age, key in enumerate(("a", "b", "c")):
        put(cache, key, 30)
        os.utime(tmp_path / f"{key}.safetensors", (1000 + age, 1000 + age))
    cache.find("a")
    put(cache, "d", 40)
    assert [cache.find(key) is not None for key in "abcd"] == [True, False, True, True]
    assert cache.usage() == (3, 100)


def test_a_prefix_that_is_too_large_is_not_kept(tmp_path: Path) -> None:
    """A prefix of more than half the limit is not kept."""
    cache = PromptCacheDir(tmp_path, limit=100)
    assert not put(cache, "a", 51)
    assert cache.usage() == (0, 0)


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    """A write that fails leaves no file behind."""

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    cache = PromptCacheDir(tmp_path)
    assert not cache.store("a", 10, full)
    assert cache.find("a") is None
    assert list(tmp_path.iterdir()) == []


def test_clear_removes_every_prefix_and_no_other_file(tmp_path: Path) -> None:
    """`clear` removes every prefix, reports number and size, and leaves other files in place."""
    cache = PromptCacheDir(tmp_path)
    put(cache, "a", 10)
    put(cache, "b", 20)
    (tmp_path / "somebody-elses.txt").write_text("stays")
    assert cache.clear() == (2, 30)
    assert [p.name for p in tmp_path.iterdir()] == ["somebody-elses.txt"]
    assert PromptCacheDir(tmp_path / "not there").clear() == (0, 0)


def test_a_folder_that_cannot_be_created_raises_no_error(tmp_path: Path) -> None:
    """A folder that cannot be created keeps nothing and raises no error."""
    (tmp_path / "file").write_text("in the way")
    assert not put(PromptCacheDir(tmp_path / "file" / "prefixes"), "a", 10)


@pytest.mark.parametrize("key", ["a"])
def test_a_discarded_prefix_is_not_found(tmp_path: Path, key: str) -> None:
    """A discarded prefix is no longer found; discarding an unknown key is no error."""
    cache = PromptCacheDir(tmp_path)
    cache.discard(key)
    put(cache, key, 1)
    cache.discard(key)
    assert cache.find(key) is None


def test_the_files_of_a_killed_write_are_removed(tmp_path: Path) -> None:
    """The next write removes an old unfinished file and keeps a recent one."""
    cache = PromptCacheDir(tmp_path)
    for name, age in ((".new-old", 10_000), (".new-now", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "new").write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    put(cache, "a", 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".new-now", "a.safetensors"]
