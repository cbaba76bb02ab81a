"""The model servers of the user: the [servers.NAME] tables of the config file."""

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from hermes_cli.options import MAX_CONTEXT, MIN_CONTEXT, parse_context, suggestion

KINDS: Final = ("llama-server", "lmstudio", "ollama", "openai", "vllm")
KEY_SETTINGS: Final = ("key_env", "key_file", "key_keyring")
MAX_TIMEOUT_S: Final = 86_400
_VARIABLE: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_BOOLEANS: Final = {"true": True, "false": False}
_NAME: Final = "letters, digits, - and _"


class ServerSettings(NamedTuple):
    """A model server. Only `url` is required.

    `kind` is one of KINDS, or "" to find out by asking the server. The key is in the environment variable
    `key_env`, in the file `key_file`, or in the system's keyring under the name `key_keyring`. `insecure`
    allows to send it over plain HTTP to a public address. `timeout` is how many seconds the first byte of an
    answer may take, and `context` the size of the context window, for servers that do not report it.
    `tokenizer` is a model on this machine that has the tokenizer and the chat template of the server's model.
    """

    url: str
    kind: str = ""
    model: str = ""
    key_env: str = ""
    key_file: str = ""
    key_keyring: str = ""
    insecure: bool = False
    timeout: int = 600
    context: int | None = None
    tokenizer: str = ""


NAMES: Final = ServerSettings._fields
_RANGES: Final = {"timeout": (1, MAX_TIMEOUT_S), "context": (MIN_CONTEXT, MAX_CONTEXT)}


def read_servers(table: Any) -> dict[str, ServerSettings]:
    """Return the servers in the [servers] table by name, in lower case.

    Raises ValueError with a sentence about a value that is invalid.
    """
    if not isinstance(table, dict):
        raise ValueError("servers is a table; put a url under [servers.work]")  # noqa: TRY004 - its caller's type
    return {name.lower(): _read(name, values) for name, values in table.items()}


def parse_text(key: str, text: str) -> str | int | bool:
    """Return the unchecked value of a key of a server from text."""
    if key == "insecure":
        return _BOOLEANS.get(text.lower(), text)
    if key == "context" and (size := parse_context(text)) is not None:
        return size
    return int(text) if key in _RANGES and text.isascii() and text.isdigit() else text


def summary(server: ServerSettings) -> str:
    """Return a server in one line. The name of its key's source is included, and never the key."""
    default = ServerSettings(server.url)
    others = [name for name in NAMES if getattr(server, name) not in ("", getattr(default, name))]
    shown = [f"{name} = {getattr(server, name)}" for name in others]
    return ", ".join([server.url, *shown])


def _read(name: str, table: Any) -> ServerSettings:
    place = f"[servers.{name[:40]}]"
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise ValueError(f"{place} the name of a server has only {_NAME}")
    if not isinstance(table, dict):
        raise ValueError(f"{place} is not a table; write {place}, then url = …")  # noqa: TRY004 - as above
    for key, value in table.items():
        if key not in NAMES:
            raise ValueError(f"{place} has no key '{key}'{suggestion(key, NAMES)}")
        _check(place, key, value)
    if "url" not in table:
        raise ValueError(f"{place} has no url")
    keys = [key for key in KEY_SETTINGS if key in table]
    if len(keys) > 1:
        raise ValueError(f"{place} has {' and '.join(keys)}; remove all but one")
    return ServerSettings(**table)


def _check(place: str, key: str, value: Any) -> None:
    if key == "insecure":
        if not isinstance(value, bool):
            raise ValueError(f"{place} {key} takes true or false, not {value!r}")
    elif key in _RANGES:
        low, high = _RANGES[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{place} {key} takes a whole number from {low:,} to {high:,}")
    elif not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"{place} {key} takes one line of text")
    elif key == "kind" and value not in KINDS:
        raise ValueError(f"{place} kind is '{value}'; it can be {', '.join(KINDS)}{suggestion(value, KINDS)}")
    elif key == "key_env" and not _VARIABLE.fullmatch(value):  # it may be the key: do not repeat it
        raise ValueError(f"{place} key_env is the name of an environment variable, not the key itself")
    elif key == "key_file" and not Path(value).is_absolute() and not value.startswith("~/"):
        raise ValueError(f"{place} key_file is not a path that begins with / or ~/")
    elif key == "tokenizer" and _is_relative_path(value):
        raise ValueError(f"{place} tokenizer is neither a model's name nor a path that begins with / or ~/")


def _is_relative_path(text: str) -> bool:
    """Return whether a text is a path, but not an absolute one. `owner/name:folder/x.gguf` is a name."""
    if text.startswith(("/", "~/")):
        return False
    name, is_hub_file, _ = text.partition(":")
    is_gguf = "/" in name and name.lower().endswith(".gguf") and not is_hub_file
    return is_gguf or name.startswith((".", "~")) or "\\" in name or name.count("/") > 1
