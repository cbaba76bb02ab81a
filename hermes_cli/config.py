"""Settings and folders. The environment overrides the config file, and the command line overrides both.

Persona and model names are not resolved here.
"""

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from hermes_cli import options
from hermes_cli.errors import ConfigError
from hermes_cli.lore_settings import NAMES, LoreSettings
from hermes_cli.options import LayeredOptions, OptionError, suggestion
from hermes_cli.server_settings import ServerSettings, read_servers
from hermes_cli.untrusted import toml_parser
from hermes_cli.untrusted.source import Source, read_text
from hermes_cli.user_personas import UserPersona, find, read_users

HOME_VARIABLE = "OPENHERMES_HOME"
WRITABLE_HINT = f"set {HOME_VARIABLE} to a folder that you can write to"
ENV_PREFIX = "OPENHERMES_"
DEFAULT_PERSONA = "hermes-2"


class Paths(NamedTuple):
    """The folders that hermes uses. Models from the hub are in the Hugging Face cache instead."""

    config: Path
    data: Path
    cache: Path
    state: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Paths":
        """Return the folders of this user. If OPENHERMES_HOME is set, all of them are inside it."""
        home = environ.get(HOME_VARIABLE)
        if home:
            try:
                root = Path(home).expanduser().absolute()
            except RuntimeError:
                raise ConfigError(
                    f"{HOME_VARIABLE}={home} refers to an unknown user's home directory"
                ) from None
            return cls(root / "config", root / "data", root / "cache", root / "state")
        from platformdirs import PlatformDirs

        dirs = PlatformDirs("openhermes", appauthor=False)
        try:
            return cls(dirs.user_config_path, dirs.user_data_path, dirs.user_cache_path, dirs.user_state_path)
        except RuntimeError:  # HOME is not set, and the system has no entry for this user
            hint = f"set HOME, or set {HOME_VARIABLE} to a folder for hermes' own files"
            raise ConfigError("this user has no home directory", hint) from None

    @classmethod
    def usable(cls, environ: Mapping[str, str]) -> tuple["Paths", str]:
        """Return the folders of this user, and the problem with OPENHERMES_HOME, or an empty string.

        If files in OPENHERMES_HOME cannot even be looked up, the folders are ones that do not exist.
        """
        paths = cls.from_environment(environ)
        if not environ.get(HOME_VARIABLE):
            return paths, ""
        try:
            paths.config_file.stat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            nowhere = Path(os.devnull, HOME_VARIABLE)  # below a file, so that it cannot exist
            return cls.from_environment({HOME_VARIABLE: str(nowhere)}), os.strerror(error.errno or 0)
        return paths, write_problem(paths.data if paths.data.is_dir() else paths.data.parent)

    @property
    def config_file(self) -> Path:
        """The path of the config file, which may not exist."""
        return self.config / "config.toml"

    @property
    def personas(self) -> Path:
        """The folder of the user's personas."""
        return self.config / "personas"

    @property
    def lore(self) -> Path:
        """The folder of the user's lorebooks."""
        return self.config / "lore"

    @property
    def models(self) -> Path:
        """The folder of model files that are not in the Hugging Face cache."""
        return self.data / "models"

    @property
    def conversations(self) -> Path:
        """The path of the conversation database."""
        return self.data / "conversations.db"

    @property
    def prefixes(self) -> Path:
        """The folder of the prefix cache, which holds the KV caches of system prompts between runs."""
        return self.cache / "prefixes"

    @property
    def history(self) -> Path:
        """The path of the input history."""
        return self.state / "history"


def write_problem(folder: Path) -> str:
    """Return the reason why `folder` cannot be written or created, or an empty string."""
    for path in (folder, *folder.parents):
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except FileNotFoundError:
            continue
        except OSError as error:
            return os.strerror(error.errno or 0)
        if not is_folder:
            return os.strerror(errno.ENOTDIR)
        if is_writable(path):
            return ""
        is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        return os.strerror(errno.EROFS if is_read_only else errno.EACCES)
    return ""


