"""Changes one value in the text of the config file, and keeps its comments and layout."""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from hermes_cli import lore_settings
from hermes_cli.config import PLAIN_SETTINGS
from hermes_cli.errors import ConfigError
from hermes_cli.options import FIELDS
from hermes_cli.server_settings import NAMES as SERVER_FIELDS
from hermes_cli.untrusted.source import BOM
from hermes_cli.user_personas import FIELDS as USER_FIELDS

USER: Final = {"user": "name", "user.name": "name", "user.description": "description"}
LORE: Final = tuple(f"lore.{name}" for name in lore_settings.NAMES)
SETTINGS: Final = (*PLAIN_SETTINGS, *FIELDS, *USER, *LORE)
"""The names of the settings, without those in [users] and [servers]."""
EDIT_HINT: Final = "'hermes config edit' opens it"
_OPTIONS: Final = "options"
_USERS: Final = "users."
_SERVERS: Final = "servers."


def canonical(key: str) -> str:
    """Return the name of a setting as in SETTINGS. The names in [users] and [servers] are unchanged."""
    return key if key.startswith((_USERS, _SERVERS)) else key.removeprefix(f"{_OPTIONS}.").replace("-", "_")


def user_field(name: str) -> tuple[str, str] | None:
    """Return the key and the field of a name such as `users.winry.name`, or None for other names."""
    key, dot, field = name.removeprefix(_USERS).rpartition(".")
    return (key, field) if name.startswith(_USERS) and dot and key and field in USER_FIELDS else None


def server_field(name: str) -> tuple[str, str] | None:
    """Return the key and the field of a name such as `servers.work.url`, or None for other names."""
    key, dot, field = name.removeprefix(_SERVERS).rpartition(".")
    return (key, field) if name.startswith(_SERVERS) and dot and key and field in SERVER_FIELDS else None


def with_value(text: str, name: str, value: Any, where: str) -> str:
    """Return the text of a config file with another value. Raises ConfigError if a table is none."""
    import tomlkit
    from tomlkit.items import InlineTable, Item

    bom, document = _parsed(text)
    path, key = _place(name, document)
    user = document.get("user")
    if path == ("user",) and isinstance(user, str):  # the short form of the table
        document.pop("user")
        document["user"] = tomlkit.table() | {"name": str(user)}
    table: Any = document
    for number, step in enumerate(path, 1):
        if step not in table:
            is_inline, is_super = isinstance(table, InlineTable), number < len(path)
            table[step] = tomlkit.inline_table() if is_inline else tomlkit.table(is_super_table=is_super)
        table = table[step]
        _require_table(table, ".".join(path[:number]), where)
    key = _known_key(table, key)
    new, old = tomlkit.item(value), table.get(key)
    if isinstance(old, Item):
        new.trivia.comment, new.trivia.comment_ws = old.trivia.comment, old.trivia.comment_ws
    table[key] = new
    return bom + tomlkit.dumps(document)


def without_value(text: str, name: str, where: str) -> str:
    """Return the text of a config file without a value, or the same text if it has none.

    Raises ConfigError if a table is none.
    """
    import tomlkit

    bom, document = _parsed(text)
    path, key = _place(name, document)
    table: Any = document
    for number, step in enumerate(path, 1):
        if step not in table:
            return text
        table = table[step]
        _require_table(table, ".".join(path[:number]), where)
    key = _known_key(table, key)
    if key not in table:
        return text
    del table[key]
    return bom + tomlkit.dumps(document)


def _parsed(text: str) -> tuple[str, Any]:
    """Return the byte-order mark of a text, which may be empty, and the document after it."""
    import tomlkit

    return BOM if text.startswith(BOM) else "", tomlkit.parse(text.removeprefix(BOM))


def _place(name: str, document: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Return the path of the table in which a setting belongs, empty for the top level, and its key there."""
    for table, field_of in (("users", user_field), ("servers", server_field)):
        if name.startswith(f"{table}."):
            row, field = field_of(name) or (name.removeprefix(f"{table}."), "")
            rows = document.get(table)
            known = rows if isinstance(rows, MutableMapping) else ()
            row = next((key for key in known if key.casefold() == row.casefold()), row)
            return ((table, row), field) if field else ((table,), row)
    if name in FIELDS:
        return (_OPTIONS,), name
    if name in LORE:
        return ("lore",), name.removeprefix("lore.")
    if name not in USER:
        return (), name
    has_table = isinstance(document.get("user"), MutableMapping)
    return (("user",), USER[name]) if has_table or USER[name] != "name" else ((), "user")


def _require_table(table: Any, name: str, where: str) -> None:
    if not isinstance(table, MutableMapping):
        raise ConfigError(f"{where}: {name} is not a table; put [{name}] on a separate line", EDIT_HINT)


def _known_key(table: Mapping[str, Any], key: str) -> str:
    """Return the key as the table spells it, with `-` or `_`."""
    return next((known for known in table if known.replace("-", "_") == key), key)
