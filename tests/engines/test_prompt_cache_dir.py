"""Tests of the folder of kept prefixes: its size limit, its permissions and its failures."""

import os
import time
from pathlib import Path

import pytest

from hermes_cli.engines.prompt_cache_dir import PromptCacheDir


def put(kept: PromptCacheDir, key: str, size: int) -> bool:
    """Keep `size` bytes under a key."""

    def write(path: Path) -> None:
        path.write_bytes(b"x" * size)

    return kept.keep(key, size, write)


def test_what_was_kept_is_found_and_private(tmp_path: Path) -> None:
    """A kept prefix is found under its key; its file has mode 0600 and the folder 0700."""
    kept = PromptCacheDir(tmp_path / "prefixes")
    assert kept.find("a") is None
    assert put(kept, "a", 10)
    path = kept.find("a")
    assert path is not None
    assert path.read_bytes() == b"x" * 10
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "prefixes").stat().st_mode & 0o777 == 0o700


def test_the_one_used_longest_ago_makes_room(tmp_path: Path) -> None:
    """A new prefix replaces the one that was used longest ago, and the size stays within the limit."""
    kept = PromptCacheDir(tmp_path, limit=100)
    for age, key in enumerate(("a", "b", "c")):
        put(kept, key, 30)
        os.utime(tmp_path / f"{key}.safetensors", (1000 + age, 1000 + age))
    kept.find("a")
    put(kept, "d", 40)
    assert [kept.find(key) is not None for key in "abcd"] == [True, False, True, True]
    assert kept.usage() == (3, 100)


def test_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    """A prefix of more than half the limit is not kept."""
    kept = PromptCacheDir(tmp_path, limit=100)
    assert not put(kept, "a", 51)
    assert kept.usage() == (0, 0)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A write that fails leaves no file behind."""

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    kept = PromptCacheDir(tmp_path)
    assert not kept.keep("a", 10, full)
    assert kept.find("a") is None
    assert list(tmp_path.iterdir()) == []


def test_clear_empties_it(tmp_path: Path) -> None:
    """`clear` removes every prefix, reports number and size, and leaves other files in place."""
    kept = PromptCacheDir(tmp_path)
    put(kept, "a", 10)
    put(kept, "b", 20)
    (tmp_path / "somebody-elses.txt").write_text("stays")
    assert kept.clear() == (2, 30)
    assert [p.name for p in tmp_path.iterdir()] == ["somebody-elses.txt"]
    assert PromptCacheDir(tmp_path / "not there").clear() == (0, 0)


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    """A folder that cannot be made keeps nothing and raises no error."""
    (tmp_path / "file").write_text("in the way")
    assert not put(PromptCacheDir(tmp_path / "file" / "prefixes"), "a", 10)


@pytest.mark.parametrize("key", ["a"])
def test_discard(tmp_path: Path, key: str) -> None:
    """A discarded prefix is no longer found; discarding an unknown key is no error."""
    kept = PromptCacheDir(tmp_path)
    kept.discard(key)
    put(kept, key, 1)
    kept.discard(key)
    assert kept.find(key) is None


def test_what_a_killed_write_left_is_swept(tmp_path: Path) -> None:
    """The next write removes an old unfinished file and keeps a recent one."""
    kept = PromptCacheDir(tmp_path)
    for name, age in ((".new-old", 10_000), (".new-now", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "new").write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    put(kept, "a", 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".new-now", "a.safetensors"]