def is_writable(path: Path) -> bool:
    """Return whether this process may write a file, or create files in a folder."""
    mode = os.W_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _setting(*choices: str, default: str | bool | None = None) -> Any:
    """Declare a setting of the config file and the environment. `choices`, if any, are its allowed values."""
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings from the config file and the environment. `sources` has the source of each one that is set."""

    model: str | None = _setting()
    persona: str = _setting(default=DEFAULT_PERSONA)
    user: str | None = _setting()
    context: int | None = _setting()
    precision: str | None = _setting()
    device: str | None = _setting()
    chat_template: str | None = _setting()
    keys: str = _setting("emacs", "vi", default="emacs")
    save: bool = _setting(default=True)
    on_overflow: str | None = _setting("drop", "error", "summarise")
    decode: str = _setting("ahead", "step", default="ahead")
    speculate: str = _setting("off", "lookup", default="off")
    prefill_ahead: bool = _setting(default=True)
    names: str = _setting("always", "never", "groups", default="groups")
    regex_scripts: bool = _setting(default=True)
    thinking: str = _setting("hide", "show", "off", default="hide")
    pictures: str = _setting("auto", "off", "kitty", "iterm2", default="auto")
    about_user: str = ""
    users: Mapping[str, UserPersona] = field(default_factory=dict)
    servers: Mapping[str, ServerSettings] = field(default_factory=dict)
    lore: LoreSettings = field(default_factory=LoreSettings)
    file_options: Mapping[str, Any] = field(default_factory=dict)
    env_options: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def source(self, name: str) -> str:
        """Return where the value of the setting `name` comes from, such as "config file"."""
        return self.sources.get(name, "default")

    def find_user(self, name: str) -> UserPersona:
        """Return the user persona with that key or name, or one with that name and the user's description."""
        return find(self.users, name) or UserPersona(name, self.about_user)

    def user_for(self, persona_user: str | None, fallback: str, flag: str = "") -> UserPersona:
        """Return who the user is in a chat with a persona, which may name a user persona as its default.

        The flag comes first, then the environment, the persona's default, the config file, and the name that
        the persona has for a user without one, or `fallback`.
        """
        in_file = not self.source("user").startswith("environment")
        default = persona_user if persona_user and in_file and find(self.users, persona_user) else None
        return self.find_user(flag or default or self.user or persona_user or fallback)

    def sampling(
        self, persona: str = "", persona_options: Mapping[str, Any] | None = None, *, flags: Mapping[str, Any]
    ) -> LayeredOptions:
        """Merge the options of config file, persona, environment and flags. Later ones override earlier ones.

        The persona overrides the file because the persona was chosen for this conversation only.
        """
        return (
            LayeredOptions()
            .with_layer(self.file_options, "config file")
            .with_layer(persona_options or {}, f"persona {persona}")
            .with_layer(self.env_options, "environment")
            .with_layer(flags, "command line")
        )


PLAIN_SETTINGS: dict[str, type] = {
    f.name: bool if f.type is bool else options.field_type(f.type)
    for f in fields(Settings)
    if "choices" in f.metadata
}
"""The types of the top-level settings in the config file."""

BOOLEANS = {"true": True, "false": False}
"""The values of a setting that is true or false, in the environment."""
KIND_TEXTS = {str: "a string", int: "a whole number", bool: "true or false"}

CHOICES: dict[str, tuple[str, ...]] = {
    f.name: f.metadata["choices"] for f in fields(Settings) if f.metadata.get("choices")
}
"""The allowed values of each setting that has a fixed set of values."""


def load(paths: Paths, environ: Mapping[str, str]) -> Settings:
    """Return the settings from the config file, if it exists, and the environment.

    Raises ConfigError if the file is not valid TOML (with line and column), or if a key is unknown (with a
    suggestion) or a value is invalid.
    """
    path = paths.config_file
    file_text = (
        read_text(path, toml_parser.MAX_BYTES, Source(str(path), ConfigError)) if path.exists() else ""
    )
    values, file_options = _parse(file_text, str(path))
    sources = dict.fromkeys(values, "config file")
    env_options: dict[str, Any] = {}
    for name in (*PLAIN_SETTINGS, *options.FIELDS):
        variable = ENV_PREFIX + name.upper()
        text = environ.get(variable)
        if text and name in PLAIN_SETTINGS:
            values[name] = parse_setting(name, text, variable, f"change or unset {variable}")
            sources[name] = f"environment ({variable})"
        elif text:
            try:
                env_options[name] = options.parse_text(name, text)
            except OptionError as error:
                raise ConfigError(f"{variable}: {error}", f"change or unset {variable}") from None
    return Settings(**values, file_options=file_options, env_options=env_options, sources=sources)


def parse(text: str, where: str) -> Settings:
    """Return the settings in the text of a config file. Raises ConfigError as `load` does."""
    values, file_options = _parse(text, where)
    return Settings(**values, file_options=file_options, sources=dict.fromkeys(values, where))


