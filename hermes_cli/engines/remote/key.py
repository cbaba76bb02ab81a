"""Keys of model servers: read from the environment, a file, or the system's keyring; never shown."""

import importlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from hermes_cli.errors import ConfigError, access_hint
from hermes_cli.server_settings import KEY_SETTINGS, ServerSettings

KEYRING_SERVICE: Final = "openhermes"
"""The service under which the system's keyring has the keys."""
MAX_KEY: Final = 4096
_KEY: Final = re.compile(r"[\x21-\x7e]{1,4096}")
"""Visible ASCII characters only, because the key becomes part of an HTTP header."""

GetPassword = Callable[[str, str], str | None]
"""`keyring.get_password`: returns the password for a service and a name."""


class Key:
    """A key. Its text is only in `reveal`, so that it does not appear in logs, errors or reports."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the key, for the header of a request."""
        return self._text

    def __repr__(self) -> str:
        return "Key(hidden)"


class KeySource(NamedTuple):
    """Where a key is. `setting` is one of KEY_SETTINGS, and `name` its value."""

    setting: str
    name: str

    @classmethod
    def of(cls, settings: ServerSettings) -> "KeySource | None":
        """Return the source of a server's key, or None if the server needs no key."""
        sources = (cls(setting, getattr(settings, setting)) for setting in KEY_SETTINGS)
        return next((source for source in sources if source.name), None)

    def __str__(self) -> str:
        return f"{self.setting} = {self.name!r}"


def read_key(source: KeySource, environ: Mapping[str, str], get_password: GetPassword | None = None) -> Key:
    """Return the key. `get_password` is by default that of the package `keyring`.

    Raises ConfigError if there is no key, if others can read its file, or if it cannot be part of a header.
    """
    if source.setting == "key_env":
        text = environ.get(source.name, "")
        hint = f"set it, for example with: export {source.name}=…"
    elif source.setting == "key_file":
        text = _read_file(Path(source.name).expanduser())
        hint = "write the key into it"
    else:
        text = (get_password or _system_keyring())(KEYRING_SERVICE, source.name) or ""
        hint = f"store it with: keyring set {KEYRING_SERVICE} {source.name}"
    text = text.strip()
    if not text:
        raise ConfigError(f"there is no key in {source}", hint)
    if not _KEY.fullmatch(text):
        raise ConfigError(f"the key in {source} has spaces or characters that are not ASCII", "copy it again")
    return Key(text)


def _read_file(path: Path) -> str:
    """Return the content of a file that only its owner can read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"the key file {path} is not a regular file", "name a file")
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(f"other users can read the key file {path}", f"run: chmod 600 '{path}'")
            data = file.read(MAX_KEY + 3)
    except OSError as error:
        hint = access_hint(error, "check the path in key_file")
        raise ConfigError(f"the key file {path} cannot be read: {error.strerror}", hint) from None
    if len(data) > MAX_KEY + 2:
        raise ConfigError(f"the key file {path} is larger than {MAX_KEY:,} bytes", "it holds only the key")
    return data.decode("ascii", "replace")


def _system_keyring() -> GetPassword:
    try:
        module = importlib.import_module("keyring")
    except ImportError:
        hint = "run: pip install keyring, or use key_env or key_file"
        raise ConfigError("the package keyring is not installed", hint) from None

    def get_password(service: str, name: str) -> str | None:
        try:
            password: str | None = module.get_password(service, name)
        except Exception as error:  # noqa: BLE001 - each system's keyring has errors of its own
            reason = type(error).__name__
            raise ConfigError(f"the keyring failed ({reason})", "unlock it, or use key_file") from None
        return password

    return get_password
