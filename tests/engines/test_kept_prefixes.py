"""The folder of kept prefixes: bounded, private, and never in the way."""

import os
import time
from pathlib import Path

import pytest

from hermes_cli.engines.kept_prefixes import KeptPrefixes


def put(kept: KeptPrefixes, key: str, size: int) -> bool:
    """Keep `size` bytes under a key."""

    def write(path: Path) -> None:
        path.write_bytes(b"x" * size)

    return kept.keep(key, size, write)


def test_what_was_kept_is_found_and_private(tmp_path: Path) -> None:
    """A persona would be prefilled at every start, or be readable by everybody."""
    kept = KeptPrefixes(tmp_path / "prefixes")
    assert kept.find("a") is None
    assert put(kept, "a", 10)
    path = kept.find("a")
    assert path is not None
    assert path.read_bytes() == b"x" * 10
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "prefixes").stat().st_mode & 0o777 == 0o700


def test_the_one_used_longest_ago_makes_room(tmp_path: Path) -> None:
    """The folder would grow without end, or lose what is used every day."""
    kept = KeptPrefixes(tmp_path, limit=100)
    for age, key in enumerate(("a", "b", "c")):
        put(kept, key, 30)
        os.utime(tmp_path / f"{key}.safetensors", (1000 + age, 1000 + age))
    kept.find("a")
    put(kept, "d", 40)
    assert [kept.find(key) is not None for key in "abcd"] == [True, False, True, True]
    assert kept.usage() == (3, 100)


def test_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    """One long prompt would drive out everything else."""
    kept = KeptPrefixes(tmp_path, limit=100)
    assert not put(kept, "a", 51)
    assert kept.usage() == (0, 0)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Half a file would be found at the next start."""

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    kept = KeptPrefixes(tmp_path)
    assert not kept.keep("a", 10, full)
    assert kept.find("a") is None
    assert list(tmp_path.iterdir()) == []


def test_clear_empties_it(tmp_path: Path) -> None:
    """`hermes models cache clear` would leave something behind."""
    kept = KeptPrefixes(tmp_path)
    put(kept, "a", 10)
    put(kept, "b", 20)
    (tmp_path / "somebody-elses.txt").write_text("stays")
    assert kept.clear() == (2, 30)
    assert [p.name for p in tmp_path.iterdir()] == ["somebody-elses.txt"]
    assert KeptPrefixes(tmp_path / "not there").clear() == (0, 0)


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    """A read-only home would end every answer with an error."""
    (tmp_path / "file").write_text("in the way")
    assert not put(KeptPrefixes(tmp_path / "file" / "prefixes"), "a", 10)


@pytest.mark.parametrize("key", ["a"])
def test_discard(tmp_path: Path, key: str) -> None:
    """A damaged file would be read again at every start."""
    kept = KeptPrefixes(tmp_path)
    kept.discard(key)
    put(kept, key, 1)
    kept.discard(key)
    assert kept.find(key) is None


def test_what_a_killed_write_left_is_swept(tmp_path: Path) -> None:
    """Each kill would leave a file that nobody finds and nobody deletes."""
    kept = KeptPrefixes(tmp_path)
    for name, age in ((".new-old", 10_000), (".new-now", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "new").write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    put(kept, "a", 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".new-now", "a.safetensors"]
