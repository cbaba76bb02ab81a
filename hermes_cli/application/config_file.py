"""Changes the config file: `hermes config set`, `unset` and `edit`. An invalid file is never written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hermes_cli import config, lore_settings, options, server_settings
from hermes_cli.application.config_document import (
    EDIT_HINT,
    LORE,
    SETTINGS,
    USER,
    canonical,
    server_field,
    user_field,
    with_value,
    without_value,
)
from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.input_text import check_text
from hermes_cli.config import ENV_PREFIX, PLAIN_SETTINGS, WRITABLE_HINT, Settings
from hermes_cli.engines.remote import address as addresses
from hermes_cli.errors import ConfigError, UsageError
from hermes_cli.options import FIELDS, OptionError, suggestion
from hermes_cli.private_files import make_private, write_private
from hermes_cli.repl import editor
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line
from hermes_cli.untrusted import toml_parser
from hermes_cli.untrusted.source import Source, read_text

DRAFT: Final = "config.draft.toml"
"""The name of the file that `edit` opens, in the folder of the config file."""
_NEW_FILE: Final = """\
# The settings of hermes; 'hermes config show' lists all of them. For example:
#
# model = "openhermes-2"
# persona = "hermes-2"
#
# [options]
# temperature = 0.7
"""


def set_value(runtime: Runtime, key: str, words: Sequence[str]) -> None:
    """Set a value in the config file, and keep its comments and layout.

    Raises UsageError if the key is unknown or the value invalid, and ConfigError if the file is invalid.
    """
    name = _known(key)
    value = _parse_value(name, words)
    path, before = _parseable(runtime)
    _replace(path, before, with_value(before, name, value, str(path)))
    shown = sanitize_line(" ".join(words), LONG_LINE)
    runtime.terminal.notice(f"{sanitize_line(name)} is now {shown}, in {path}")
    variable = f"{ENV_PREFIX}{name.upper()}"
    if runtime.environ.get(variable):
        runtime.terminal.notice(f"the variable {variable} overrides it")


def unset_value(runtime: Runtime, key: str) -> None:
    """Remove a value from the config file, and print the value that applies now.

    Comments and layout are kept. A user persona or a server can be removed as a whole. Raises UsageError if
    the key is unknown, and ConfigError if the file is invalid.
    """
    name = _known(key, allow_row=True)
    path, before = _parseable(runtime)
    _require_row(name, before, path)
    text = without_value(before, name, str(path))
    shown = sanitize_line(name)
    if text == before:
        runtime.terminal.notice(f"{shown} is not set in {path}; {_current(runtime, name)}")
        return
    _replace(path, before, text)
    runtime.terminal.notice(f"removed {shown} from {path}; {_current(runtime, name)}")


_ROWS: Final = {
    "users": ("user persona", "a user persona has users.NAME.name and users.NAME.description"),
    "servers": (
        "server",
        f"a server has servers.NAME.url, {', '.join(server_settings.NAMES[1:])}; its key is not stored",
    ),
}
"""The tables with a row for each name: what a row is, and the hint for an unknown key of it."""


def _row_of(name: str) -> tuple[str, str] | None:
    """Return the table and the row of a name such as `users.winry` or `servers.work.url`, or None."""
    table, dot, row = name.partition(".")
    if not dot or not row or table not in _ROWS:
        return None
    found = user_field(name) or server_field(name)
    return table, found[0] if found else row


def _known(key: str, *, allow_row: bool = False) -> str:
    """Return the name of a setting. Raises UsageError if it is unknown.

    With `allow_row`, a user persona such as `users.winry` and a server have a name, too.
    """
    name = canonical(key)
    if name in SETTINGS or user_field(name) or server_field(name) or (allow_row and _row_of(name)):
        return name
    table = name.partition(".")[0]
    if name.startswith(f"{table}.") and table in _ROWS:
        raise UsageError(f"there is no setting '{key}'", _ROWS[table][1])
    raise UsageError(
        f"there is no setting '{key}'{suggestion(name, SETTINGS)}", "'hermes config show' lists them"
    )


def _require_row(name: str, text: str, path: Path) -> None:
    """Raise UsageError if a name is that of a user persona or server which the config file does not have."""
    found = _row_of(name)
    if found is None:
        return
    table, row = found
    rows = toml_parser.parse(text, Source(str(path), ConfigError)).get(table)
    known = list(rows) if isinstance(rows, dict) else []
    if row.casefold() not in map(str.casefold, known):
        raise UsageError(
            f"{path} has no {_ROWS[table][0]} '{row}'{suggestion(row, known)}",
            "'hermes config show' lists them",
        )


def _parseable(runtime: Runtime) -> tuple[Path, str]:
    """Return the path and the text of the config file. Raises ConfigError if the text is not TOML."""
    path = runtime.paths.config_file
    text = _text(path)
    toml_parser.parse(text, Source(str(path), ConfigError, hint=EDIT_HINT))
    return path, text


def _replace(path: Path, before: str, text: str) -> None:
    """Replace the text of the config file.

    Raises UsageError if only the new text is invalid, and ConfigError if both are.
    """
    if problem := _problem(text, str(path)):
        if _problem(before, str(path)):
            raise ConfigError(problem, EDIT_HINT)
        raise UsageError(problem.removeprefix(f"{path}: "), f"{path} is unchanged")
    _write(path, text)


def _current(runtime: Runtime, name: str) -> str:
    """Return a clause with the value of a setting that applies now, and its source."""
    try:
        settings = config.load(runtime.paths, runtime.environ)
    except ConfigError as error:
        return sanitize_line(error.message, LONG_LINE)
    found = _row_of(name)
    row_name = ".".join(found) if found else "user" if name == "user.name" else name
    for row, value, source in setting_rows(settings):
        if row.casefold() == sanitize_line(row_name).casefold():
            return f"{row} is {value if value != '-' else 'not set'} ({source})"
    return f"there is no {sanitize_line(row_name)}"


def setting_rows(settings: Settings) -> list[tuple[str, str, str]]:
    """Return the name of each setting, its value as text, or "-" if it is not set, and its source."""
    rows = [(name, _value_text(getattr(settings, name)), settings.source(name)) for name in PLAIN_SETTINGS]
    rows += [("user.description", sanitize_line(settings.about_user) or "-", settings.source("about_user"))]
    lore = ((name, getattr(settings.lore, name)) for name in lore_settings.NAMES)
    rows += [(f"lore.{name}", _value_text(value), settings.source("lore")) for name, value in lore]
    rows += [
        (
            f"users.{sanitize_line(key)}",
            sanitize_line(": ".join(filter(None, (user.name, user.description)))),
            settings.source("users"),
        )
        for key, user in settings.users.items()
    ]
    rows += [
        (f"servers.{name}", sanitize_line(server_settings.summary(server)), settings.source("servers"))
        for name, server in settings.servers.items()
    ]
    sampling = settings.sampling(flags={})
    rows += [
        (name, options.value_text(getattr(sampling.options, name)), sampling.source(name)) for name in FIELDS
    ]
    return rows


def _value_text(value: object) -> str:
    """Return a value as in the config file, or "-" if it is not set."""
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)


def edit(runtime: Runtime) -> None:
    """Open a draft of the config file in the user's editor, and replace the file if the draft is valid.

    A draft that is invalid is kept, and opened by the next call. Raises UsageError if there is no editor, and
    ConfigError if the draft is invalid.
    """
    path, terminal = runtime.paths.config_file, runtime.terminal
    draft = path.with_name(DRAFT)
    kept = f"the config file is unchanged; 'hermes config edit' opens your text again, which is in {draft}"
    before = _text(path)
    if draft.exists():
        terminal.notice(f"opening the text of the last edit; to start from the config file, delete {draft}")
    else:
        _write(draft, before or _NEW_FILE)
    try:
        editor.open_file(draft, runtime.environ, kept)
        text = read_text(draft, toml_parser.MAX_BYTES, Source(str(draft), ConfigError, kept, kept))
    except (UsageError, ConfigError):
        _remove_if_unchanged(draft, before)
        raise
    if problem := _problem(text, str(path if text == before else draft)):
        _remove_if_unchanged(draft, before)
        raise ConfigError(problem, EDIT_HINT if text == before else kept)
    if _text(path) != before:
        raise ConfigError(f"{path} was changed during the edit", kept)
    if text not in {before, _NEW_FILE}:
        _write(path, text)
    terminal.notice(f"{path} is {'unchanged' if text in {before, _NEW_FILE} else 'changed'}")
    draft.unlink()


def _parse_value(name: str, words: Sequence[str]) -> Any:
    """Return the value of a setting or option from the words of the command line. Raises UsageError."""
    words = [check_text(word, f"the value of {name}") for word in words]
    is_list = name in FIELDS and FIELDS[name].kind is str
    if len(words) > 1 and not is_list:
        raise UsageError(f"{name} takes one value", "put a value with blanks in quotes")
    try:
        if is_list:
            return list(options.check_value(name, _items(words)))
        if name in FIELDS:
            return options.parse_text(name, words[0])
        if name in PLAIN_SETTINGS and name not in USER:
            return config.parse_setting(name, words[0])
        if name in LORE:
            return lore_settings.parse_text(name.removeprefix("lore."), words[0])
    except (OptionError, ConfigError, ValueError) as error:
        raise UsageError(str(error)) from None
    if found := server_field(name):
        return server_settings.parse_text(found[1], words[0])
    return words[0]


def _items(words: Sequence[str]) -> Sequence[str]:
    """Return the words, or the items of the TOML list that a single word contains."""
    if len(words) == 1 and words[0].startswith("[") and words[0].endswith("]"):
        try:
            return toml_parser.parse(f"items = {words[0]}", Source("the value", ConfigError))["items"]  # type: ignore[no-any-return]
        except ConfigError:
            return words  # a text in brackets
    return words


def _problem(text: str, where: str) -> str:
    """Return the problem with the text of a config file, or an empty string."""
    try:
        settings = config.parse(text, where)
        Flags().plan_request(settings)
    except ConfigError as error:
        return error.message
    for name, server in settings.servers.items():
        try:
            addresses.from_settings(name, server)
        except ConfigError as error:
            return f"{where}: [servers.{name}] {error.message}"
    return ""


def _text(path: Path) -> str:
    """Return the text of the config file, or an empty string if there is none. Raises ConfigError."""
    if not path.exists():
        return ""
    return read_text(path, toml_parser.MAX_BYTES, Source(str(path), ConfigError))


def _remove_if_unchanged(draft: Path, before: str) -> None:
    """Remove a draft that has no text of the user."""
    if draft.is_file() and draft.read_bytes() in {before.encode(), _NEW_FILE.encode()}:
        draft.unlink()


def _write(path: Path, text: str) -> None:
    """Write a file in the folder of the config file. If it is a link, change the linked file."""
    target = path.resolve()
    make_private(target.parent, hint=WRITABLE_HINT)
    write_private(target, text.encode(), replace=True, unwritable_hint=WRITABLE_HINT)
