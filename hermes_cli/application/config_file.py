"""Changes the config file: `hermes config set` and `edit`. An invalid file is never written."""

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

from hermes_cli import config, lore_settings, options
from hermes_cli.application.flags import Flags
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.input_text import check_text
from hermes_cli.config import ENV_PREFIX, PLAIN_SETTINGS, WRITABLE_HINT
from hermes_cli.errors import ConfigError, UsageError
from hermes_cli.options import FIELDS, OptionError, suggestion
from hermes_cli.private_files import make_private, write_private
from hermes_cli.repl import editor
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line
from hermes_cli.untrusted import toml_parser
from hermes_cli.untrusted.source import BOM, Source, read_text

DRAFT: Final = "config.draft.toml"
"""The name of the file that `edit` opens, in the folder of the config file."""
_USER: Final = {"user": "name", "user.name": "name", "user.description": "description"}
_LORE: Final = tuple(f"lore.{name}" for name in lore_settings.NAMES)
_OPTIONS: Final = "options"
_EDIT_HINT: Final = "'hermes config edit' opens it"
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
    name = key.removeprefix(f"{_OPTIONS}.").replace("-", "_")
    known = (*PLAIN_SETTINGS, *FIELDS, *_USER, *_LORE)
    if name.startswith("users."):
        raise UsageError("'config set' does not change user personas", _EDIT_HINT)
    if name not in known:
        raise UsageError(
            f"there is no setting '{key}'{suggestion(name, known)}", "'hermes config show' lists them"
        )
    value = _parse_value(name, words)
    path = runtime.paths.config_file
    before = _text(path)
    toml_parser.parse(before, Source(str(path), ConfigError, hint=_EDIT_HINT))
    text = _changed(before, name, value, str(path))
    if problem := _problem(text, str(path)):
        if _problem(before, str(path)):
            raise ConfigError(problem, _EDIT_HINT)
        raise UsageError(problem.removeprefix(f"{path}: "), f"{path} is unchanged")
    _write(path, text)
    shown = " ".join(words)
    runtime.terminal.notice(f"{name} is now {sanitize_line(shown, LONG_LINE)}, in {path}")
    variable = f"{ENV_PREFIX}{name.upper()}"
    if runtime.environ.get(variable):
        runtime.terminal.notice(f"the variable {variable} overrides it")


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
        raise ConfigError(problem, _EDIT_HINT if text == before else kept)
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
        if name in PLAIN_SETTINGS and name not in _USER:
            return config.parse_setting(name, words[0])
        if name in _LORE:
            return lore_settings.parse_text(name.removeprefix("lore."), words[0])
    except (OptionError, ConfigError, ValueError) as error:
        raise UsageError(str(error)) from None
    return words[0]


def _items(words: Sequence[str]) -> Sequence[str]:
    """Return the words, or the items of the TOML list that a single word contains."""
    if len(words) == 1 and words[0].startswith("[") and words[0].endswith("]"):
        try:
            return toml_parser.parse(f"items = {words[0]}", Source("the value", ConfigError))["items"]  # type: ignore[no-any-return]
        except ConfigError:
            return words  # a text in brackets
    return words


def _place(name: str, document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the table in which a setting belongs, empty for the top level, and its key there."""
    if name in FIELDS:
        return _OPTIONS, name
    if name in _LORE:
        return "lore", name.removeprefix("lore.")
    if name not in _USER:
        return "", name
    has_table = isinstance(document.get("user"), MutableMapping)
    return ("user", _USER[name]) if has_table or _USER[name] != "name" else ("", "user")


def _changed(text: str, name: str, value: Any, where: str) -> str:
    """Return the text of a config file with another value. Raises ConfigError if a table is none."""
    import tomlkit
    from tomlkit.items import Item

    bom = BOM if text.startswith(BOM) else ""
    document = tomlkit.parse(text.removeprefix(BOM))
    table_name, key = _place(name, document)
    user = document.get("user")
    if table_name == "user" and isinstance(user, str):  # the short form of the table
        document.pop("user")
        document["user"] = tomlkit.table() | {"name": str(user)}
    table: Any = document.setdefault(table_name, tomlkit.table()) if table_name else document
    if not isinstance(table, MutableMapping):
        problem = f"{table_name} is not a table; put [{table_name}] on a separate line"
        raise ConfigError(f"{where}: {problem}", _EDIT_HINT)
    key = next((known for known in table if known.replace("-", "_") == key), key)
    new, old = tomlkit.item(value), table.get(key)
    if isinstance(old, Item):
        new.trivia.comment, new.trivia.comment_ws = old.trivia.comment, old.trivia.comment_ws
    table[key] = new
    return bom + tomlkit.dumps(document)


def _problem(text: str, where: str) -> str:
    """Return the problem with the text of a config file, or an empty string."""
    try:
        Flags().plan_request(config.parse(text, where))
    except ConfigError as error:
        return error.message
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