def parse_setting(name: str, text: str, where: str = "", hint: str = "") -> Any:
    """Return the value of a top-level setting from text.

    Raises ConfigError with `hint` if it is invalid; the message begins with `where`, if it is not empty.
    """
    try:
        return _check_setting(name, _value_in(name, text), where)
    except ValueError:
        message = f"{where}: {name} takes a whole number, not '{text}'"
    except ConfigError as error:
        message = error.message
    raise ConfigError(message.removeprefix(": "), hint)


def _value_in(name: str, text: str) -> Any:
    """Return the unchecked value of a setting from text. Raises ValueError if it is not a number."""
    kind = PLAIN_SETTINGS[name]
    if kind is bool:
        return BOOLEANS.get(text.lower(), text)
    size = options.parse_context(text) if name == "context" else None
    return kind(text) if size is None else size


def _check_setting(name: str, value: Any, where: str) -> Any:
    kind, choices = PLAIN_SETTINGS[name], CHOICES.get(name)
    if type(value) is not kind:
        raise ConfigError(f"{where}: {name} takes {KIND_TEXTS[kind]}, not {value!r}")
    if isinstance(value, int) and kind is int and not 1 <= value <= options.MAX_CONTEXT:
        raise ConfigError(f"{where}: {name} is {value:,}; it can be 1 to {options.MAX_CONTEXT:,}")
    if isinstance(value, str) and not _is_text(value):
        raise ConfigError(f"{where}: {name} is not UTF-8 text")
    if value == "":
        raise ConfigError(f"{where}: {name} is empty", "give it a value, or remove the line")
    if choices and value not in choices:
        raise ConfigError(f"{where}: {name} is '{value}'; it can be {' or '.join(choices)}")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # the environment variable contains a byte that is not UTF-8
        return False
    return "\0" not in value


def _parse(text: str, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings in a config file, and the generation options in its [options] table."""
    table = toml_parser.parse(text, Source(where, ConfigError))
    for key in table:
        if key in options.FIELDS and key not in PLAIN_SETTINGS:
            raise ConfigError(
                f"{where}: {key} belongs in the [options] table", "move it below a line [options]"
            )
    _check_keys(table, (*PLAIN_SETTINGS, "options", "lore", "users", "servers"), where, "unknown key")
    sampling = table.pop("options", {})
    if not isinstance(sampling, dict):
        raise ConfigError(f"{where}: options is a table; put [options] on a separate line")
    try:
        file_options = options.check_table(sampling)
    except OptionError as error:
        raise ConfigError(f"{where}: [options] {error}", f"edit {where}") from None
    tables = {
        **_read_user(table.pop("user", {}), where),
        **_read_users(table.pop("users", {}), where),
        **_read_servers(table.pop("servers", {}), where),
        **_read_lore(table.pop("lore", {}), where),
    }
    return {name: _check_setting(name, value, where) for name, value in table.items()} | tables, file_options


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str, problem: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: {problem} '{key}'{suggestion(key, known)}", f"edit {where}")


def _read_lore(table: Any, where: str) -> dict[str, LoreSettings]:
    """Return the settings in the [lore] table, or nothing if it has none."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: lore is a table; put [lore] on a separate line", f"edit {where}")
    _check_keys(table, NAMES, where, "[lore] has no key")
    try:
        return {"lore": LoreSettings.from_table(table)} if table else {}
    except ValueError as error:
        raise ConfigError(f"{where}: [lore] {error}", f"edit {where}") from None


def _read_users(table: Any, where: str) -> dict[str, dict[str, UserPersona]]:
    """Return the user personas in the [users] table, or nothing if it has none."""
    try:
        return {"users": read_users(table)} if table else {}
    except ValueError as error:
        raise ConfigError(f"{where}: {error}", f"edit {where}") from None


def _read_servers(table: Any, where: str) -> dict[str, dict[str, ServerSettings]]:
    """Return the servers in the [servers] table, or nothing if it has none."""
    try:
        return {"servers": read_servers(table)} if table else {}
    except ValueError as error:
        raise ConfigError(f"{where}: {error}", f"edit {where}") from None


def _read_user(value: Any, where: str) -> dict[str, str]:
    """Return the user's name and description, from `user = "Ann"` or a [user] table."""
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: user takes a string, or a table with name and description")
    names = {"name": "user", "description": "about_user"}
    _check_keys(table, tuple(names), where, "[user] has no key")
    for key, text in table.items():
        if not isinstance(text, str) or not text.strip() or not _is_text(text):
            raise ConfigError(f"{where}: [user] {key} takes a string that is not blank", f"edit {where}")
        if key == "name" and len(text.splitlines()) > 1:
            raise ConfigError(f"{where}: the user's name has more than one line", f"edit {where}")
    return {names[key]: text for key, text in table.items()}
