"""The user's personas: the names and descriptions in the [users] table of the config file."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from hermes_cli.errors import UsageError
from hermes_cli.options import suggestion

FIELDS: Final = ("name", "description")


class UserPersona(NamedTuple):
    """Who the user is in a chat: the value of `{{user}}`, and a description for the model."""

    name: str
    description: str = ""


def read_users(table: Any) -> dict[str, UserPersona]:
    """Return the user personas of the [users] table by key. Without a name, the key is the name.

    Raises ValueError if the table is invalid.
    """
    if not isinstance(table, dict):
        raise ValueError("users is a table; put a name and a description under [users.winry]")  # noqa: TRY004
    return {key: _read(key, value) for key, value in table.items()}


def _read(key: str, table: Any) -> UserPersona:
    place = f"[users.{key[:40]}]"
    if not isinstance(table, dict):
        raise ValueError(f"{place} is not a table; write {place}, then name and description")  # noqa: TRY004
    for name, text in table.items():
        if name not in FIELDS:
            raise ValueError(f"{place} has no key '{name}'{suggestion(name, FIELDS)}")
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            raise ValueError(f"{place} {name} takes a string that is not blank")
    user = UserPersona(table.get("name", key), table.get("description", ""))
    if not user.name.strip() or len(user.name.splitlines()) != 1 or "\0" in user.name:
        raise ValueError(f"{place} the name is not one line of text")
    return user


def find(users: Mapping[str, UserPersona], name: str) -> UserPersona | None:
    """Return the user persona with that key, or else the first with that name, or None."""
    keys = matching(users, name)
    return users[keys[0]] if keys else None


def matching(users: Mapping[str, UserPersona], name: str) -> list[str]:
    """Return the key that equals `name`, or else the keys of the users with that name. Case is ignored."""
    folded = " ".join(name.split()).casefold()
    same_key = [key for key in users if key.casefold() == folded]
    return same_key[:1] or [
        key for key, user in users.items() if " ".join(user.name.split()).casefold() == folded
    ]


def require_one(users: Mapping[str, UserPersona], name: str) -> None:
    """Raise UsageError, which lists the keys, if several user personas have that name."""
    keys = matching(users, name)
    if len(keys) > 1:
        raise UsageError(f"{len(keys)} users have the name '{name}'", f"use a key: {' or '.join(keys)}")
