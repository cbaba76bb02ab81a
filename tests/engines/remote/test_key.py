"""Tests of the keys of model servers."""

import os
from pathlib import Path

import pytest

from hermes_cli.engines.remote.key import Key, KeySource, read_key
from hermes_cli.errors import ConfigError
from hermes_cli.server_settings import ServerSettings

SECRET = "sk-0123456789"  # noqa: S105 - made up


def test_a_key_is_not_in_its_representation() -> None:
    """Neither in text, nor in a message."""
    key = Key(SECRET)
    assert SECRET not in f"{key} {key!r} {[key]} {key.__reduce_ex__!r}"
    assert key.reveal() == SECRET


def test_the_source_of_a_key_is_the_setting_that_is_set() -> None:
    """A server without one needs no key."""
    assert KeySource.of(ServerSettings("http://x", key_file="/k")) == KeySource("key_file", "/k")
    assert KeySource.of(ServerSettings("http://x")) is None


def test_a_key_comes_from_the_environment() -> None:
    """Space around it is removed; an unset variable is an error that names it."""
    assert read_key(KeySource("key_env", "WORK_KEY"), {"WORK_KEY": f" {SECRET}\n"}).reveal() == SECRET
    with pytest.raises(ConfigError) as caught:
        read_key(KeySource("key_env", "WORK_KEY"), {})
    assert "WORK_KEY" in caught.value.message
    assert "export WORK_KEY" in caught.value.hint


@pytest.mark.parametrize("text", ["a b", "a\r\nHost: evil", "schlüssel", "a\0b", "x" * 5000])
def test_a_key_that_cannot_be_in_a_header_is_refused(text: str) -> None:
    """The message does not contain it."""
    with pytest.raises(ConfigError) as caught:
        read_key(KeySource("key_env", "K"), {"K": text})
    assert text not in caught.value.message


def test_a_key_file_must_be_private(tmp_path: Path) -> None:
    """The hint is the command that makes it private."""
    path = tmp_path / "key"
    path.write_text(SECRET + "\n")
    source = KeySource("key_file", str(path))
    path.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        read_key(source, {})
    assert (SECRET in caught.value.message, caught.value.hint) == (False, f"run: chmod 600 '{path}'")
    path.chmod(0o600)
    assert read_key(source, {}).reveal() == SECRET


def test_a_key_file_that_is_missing_too_large_or_no_file_is_an_error(tmp_path: Path) -> None:
    """A pipe does not wait for a writer."""
    large, pipe = tmp_path / "large", tmp_path / "pipe"
    large.write_text("x" * 10_000)
    large.chmod(0o600)
    os.mkfifo(pipe, 0o600)
    for path, message in (
        (tmp_path / "none", "cannot be read"),
        (large, "larger than"),
        (pipe, "not a regular file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_key(KeySource("key_file", str(path)), {})


def test_a_key_comes_from_the_keyring() -> None:
    """The service is openhermes."""
    stored = {("openhermes", "work"): SECRET}
    source = KeySource("key_keyring", "work")
    assert read_key(source, {}, lambda service, name: stored.get((service, name))).reveal() == SECRET
    with pytest.raises(ConfigError) as caught:
        read_key(source, {}, lambda _service, _name: None)
    assert caught.value.hint == "store it with: keyring set openhermes work"
